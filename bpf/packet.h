/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Reads a packet's headers into struct packet: the only code that reads headers from packet memory.
 * Nothing is believed: lengths that lie end in a reason, never in a read beyond the packet. Every reason
 * that it returns is for the caller to judge; it never drops.
 */
#ifndef CTNAT_PACKET_H
#define CTNAT_PACKET_H

#include <linux/if_ether.h>
#include <linux/in.h>

#include "compiler.h"

enum { IPPROTO_ICMPV6 = 58 }; /* linux/in6.h does not go with linux/in.h everywhere */

/* Whether a set of protocols, given in two parts, has this one. verifier: arithmetic, so that it is one way.
 */
inline_ bool proto_in(__u32 proto, __u64 below64, __u64 from128)
{
	__u64 half = proto >> 7 & 1, upper = proto >> 6 & 1;

	half = ((below64 & (half - 1)) | (from128 & -half)) >> (proto & 63) & (upper ^ 1);
	hide(half); /* what it is must not be known bit by bit */
	return half & 1;
}

enum {
	PROTOS_128 = 128,
	/* bits of those from 128 on */
	PROTOS_SCTP = 1 << (IPPROTO_SCTP - PROTOS_128),
	PROTOS_UDPLITE = 1 << (IPPROTO_UDPLITE - PROTOS_128),
};
#define PROTOS_TCP_UDP (1ULL << IPPROTO_TCP | 1ULL << IPPROTO_UDP)

/* A source and a destination port begin the header. */
inline_ bool proto_has_ports(__u8 proto)
{
	return proto_in(proto, PROTOS_TCP_UDP, PROTOS_SCTP | PROTOS_UDPLITE);
}

/*
 * Whether a translation may choose another port or identifier. The others have none, or a key that the other
 * end has agreed to.
 */
inline_ bool proto_port_is_free(__u8 proto)
{
	return proto_in(proto, PROTOS_TCP_UDP | 1ULL << IPPROTO_ICMP | 1ULL << IPPROTO_ICMPV6,
			PROTOS_SCTP | PROTOS_UDPLITE);
}

/* Whether the header has an Internet checksum that covers its ports or identifier. SCTP's is another
 * (sctp_sum.h). */
inline_ bool proto_has_checksum(__u8 proto)
{
	return proto_in(proto, PROTOS_TCP_UDP | 1ULL << IPPROTO_ICMP | 1ULL << IPPROTO_ICMPV6,
			PROTOS_UDPLITE);
}

/* Whether only the first fragment says to which flow a datagram belongs. */
inline_ bool proto_needs_first(__u8 proto)
{
	return proto_in(proto,
			PROTOS_TCP_UDP | 1ULL << IPPROTO_ICMP | 1ULL << IPPROTO_ICMPV6 | 1ULL << IPPROTO_GRE,
			PROTOS_SCTP | PROTOS_UDPLITE);
}

enum packet_flags {
	PACKET_FOLLOWER = 1 << 0,   /* fragment that is not the first, which alone says what flow it is of */
	PACKET_FIRST = 1 << 1,	    /* that first fragment */
	PACKET_ICMP_REPLY = 1 << 2, /* a query's answer: can't begin a flow */
	PACKET_ICMP_ERROR = 1 << 3, /* quotes a packet; its tuple is not a flow's */
};

struct packet {
	struct tuple6 tuple; /* IPv4: word 0 of the addresses */
	__u32 l3;	     /* offset of the IP header */
	__u32 l4;	     /* offset of the header behind it and its extensions */
	__u32 length;	     /* of the IP packet, headers included */
	__u32 fragment_id;   /* network order; IPv4's in the low half */
	__u8 proto;
	__u8 kind;  /* enum icmp_kind */
	__u8 flags; /* enum packet_flags */
	__u8 icmp_type;
	/* TCP, host order */
	__u32 seq;     /* SCTP: the verification tag, as on the wire */
	__u32 ack;     /* SCTP: what a translation has changed of the ports, exclusive or, as on the wire */
	__u32 payload; /* bytes */
	__u16 window;
	__u8 tcp_flags;
	__u8 tcp_header; /* bytes, options included */
};

/* Whether this packet may be given another port. Of a fragmented SCTP packet the sum can't be (sctp_sum.h).
 */
inline_ bool packet_port_is_free(const struct packet *p)
{
	return proto_port_is_free(p->proto) && !(p->proto == IPPROTO_SCTP && p->flags & PACKET_FIRST);
}

/*
 * Where the linear part begins and ends. By instruction, because the compiler takes the 32 bits that the
 * context is said to hold for a number and may shift it, and the verifier takes it for the pointer that it
 * is.
 */
inline_ void *packet_begin(const struct __sk_buff *skb)
{
#ifdef CTNAT_XDP
	return (void *)skb->data;
#else
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + %2)" : "=r"(at) : "r"(skb), "i"(offsetof(struct __sk_buff, data)));
	return at;
#endif
}

inline_ void *packet_end(const struct __sk_buff *skb)
{
#ifdef CTNAT_XDP
	return (void *)skb->data_end;
#else
	void *at;

	asm volatile("%0 = *(u32 *)(%1 + %2)"
		     : "=r"(at)
		     : "r"(skb), "i"(offsetof(struct __sk_buff, data_end)));
	return at;
#endif
}

enum { PACKET_DIRECT_MAX = 4096 }; /* no header chain that is worth speed is longer */

/* Reads n 32-bit words at an offset, from the linear part where they are there. False: the packet ends
 * before. */
inline_ bool packet_words(struct __sk_buff *skb, __u32 offset, __u32 *to, const __u32 n)
{
#ifdef CTNAT_XDP
	return xdp_load(skb, offset, to, n * 4, true) == 0; /* all that there is is linear */
#else
	void *data = (void *)(long)skb->data;
	void *end = (void *)(long)skb->data_end;
	__u64 at = offset;

	/* verifier: the register that is bounded is the one that is added; and a whole one, as clang may
	 * spill half of it and widen that by shifts, in which kernels before 6.2 or so lose the bound */
	hide(at);
	if (likely(at < PACKET_DIRECT_MAX && data + at + n * 4 <= end)) {
		const __u32 *from = data + at;

		UNROLL
		for (__u32 i = 0; i < n; i++)
			to[i] = from[i];
		return true;
	}
	return bpf_skb_load_bytes(skb, offset, to, n * 4) == 0;
#endif
}

inline_ __u8 icmp_kind4(__u8 type, __u8 *flags)
{
	switch (type) {
	case 0:
		*flags |= PACKET_ICMP_REPLY;
		return ICMP_KIND_ECHO;
	case 8:
		return ICMP_KIND_ECHO;
	case 14:
		*flags |= PACKET_ICMP_REPLY;
		return ICMP_KIND_TIMESTAMP;
	case 13:
		return ICMP_KIND_TIMESTAMP;
	case 16:
		*flags |= PACKET_ICMP_REPLY;
		return ICMP_KIND_INFO;
	case 15:
		return ICMP_KIND_INFO;
	case 18:
		*flags |= PACKET_ICMP_REPLY;
		return ICMP_KIND_ADDRESS;
	case 17:
		return ICMP_KIND_ADDRESS;
	case 3:	 /* unreachable */
	case 4:	 /* source quench */
	case 5:	 /* redirect */
	case 11: /* time exceeded */
	case 12: /* parameter problem */
		*flags |= PACKET_ICMP_ERROR;
		return ICMP_KIND_NONE;
	default:
		return ICMP_KIND_NONE;
	}
}

inline_ __u8 icmp_kind6(__u8 type, __u8 *flags)
{
	switch (type) {
	case 129:
		*flags |= PACKET_ICMP_REPLY;
		return ICMP_KIND_ECHO;
	case 128:
		return ICMP_KIND_ECHO;
	default:
		if (type < 128)
			*flags |= PACKET_ICMP_ERROR;
		return ICMP_KIND_NONE;
	}
}

/* Multicast listener discovery and neighbour discovery (RFC 3810, RFC 4861): no talk between two hosts. */
inline_ bool icmp6_is_of_link(__u8 type)
{
	return (type >= 130 && type <= 136) || type == 143;
}

/*
 * GRE (RFC 2784, RFC 2890). A tunnel's key tells it from another one between the same hosts and takes the
 * ports' place, as an ICMP identifier does. PPTP's GRE (version 1, RFC 2637) has another number for each
 * direction, which only its control connection names: such a flow is known by its addresses alone.
 * `first`: the header's first word, as on the wire.
 */
inline_ bool gre_has_key(__u32 first)
{
	return (first & 0x0720) == 0x20;
}

/* The checksum, or the routing of RFC 1701, takes the word before the key. */
inline_ __u32 gre_key_offset(__u32 first)
{
	return first & 0xc0 ? 8 : 4;
}

/* A key below 65,536 is its own identifier. Two others may share one; their tunnels are one flow then. */
inline_ __be16 gre_key_fold(__u32 key)
{
	return (__be16)(key ^ key >> 16);
}

/*
 * The L4 header's part of the tuple. 0, or the reason why the packet can't be tracked.
 * `left`: bytes of the IP packet from the L4 header on.
 */
inline_ enum reason packet_l4(struct __sk_buff *skb, struct packet *p, const bool v6, __u32 left)
{
	__u32 w[5];

	if (p->proto == IPPROTO_TCP) {
		if (left < 20 || !packet_words(skb, p->l4, w, 5))
			return REASON_DROP_TRUNCATED;
		p->tcp_header = (bpf_ntohl(w[3]) >> 28) * 4;
		if (p->tcp_header < 20 || p->tcp_header > left)
			return REASON_DROP_TRUNCATED;
		p->tuple.sport = (__be16)w[0];
		p->tuple.dport = (__be16)(w[0] >> 16);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
#error "words are taken apart as little endian"
#endif
		p->seq = bpf_ntohl(w[1]);
		p->ack = bpf_ntohl(w[2]);
		p->tcp_flags = w[3] >> 8;
		p->window = bpf_ntohs((__be16)(w[3] >> 16));
		p->payload = left - p->tcp_header;
		return 0;
	}
	if (proto_has_ports(p->proto)) {
		__u32 length;

		if (left < 8 || !packet_words(skb, p->l4, w, 2))
			return REASON_DROP_TRUNCATED;
		if (p->proto != IPPROTO_SCTP) {
			length = bpf_ntohs((__be16)w[1]);
			/* UDP-Lite: what the checksum covers (RFC 3828 section 3.1), 0 means all of it */
			if (p->proto == IPPROTO_UDPLITE && !length)
				length = 8;
			/* a first fragment has less than the datagram's length */
			if (length < 8 || (length > left && !(p->flags & PACKET_FIRST)))
				return REASON_DROP_TRUNCATED;
		}
		p->tuple.sport = (__be16)w[0];
		p->tuple.dport = (__be16)(w[0] >> 16);
		p->seq = w[1];
		return 0;
	}
	if (p->proto == (v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP)) {
		if (left < 8 || !packet_words(skb, p->l4, w, 2))
			return REASON_DROP_TRUNCATED;
		p->icmp_type = w[0];
		p->kind = v6 ? icmp_kind6(p->icmp_type, &p->flags) : icmp_kind4(p->icmp_type, &p->flags);
		if (p->flags & PACKET_ICMP_ERROR)
			return 0;
		if (p->kind == ICMP_KIND_NONE)
			return v6 && icmp6_is_of_link(p->icmp_type) ? REASON_UNTRACKED_PROTO
								    : REASON_DROP_INVALID;
		p->tuple.sport = p->tuple.dport = (__be16)w[1];
		return 0;
	}
	if (p->proto == (v6 ? IPPROTO_ICMP : IPPROTO_ICMPV6))
		return REASON_DROP_INVALID; /* the other family's */
	if (p->proto == IPPROTO_GRE) {
		if (left < 4 || !packet_words(skb, p->l4, w, 1))
			return REASON_DROP_TRUNCATED;
		if (gre_has_key(w[0])) {
			__u32 key = gre_key_offset(w[0]);

			if (left < key + 4 || !packet_words(skb, p->l4 + key, w + 1, 1))
				return REASON_DROP_TRUNCATED;
			p->tuple.sport = p->tuple.dport = gre_key_fold(w[1]);
		}
	}
	return 0;
}

inline_ bool ipv4_is_untracked(__be32 saddr, __be32 daddr)
{
	/* RFC 1122 section 3.2.1.3: no source yet (DHCP), multicast, limited broadcast: nobody answers as a
	 * flow. */
	return !saddr || (daddr & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || daddr == 0xffffffff;
}

inline_ enum reason packet_parse4(struct __sk_buff *skb, __u32 l2, struct packet *p)
{
	__u32 w[5], header, fragment;

	p->l3 = l2;
	if (!packet_words(skb, l2, w, 5))
		return REASON_DROP_TRUNCATED;
	header = (w[0] & 0xf) * 4;
	if ((w[0] & 0xf0) != 0x40 || header < 20)
		return REASON_DROP_TRUNCATED;
	p->length = bpf_ntohl(w[0]) & 0xffff;
	if (!p->length) /* BIG TCP: longer than the field can say */
		p->length = skb->len - l2;
	if (p->length < header || p->length > skb->len - l2)
		return REASON_DROP_TRUNCATED;
	p->tuple.saddr[0] = w[3];
	p->tuple.daddr[0] = w[4];
	p->proto = w[2] >> 8;
	p->l4 = l2 + header;
	if (ipv4_is_untracked(w[3], w[4]))
		return REASON_UNTRACKED_MULTICAST;
	fragment = bpf_ntohl(w[1]) & 0x3fff;
	if (unlikely(fragment)) {
		p->fragment_id = w[1] & 0xffff;
		if (fragment & 0x1fff) {
			if (proto_needs_first(p->proto))
				p->flags |= PACKET_FOLLOWER;
			return 0;
		}
		if (proto_needs_first(p->proto))
			p->flags |= PACKET_FIRST;
	}
	return packet_l4(skb, p, false, p->length - header);
}

inline_ bool ipv6_is_untracked(const __be32 *saddr, const __be32 *daddr)
{
	/* RFC 4291: multicast is no flow; link-local (fe80::/10) never crosses a router; :: has no address
	 * yet. */
	return (daddr[0] & 0xff) == 0xff || (daddr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       (saddr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000) ||
	       !(saddr[0] | saddr[1] | saddr[2] | saddr[3]);
}

inline_ bool ipv6_is_extension(__u8 next)
{
	return next == 0 || next == 43 || next == 60; /* hop-by-hop, routing, destination options */
}

enum { IPV6_EXTENSIONS_MAX = 6 };

inline_ enum reason packet_parse6(struct __sk_buff *skb, __u32 l2, struct packet *p)
{
	__u32 w[10], x[2], offset = 40, payload;
	bool follower = false;
	__u8 next;

	p->l3 = l2;
	if (!packet_words(skb, l2, w, 10))
		return REASON_DROP_TRUNCATED;
	if ((w[0] & 0xf0) != 0x60)
		return REASON_DROP_TRUNCATED;
	payload = bpf_ntohs((__be16)w[1]);
	p->length = payload ? payload + 40 : skb->len - l2; /* 0: jumbogram or BIG TCP */
	if (p->length > skb->len - l2)
		return REASON_DROP_TRUNCATED;
	UNROLL
	for (int i = 0; i < 4; i++) {
		p->tuple.saddr[i] = w[2 + i];
		p->tuple.daddr[i] = w[6 + i];
	}
	if (ipv6_is_untracked(w + 2, w + 6))
		return REASON_UNTRACKED_MULTICAST;
	next = w[1] >> 16;
	UNROLL
	for (int i = 0; i < IPV6_EXTENSIONS_MAX; i++) {
		if (next != 44 && !ipv6_is_extension(next))
			break;
		if (offset + 8 > p->length || bpf_skb_load_bytes(skb, l2 + offset, x, 8))
			return REASON_DROP_TRUNCATED;
		if (next == 44) {
			p->fragment_id = x[1];
			offset += 8;
			if (bpf_ntohl(x[0]) & 0xfff8)
				p->flags |= PACKET_FOLLOWER;
			else if (bpf_ntohl(x[0]) & 1)
				p->flags |= PACKET_FIRST;
		} else {
			offset += ((x[0] >> 8 & 0xff) + 1) * 8;
		}
		next = x[0];
		if (p->flags & PACKET_FOLLOWER)
			break;
	}
	if (offset > p->length)
		return REASON_DROP_TRUNCATED;
	p->proto = next;
	p->l4 = l2 + offset;
	if (!proto_needs_first(next)) {
		follower = p->flags & PACKET_FOLLOWER;
		p->flags = 0;
		if (follower)
			return 0;
	} else if (p->flags & PACKET_FOLLOWER) {
		return 0;
	}
	if (ipv6_is_extension(next) || next == 44)
		return REASON_DROP_TRUNCATED; /* a longer chain than any honest sender makes */
	if (next == 59)			      /* nothing follows: neither a flow nor an answer */
		return REASON_DROP_INVALID;
	return packet_l4(skb, p, true, p->length - offset);
}

/* verifier: whichever way the headers were read, what follows is walked through once */
inline_ void packet_blur(struct packet *p, __u32 zero)
{
	blur(p->tuple.sport, zero);
	blur(p->tuple.dport, zero);
	blur(p->l3, zero);
	blur(p->l4, zero);
	blur(p->length, zero);
	blur(p->fragment_id, zero);
	blur(p->proto, zero);
	blur(p->kind, zero);
	blur(p->flags, zero);
	blur(p->icmp_type, zero);
	blur(p->seq, zero);
	blur(p->ack, zero);
	blur(p->payload, zero);
	blur(p->window, zero);
	blur(p->tcp_flags, zero);
	blur(p->tcp_header, zero);
}

inline_ enum reason packet_parse(struct __sk_buff *skb, const bool v6, __u32 l2, struct packet *p)
{
	__builtin_memset(p, 0, sizeof(*p));
	return v6 ? packet_parse6(skb, l2, p) : packet_parse4(skb, l2, p);
}

#endif
