/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * ICMP errors (RFC 5508 section 4, RFC 4787 REQ-12). An error belongs to the flow of the packet that it
 * quotes, whichever router sent it. It is treated as a packet going the other way: the quote's tuple,
 * reversed, finds the flow and says what is to be translated; each address that changes does so in the
 * outer header and, mirrored, in the quoted one, with every checksum that covers it. It neither prolongs
 * nor ends the flow, and is not counted as the flow's.
 */
#ifndef CTNAT_ICMP_ERROR_H
#define CTNAT_ICMP_ERROR_H

#include "hook.h"

/* RFC 1624 equation 3, over 16-bit words in memory order. A checksum of 0 for UDP is none and stays none. */
inline_ __u16 checksum_change(__u16 check, __u32 from, __u32 to)
{
	__u32 sum = (__u16)~check;

	sum += (__u16)~from;
	sum += (__u16)(~from >> 16);
	sum += to & 0xffff;
	sum += to >> 16;
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

/* Replaces 2 or 4 bytes of the ICMP message and takes the change into the message's checksum. */
inline_ long error_store(struct __sk_buff *skb, __u32 check, __u32 at, __u32 from, __u32 to, const __u32 size)
{
	__u32 value = to;

	if (from == to)
		return 0;
	if (bpf_l4_csum_replace(skb, check, from, to, size))
		return -1;
	return bpf_skb_store_bytes(skb, at, &value, size, 0);
}

struct quote {
	struct tuple6 tuple; /* as quoted */
	__u32 l3;
	__u32 l4;
	__u32 room; /* bytes quoted from the L4 header on */
	__u8 proto;
	__u8 kind;
	__u16 ip_check;
};

/*
 * The ports of a quoted packet that is no ICMP query, from the first eight bytes of its L4 header; GRE's key
 * may stand behind them, if the quote is as long. False: it is not.
 */
inline_ bool quote_ports(struct __sk_buff *skb, struct quote *q, __u32 first, __u32 second)
{
	if (proto_has_ports(q->proto)) {
		q->tuple.sport = (__be16)first;
		q->tuple.dport = (__be16)(first >> 16);
	} else if (q->proto == IPPROTO_GRE && gre_has_key(first)) {
		if (gre_key_offset(first) != 4 && (q->room < 12 || !packet_words(skb, q->l4 + 8, &second, 1)))
			return false;
		q->tuple.sport = q->tuple.dport = gre_key_fold(second);
	}
	return true;
}

/* The quoted packet. False: not of a kind that has flows, or too short to tell. */
inline_ bool quote_parse4(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	__u32 w[5], x[2], header, offset = p->l4 + 8;
	__u8 flags = 0;

	if (p->length + p->l3 < offset + 28 || !packet_words(skb, offset, w, 5))
		return false;
	header = (w[0] & 0xf) * 4;
	/* a quoted follower has no ports (RFC 5508 REQ-4 can't be met for it) */
	if ((w[0] & 0xf0) != 0x40 || header < 20 || (bpf_ntohl(w[1]) & 0x1fff))
		return false;
	q->l3 = offset;
	q->l4 = offset + header;
	if (p->length + p->l3 < q->l4 + 8 || !packet_words(skb, q->l4, x, 2))
		return false;
	q->room = p->length + p->l3 - q->l4;
	q->proto = w[2] >> 8;
	q->ip_check = w[2] >> 16;
	q->tuple.saddr[0] = w[3];
	q->tuple.daddr[0] = w[4];
	if (q->proto == IPPROTO_ICMP) {
		q->kind = icmp_kind4(x[0], &flags);
		q->tuple.sport = q->tuple.dport = (__be16)x[1];
		return q->kind != ICMP_KIND_NONE;
	}
	return quote_ports(skb, q, x[0], x[1]);
}

inline_ bool quote_parse6(struct __sk_buff *skb, const struct packet *p, struct quote *q)
{
	__u32 w[10], x[2], offset = p->l4 + 8;
	__u8 flags = 0, next;

	if (p->length + p->l3 < offset + 48 || !packet_words(skb, offset, w, 10))
		return false;
	if ((w[0] & 0xf0) != 0x60)
		return false;
	UNROLL
	for (int i = 0; i < 4; i++) {
		q->tuple.saddr[i] = w[2 + i];
		q->tuple.daddr[i] = w[6 + i];
	}
	q->l3 = offset;
	offset += 40;
	next = w[1] >> 16;
	UNROLL
	for (int i = 0; i < 3; i++) {
		if (next == 44) {
			if (p->length + p->l3 < offset + 16 || !packet_words(skb, offset, x, 1) ||
			    (bpf_ntohl(x[0]) & 0xfff8))
				return false;
			next = x[0];
			offset += 8;
		} else if (ipv6_is_extension(next)) {
			if (p->length + p->l3 < offset + 16 || !packet_words(skb, offset, x, 1))
				return false;
			next = x[0];
			offset += (((x[0] >> 8) & 0xff) + 1) * 8;
		} else {
			break;
		}
	}
	q->l4 = offset;
	if (p->length + p->l3 < offset + 8 || !packet_words(skb, offset, x, 2))
		return false;
	q->room = p->length + p->l3 - offset;
	q->proto = next;
	if (next == IPPROTO_ICMPV6) {
		q->kind = icmp_kind6(x[0], &flags);
		q->tuple.sport = q->tuple.dport = (__be16)x[1];
		return q->kind != ICMP_KIND_NONE;
	}
	return quote_ports(skb, q, x[0], x[1]);
}

/*
 * Gives one end of the quoted packet another address and port. Its own checksums are mended as a router
 * would that had forwarded the packet untranslated: IPv4's header, and L4's where the quote reaches it.
 */
inline_ long quote_rewrite(struct __sk_buff *skb, const struct packet *p, const struct quote *q,
			   const enum side side, const __be32 *address, __be16 port, const bool v6)
{
	const __be32 *old = side_address(&q->tuple, side);
	__be16 old_port = side_port(&q->tuple, side);
	__u32 check = p->l4 + 2, at, l4_check = checksum_offset(q->proto);
	__u16 sum;

	if (q->room >= l4_check + 2 && proto_has_checksum(q->proto)) {
		__u16 had;

		if (bpf_skb_load_bytes(skb, q->l4 + l4_check, &had, 2))
			return -1;
		if (had || q->proto != IPPROTO_UDP) {
			sum = had;
			if (checksum_has_addresses(q->proto)) {
				UNROLL
				for (int i = 0; i < (v6 ? 4 : 1); i++)
					sum = checksum_change(sum, old[i], address[i]);
			}
			sum = checksum_change(sum, old_port, port);
			if (!sum && (q->proto == IPPROTO_UDP || q->proto == IPPROTO_UDPLITE))
				sum = 0xffff;
			if (error_store(skb, check, q->l4 + l4_check, had, sum, 2))
				return -1;
		}
	}
	if (!v6) {
		if (error_store(skb, check, q->l3 + 10, q->ip_check,
				checksum_change(q->ip_check, old[0], address[0]), 2))
			return -1;
	}
	at = q->l3 + (v6 ? (side == SIDE_SOURCE ? 8 : 24) : (side == SIDE_SOURCE ? 12 : 16));
	if (v6) {
		__s64 diff = bpf_csum_diff((__be32 *)old, 16, (__be32 *)address, 16, 0);

		if (bpf_l4_csum_replace(skb, check, 0, diff, 0) ||
		    bpf_skb_store_bytes(skb, at, address, 16, 0))
			return -1;
	} else if (error_store(skb, check, at, old[0], address[0], 4)) {
		return -1;
	}
	if (!proto_port_is_free(q->proto))
		return 0;
	at = q->l4 + (proto_has_ports(q->proto) ? (side == SIDE_SOURCE ? 0 : 2) : 4);
	return error_store(skb, check, at, old_port, port, 2);
}

/* Gives one side of the outer header another address; ICMPv6's checksum covers it, ICMP's does not. */
inline_ long error_outer(struct __sk_buff *skb, const struct packet *p, const enum side side,
			 const __be32 *address, const bool v6)
{
	const __be32 *old = side_address(&p->tuple, side);

	if (address_equal(old, address, v6))
		return 0;
	if (v6 && rewrite_pseudo(skb, p->l4 + 2, old, address, 0, true))
		return -1;
	return rewrite_ip_address(skb, p->l3, side, old, address, v6);
}

/* What changes of a quoted SCTP packet's ports, as on the wire, if its sum is quoted as well; else 0. */
inline_ __u32 quote_ports_change(const struct quote *q, const struct tuple6 *other, const enum hook_dir at)
{
	if (q->proto != IPPROTO_SCTP || q->room < 12)
		return 0;
	return at == HOOK_INGRESS ? q->tuple.sport ^ other->sport
				  : (__u32)(q->tuple.dport ^ other->dport) << 16;
}

inline_ int icmp_error(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), l2 = hop_l2(skb), tag = 0, zones = 0, slot;
	bool upper = hop_flags(skb) & HOP_UPPER, high;
	struct settings *s = settings_get();
	struct tuple6 reverse, other;
	__u32 ports = 0;
	struct quote q = {};
	union tuple_key key;
	struct tuple_ref *ref, copy;
	struct packet p;
	struct flow *f;
	enum ct_dir dir;
	int verdict;

	if (s)
		zones = zones_read(skb, at, s);
	if (!s || !hook_parse(skb, at, &p, l2, zones_in(zones), now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (!(v6 ? quote_parse6(skb, &p, &q) : quote_parse4(skb, &p, &q)))
		return verdict_unjudged(skb, at, &p, REASON_DROP_INVALID, REASON_PASSED_INVALID, v6);
	blur(q.l4, s->zero);
	blur(q.room, s->zero);
	blur(q.proto, s->zero);
	blur(q.kind, s->zero);
	if (at == HOOK_EGRESS || upper)
		tag = skb->tc_index;
	tuple_reverse(&reverse, &q.tuple, v6);
	if (tag_is_middle(tag))
		high = tuple_key(&key, &reverse, q.proto, kind_key_flags(q.kind) | KEY_MIDDLE,
				 tag & TAG_SLOT_MASK, v6);
	else
		high = tuple_key(&key, &reverse, q.proto, kind_key_flags(q.kind), tag_zone(tag, zones), v6);
	ref = tuple_find(&key, &copy, v6);
	if (!ref)
		goto unknown;
	slot = ref->slot;
	f = flow_at(slot, v6);
	if (!f || !flow_is_live(f, ref->gen, now))
		goto unknown;
	if (f->proto == IPPROTO_TCP && f->state == CT_TCP_NONE) /* refused: over but for its last packet */
		goto unknown;
	dir = form_dir(ref->form, high);
	/* it must go to where the quoted packet came from, or somebody is using the flow's name */
	if (!address_equal(p.tuple.daddr, q.tuple.saddr, v6) &&
	    !(at == HOOK_EGRESS && tag_matches(tag, slot)))
		goto unknown;
	/* an ICMP redirect would teach a translated flow's host a route by the wrong name: as Netfilter */
	if (f->nat != NAT_NONE && p.icmp_type == (v6 ? 137 : 5))
		return verdict_drop(skb, at, REASON_DROP_INVALID);
	if (form_stage(ref->form, high) == STAGE_DONE ||
	    (upper && at == HOOK_INGRESS && tag_matches(tag, slot)))
		goto done;
	flow_tuple(f, dir == CT_DIR_ORIGINAL ? CT_DIR_REPLY : CT_DIR_ORIGINAL, &other, v6);
	barrier_compiler();
	if (read_once(f->gen) != ref->gen)
		return verdict_drop(skb, at, REASON_DROP_REWRITE);
	if (f->nat == NAT_NONE)
		goto done;
	if (!translates_port(q.proto, dir, at))
		other.sport = other.dport = q.tuple.sport;
	ports = quote_ports_change(&q, &other, at);
	if (at == HOOK_INGRESS) {
		if (quote_rewrite(skb, &p, &q, SIDE_SOURCE, other.saddr, other.sport, v6) ||
		    error_outer(skb, &p, SIDE_DESTINATION, other.saddr, v6))
			return verdict_drop(skb, at, REASON_DROP_REWRITE);
	} else {
		if (quote_rewrite(skb, &p, &q, SIDE_DESTINATION, other.daddr, other.dport, v6) ||
		    error_outer(skb, &p, SIDE_SOURCE, other.daddr, v6))
			return verdict_drop(skb, at, REASON_DROP_REWRITE);
	}
done:
	if (unlikely(hop_flags(skb) & HOP_RESTORE)) {
		const struct flow_extra *extra = extra_at(slot, v6);

		if (extra)
			skb->mark = extra->mark; /* a rule for tracking (track.h) */
	}
	tag_packet(skb, f, slot, dir, at, upper);
	if (unlikely(ports)) {
		skb->cb[3] = at << 8;
		skb->cb[4] = ports;
		hop_go(skb, CALL_SUM_QUOTE, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	return verdict_pass(skb, at, REASON_RELATED);
unknown:
	return verdict_unjudged(skb, at, &p, REASON_DROP_INVALID, REASON_PASSED_INVALID, v6);
}

#endif
