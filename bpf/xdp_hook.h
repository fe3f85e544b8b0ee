/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The long way at XDP: packets of a known flow that are not the usual ones, and those of no flow. It does
 * what both hooks of TC would, for packets that are forwarded between interfaces of XDP mode; anything else
 * goes up the stack as it came.
 */
#ifndef CTNAT_XDP_HOOK_H
#define CTNAT_XDP_HOOK_H

#include "new.h"
#include "xdp_fast.h"

enum { XDP_IPV4_HEADER = 20, XDP_IPV6_HEADER = 40 };

/* An interface in XDP mode, else NULL. */
inline_ const struct forward_port *xdp_port(__u32 ifindex)
{
	const struct forward_port *port = forward_port(ifindex);

	return port && port->flags & FORWARD_PORT_XDP ? port : NULL;
}

/* Whether the headers are such that XDP forwards the packet. */
inline_ bool xdp_may_send(struct __sk_buff *skb, const struct packet *p, const bool v6)
{
	__u32 header = v6 ? XDP_IPV6_HEADER : XDP_IPV4_HEADER, length, at;
	const __u8 *hops;
	__u16 *check;
	__u64 sum;

	/* fragments are put together by TC, errors and options read by it; SCTP's checksum may be the
	 * device's */
	if (p->flags & (PACKET_FOLLOWER | PACKET_FIRST | PACKET_ICMP_ERROR) || p->l4 - p->l3 != header ||
	    p->proto == IPPROTO_SCTP || !frame_ends_with(skb, p->length))
		return false;
	hops = xdp_bytes(skb, v6 ? XDP_TTL6 : XDP_TTL4, 1);
	if (!hops || *hops <= 1)
		return false;
	/* the stack handles fragments that are flows of their own, too */
	if (!v6) {
		const __u16 *fragment = xdp_bytes(skb, ETH_HLEN + 6, 2);

		if (!fragment || *fragment & bpf_htons(0x3fff))
			return false;
	}
	if (p->proto != IPPROTO_TCP && p->proto != IPPROTO_UDP && p->proto != IPPROTO_UDPLITE)
		return true;
	length = p->length - header;
	at = p->l4 + checksum_offset(p->proto);
	check = xdp_bytes(skb, at, 2);
	if (!check)
		return false;
	sum = (__u64)p->tuple.saddr[0] + p->tuple.daddr[0];
	if (v6) {
		UNROLL
		for (int i = 1; i < 4; i++)
			sum += (__u64)p->tuple.saddr[i] + p->tuple.daddr[i];
	}
	return !xdp_checksum_is_partial(sum, bpf_htons(p->proto) + bpf_htons((__u16)length), *check,
					p->proto == IPPROTO_TCP);
}

/* Finds the way to `daddr` and leaves it in the walk. False: the packet is the stack's. */
inline_ bool xdp_find_way(struct __sk_buff *skb, const struct packet *p, const __be32 *daddr, __be16 dport,
			  __u32 now, const bool v6)
{
	const struct forward_port *in = xdp_port(skb->ingress_ifindex);
	struct bpf_fib_lookup fib = {};
	const __u32 *word;

	if (!in)
		return false;
	fib.family = v6 ? FIB_AF_INET6 : FIB_AF_INET;
	fib.l4_protocol = p->proto;
	fib.sport = p->tuple.sport;
	fib.dport = dport;
	word = xdp_bytes(skb, ETH_HLEN, 4);
	if (!word)
		return false;
	if (v6) {
		fib.flowinfo = *word & bpf_htonl(0x0fffffff);
		__builtin_memcpy(fib.ipv6_src, p->tuple.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, daddr, 16);
	} else {
		fib.tos = *word >> 8;
		fib.ipv4_src = p->tuple.saddr[0];
		fib.ipv4_dst = daddr[0];
	}
	if (!route_find(skb, in, &fib, p->length, p->tuple.saddr[0], p->tuple.daddr[0], now, FORWARD_PORT_XDP,
			v6))
		return false;
	return xdp_take_way(skb, &fib, p->tcp_flags);
}

/* A packet of no flow. `key`: NULL if it is of one that is over, which NEW has to end. */
inline_ int xdp_miss(struct __sk_buff *skb, const struct packet *p, const struct settings *s,
		     const union paired_key *key, const bool v6)
{
	if (key) /* it comes while the way is looked for */
		home_fetch(home_slot(s, key_hash(key, v6), v6), v6);
	if (!xdp_find_way(skb, p, p->tuple.daddr, p->tuple.dport, clock_now(), v6))
		return XDP_PASS;
	hop_begin(skb, ETH_HLEN, 0, true);
	if (s->rule_count) {
		hop_go(skb, CALL_NEW_INGRESS, v6);
	} else if (key && settings_are_plain(s)) {
		skb->cb[4] = home_word(s, key, v6);
		hop_go(skb, CALL_BIRTH, v6);
	} else {
		hop_go(skb, CALL_NEW_EGRESS, v6);
	}
	return XDP_PASS;
}

/* CALL_EGRESS. */
inline_ int xdp_hook(struct __sk_buff *skb, const bool v6)
{
	struct settings *s = settings_get();
	__u32 now = clock_now(), slot, before;
	struct tuple6 other;
	union paired_key key;
	struct tuple_ref *ref, copy;
	struct packet p;
	struct flow *f;
	enum ct_dir dir;
	__u32 found;
	bool high;
	__u16 gen;
	__u8 form;

	if (!s || unlikely(s->flags & SETTING_ZONES) || packet_parse(skb, v6, ETH_HLEN, &p))
		return XDP_PASS; /* zones: TC knows them */
	packet_blur(&p, s->zero);
	if (!xdp_may_send(skb, &p, v6))
		return XDP_PASS;
	if (!(hop_flags(skb) & HOP_OPTIONS) && segment_has_options(skb, &p)) {
		hop_begin(skb, ETH_HLEN, HOP_OPTIONS, true);
		hop_go(skb, CALL_OPTIONS_EGRESS, v6);
		return XDP_PASS;
	}
	high = packet_key(&key.tuple, &p, 0, false, 0, v6);
	blur(high, s->zero);
	ref = tuple_find(&key.tuple, &copy, v6);
	if (!ref)
		return xdp_miss(skb, &p, s, &key, v6);
	slot = ref->slot;
	gen = ref->gen;
	form = ref->form;
	f = flow_at(slot, v6);
	if (!f || !flow_is_live(f, gen, now))
		return xdp_miss(skb, &p, s, NULL, v6);
	dir = form_dir(form, high);
	/* its source is to be judged, it looks like a packet that was translated, or it keeps an endpoint
	 * open: TC knows */
	if (form_stage(form, high) != STAGE_WIRE || (dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS) ||
	    f->flags & FLOW_HAS_ENDPOINT)
		return XDP_PASS;
	blur(dir, s->zero);
	flow_tuple(f, dir == CT_DIR_ORIGINAL ? CT_DIR_REPLY : CT_DIR_ORIGINAL, &other, v6);
	found = xdp_find_way(skb, &p, other.saddr, other.sport, now, v6);
	blur(found, s->zero);
	if (!found)
		return XDP_PASS;
	before = flow_look(f);
	switch (flow_track(skb, f, &p, dir, now, s)) {
	case TRACK_REPLACE:
	case TRACK_INVALID:
		return XDP_PASS; /* TC drops it, or lets the next flow begin */
	default:
		break;
	}
	flow_count_class(skb, f, dir, HOOK_INGRESS);
	flow_count_class(skb, f, dir, HOOK_EGRESS);
	if (!translate(skb, &p, f, gen, dir, HOOK_EGRESS, v6))
		return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_REWRITE);
	if (unlikely(flow_look(f) != before) && s->events[EVENT_UPDATE])
		hop_event(skb, EVENT_UPDATE, slot, gen, REASON_FORWARDED, HOOK_EGRESS, v6);
	return xdp_send(skb);
}

/*
 * CALL_NEW_INGRESS: a flow is to begin. One whose destination a rule changes is begun by TC, where the rule
 * speaks before the route is known; the others by the programs of the outgoing interface.
 */
inline_ int xdp_new(struct __sk_buff *skb, const bool v6)
{
	struct settings *s = settings_get();
	__u32 index;
	struct packet p;

	if (!s || packet_parse(skb, v6, ETH_HLEN, &p))
		return XDP_PASS;
	packet_blur(&p, s->zero);
	index = rule_search(s, &p, skb->ingress_ifindex, 0, hop_rule(skb), HOOK_INGRESS, v6);
	if (index == RULE_UNFINISHED) {
		skb->cb[1] = hop_rule(skb) + RULE_SCAN_STEP;
		hop_go(skb, CALL_NEW_INGRESS, v6);
	} else if (index == RULE_NONE) {
		skb->cb[1] = 0;
		hop_go(skb, CALL_NEW_EGRESS, v6);
	}
	return XDP_PASS;
}

/* CALL_REFUSE: no port is left. TC comes to the same end, and tells the sender. */
inline_ int xdp_refuse(struct __sk_buff *skb, const bool v6)
{
	slot_give_back(skb->cb[3], v6);
	return XDP_PASS;
}

/* Where a packet begins. */
inline_ int xdp_enter(struct xdp_md *context)
{
	struct xdp_packet packet, *skb = &packet;
	const struct forward_port *in;
	const __u16 *type;
	bool v6;
	int verdict;

	xdp_packet(skb, context);
	in = xdp_port(skb->ingress_ifindex);
	type = xdp_bytes(skb, 12, 2);
	if (!in || !type || !xdp_frame_is_ours(skb, in))
		return XDP_PASS;
	v6 = *type == bpf_htons(ETH_P_IPV6);
	if (!v6 && *type != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	verdict = v6 ? xdp_fast(skb, in, true) : xdp_fast(skb, in, false);
	if (likely(verdict != FAST_NOT))
		return verdict;
	if (!xdp_walk_on(skb))
		return XDP_PASS;
	hop_begin(skb, ETH_HLEN, 0, false);
	hop_go(skb, CALL_EGRESS, v6);
	return XDP_PASS;
}

#endif
