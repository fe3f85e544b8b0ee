/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Puts new addresses and ports into a packet and mends its checksums (RFC 1624): the only code that writes
 * to packets. Through the helpers, which know what this code can't see: whether the checksum is still to be
 * filled in by the device (CHECKSUM_PARTIAL), or stands beside the packet (CHECKSUM_COMPLETE), and whether
 * the buffer is shared. GSO packets need nothing more: their segments inherit the sum of the pseudo header.
 */
#ifndef CTNAT_REWRITE_H
#define CTNAT_REWRITE_H

#include "checksum.h"
#include "packet.h"
#include "tuple.h"

enum side {
	SIDE_SOURCE,
	SIDE_DESTINATION,
};

/* Offset of the L4 checksum in its header; ICMP's and ICMPv6's are alike, UDP-Lite's is where UDP's is. */
inline_ __u32 checksum_offset(__u8 proto)
{
	return proto == IPPROTO_TCP ? 16 : proto_has_ports(proto) ? 6 : 2;
}

/* Whether that checksum covers the addresses. ICMPv4's does not, SCTP's neither; the rest is not looked into.
 */
inline_ bool checksum_has_addresses(__u8 proto)
{
	return proto_in(proto, PROTOS_TCP_UDP | 1ULL << IPPROTO_ICMPV6, PROTOS_UDPLITE);
}

inline_ const __be32 *side_address(const struct tuple6 *t, enum side side)
{
	return side == SIDE_SOURCE ? t->saddr : t->daddr;
}

inline_ __be16 side_port(const struct tuple6 *t, enum side side)
{
	return side == SIDE_SOURCE ? t->sport : t->dport;
}

/* The pseudo header's part of the L4 checksum for an address that changes. */
inline_ long rewrite_pseudo(struct __sk_buff *skb, __u32 offset, const __be32 *from, const __be32 *to,
			    __u64 flags, const bool v6)
{
	if (v6) {
		__s64 diff = bpf_csum_diff((__be32 *)from, 16, (__be32 *)to, 16, 0);

		return bpf_l4_csum_replace(skb, offset, 0, diff, flags | BPF_F_PSEUDO_HDR);
	}
	return bpf_l4_csum_replace(skb, offset, from[0], to[0], flags | BPF_F_PSEUDO_HDR | 4);
}

/* The IP header's address; IPv4 mends its own checksum, IPv6 has none. */
inline_ long rewrite_ip_address(struct __sk_buff *skb, __u32 l3, enum side side, const __be32 *from,
				const __be32 *to, const bool v6)
{
	if (v6) {
		/*
		 * RECOMPUTE: l4_csum_replace has taken the address out of a CHECKSUM_COMPLETE sum as if an
		 * IPv4 header checksum made up for it. IPv6 has none, so the new bytes are added here.
		 */
		return bpf_skb_store_bytes(skb, l3 + (side == SIDE_SOURCE ? 8 : 24), to, 16,
					   BPF_F_RECOMPUTE_CSUM);
	}
	if (bpf_l3_csum_replace(skb, l3 + 10, from[0], to[0], 4))
		return -1;
	return bpf_skb_store_bytes(skb, l3 + (side == SIDE_SOURCE ? 12 : 16), to, 4, 0);
}

#ifndef CTNAT_XDP
/* UDP's header as in memory. */
struct udp_header {
	__be16 port[2];
	__be16 length;
	__u16 check;
};

/*
 * The helpers take the device's sum for this one wherever there is one (CHECKSUM_PARTIAL). In a tunnel's
 * packet it may be the inner one, while the outer one is complete, made with what that will be (LCO,
 * segmentation-offloads.rst in the kernel's documentation): where the field does not hold the sum of the
 * pseudo header, it changes with what it covers. Not where that sum may be of another address, behind a
 * route in options or headers, or of another length, in what is to be segmented. 1: so it did; 0: the
 * helpers decide.
 */
inline_ long rewrite_udp(struct __sk_buff *skb, const struct packet *p, const enum side side,
			 const __be32 *address, __be16 port, const bool v6)
{
	const __be32 *old = side_address(&p->tuple, side);
	__u64 sum = bpf_htons(IPPROTO_UDP), moved = 0;
	const int words = v6 ? 4 : 1;
	struct udp_header h;

	if (p->l4 - p->l3 != (v6 ? 40 : 20))
		return 0;
#ifdef CTNAT_GSO_SIZE
	if (skb->gso_size)
		return 0;
#endif
	if (bpf_skb_load_bytes(skb, p->l4, &h, sizeof(h)))
		return -1;
	UNROLL
	for (int i = 0; i < words; i++) {
		sum += (__u64)p->tuple.saddr[i] + p->tuple.daddr[i];
		moved += (__u64)(__u32)~address[i] + old[i];
	}
	if (!h.check || h.check == checksum_fold(sum + h.length))
		return 0;
	h.check = ~checksum_fold((__u64)(__u16)~h.check + (__u16)~h.port[side] + port +
				 (__u16)~checksum_fold(moved));
	if (!h.check)
		h.check = 0xffff;
	h.port[side] = port;
	if (bpf_skb_store_bytes(skb, p->l4, &h, sizeof(h), 0))
		return -1;
	bpf_csum_update(skb, checksum_fold(moved)); /* the field shrank by what the address grows */
	return 1;
}
#endif

/*
 * Gives one side of the packet another address and port (ICMP: identifier). p->tuple still holds what the
 * packet has; it is brought up to date. 0, or a negative number when the packet's memory can't be written.
 */
inline_ long rewrite_side(struct __sk_buff *skb, struct packet *p, const enum side side,
			  const __be32 *address, __be16 port, const bool v6)
{
	const __be32 *old = side_address(&p->tuple, side);
	__be16 old_port = side_port(&p->tuple, side);
	bool moves = !address_equal(old, address, v6);
	/* UDP: 0 is none and stays none; UDP-Lite: never 0 */
	__u64 flags = p->proto == IPPROTO_UDP || p->proto == IPPROTO_UDPLITE ? BPF_F_MARK_MANGLED_0 : 0;
	__u32 check = p->l4 + checksum_offset(p->proto);
	long done = 0;

#ifndef CTNAT_XDP
	if (p->proto == IPPROTO_UDP && !(p->flags & PACKET_FOLLOWER))
		done = rewrite_udp(skb, p, side, address, port, v6);
	if (done < 0)
		return -1;
#endif
	if (!done && !(p->flags & PACKET_FOLLOWER)) {
		if (moves && checksum_has_addresses(p->proto) &&
		    rewrite_pseudo(skb, check, old, address, flags, v6))
			return -1;
		if (port != old_port && proto_port_is_free(p->proto)) {
			__u32 at = p->l4 + (proto_has_ports(p->proto) ? (side == SIDE_SOURCE ? 0 : 2) : 4);

			if (p->proto == IPPROTO_SCTP) { /* its sum is mended when the hook is through */
				if (bpf_skb_store_bytes(skb, at, &port, 2, BPF_F_RECOMPUTE_CSUM))
					return -1;
				p->ack = (__u32)(port ^ old_port) << (side == SIDE_SOURCE ? 0 : 16);
			} else if (bpf_l4_csum_replace(skb, check, old_port, port, flags | 2) ||
				   bpf_skb_store_bytes(skb, at, &port, 2, 0)) {
				return -1;
			}
		}
	}
	if (moves && rewrite_ip_address(skb, p->l3, side, old, address, v6))
		return -1;
	if (side == SIDE_SOURCE) {
		address_copy(p->tuple.saddr, address, v6);
		p->tuple.sport = port;
	} else {
		address_copy(p->tuple.daddr, address, v6);
		p->tuple.dport = port;
	}
	if (!proto_has_ports(p->proto)) /* one identifier serves as both ports */
		p->tuple.sport = p->tuple.dport = port;
	return 0;
}

#endif
