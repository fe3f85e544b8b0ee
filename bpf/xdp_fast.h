/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way at XDP: as fast.h, for both hooks at once. The flow sees the packet only when it is certain
 * that it will be sent: until then nothing has been changed, and the long way (xdp_hook.h) or the stack can
 * begin with it anew.
 */
#ifndef CTNAT_XDP_FAST_H
#define CTNAT_XDP_FAST_H

#include "fast.h"
#include "route.h"
#include "way.h"

/* By how much the sum of the addresses grows; not folded. */
inline_ __u64 xdp_moves(const struct fast_packet *p, const struct fast_leaving *to, const bool v6)
{
	const int words = v6 ? 4 : 1;
	__u64 moved = 0;

	UNROLL
	for (int i = 0; i < words; i++)
		moved += (__u64)(__u32)~p->saddr[i] + (__u32)~p->daddr[i] + to->saddr[i] + to->daddr[i];
	return moved;
}

/* Writes addresses, ports, checksums and one hop less. False: the packet's memory is not there. */
inline_ bool xdp_rewrite(struct __sk_buff *skb, const struct fast_packet *p, const struct fast_leaving *to,
			 const struct way *way, const bool v6)
{
	const __u32 words = v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS;
	void *data = packet_begin(skb), *end = packet_end(skb);
	__u32 *ip = data + ETH_HLEN, *l4 = ip + words;
	__u64 moved = xdp_moves(p, to, v6), turned = (__u64)(__u32)~p->ports + to->ports;
	__u16 *check;

	if ((void *)(l4 + 2) > end)
		return false;
	if (p->proto == IPPROTO_TCP) {
		if ((void *)(l4 + 5) > end)
			return false;
		check = (__u16 *)l4 + 8;
		*check = checksum_grow(*check, moved + turned);
	} else {
		check = (__u16 *)l4 + 3;
		if (*check) { /* UDP: 0 is none and stays none */
			__u16 sum = checksum_grow(*check, moved + turned);

			*check = sum ? sum : 0xffff;
		}
	}
	fast_hop(ip, moved, v6);
	address_copy(ip + (v6 ? WORD_SADDR6 : WORD_SADDR4), to->saddr, v6);
	address_copy(ip + (v6 ? WORD_DADDR6 : WORD_DADDR4), to->daddr, v6);
	l4[WORD_PORTS] = to->ports;
	__builtin_memcpy(data, way->dmac, 6);
	__builtin_memcpy(data + 6, way->smac, 6);
	return true;
}

/* Whether the packet is one that XDP sends on, as far as its own words say. */
inline_ bool xdp_fast_may_send(struct __sk_buff *skb, const struct fast_packet *p, const bool v6)
{
	const __u32 words = v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS;
	void *data = packet_begin(skb), *end = packet_end(skb);
	const __u32 *l4 = (const __u32 *)(data + ETH_HLEN) + words;
	bool tcp = p->proto == IPPROTO_TCP;
	__u64 sum = (__u64)p->saddr[0] + p->daddr[0];
	__u16 check;

	if ((void *)(l4 + 2) > end || p->hops <= 1 || /* its time is up: the stack tells the sender */
	    !frame_ends_with(skb, p->length))
		return false;
	check = l4[1] >> 16;
	if (tcp) {
		if ((void *)(l4 + 5) > end)
			return false;
		check = l4[4];
	}
	if (v6) {
		UNROLL
		for (int i = 1; i < 4; i++)
			sum += (__u64)p->saddr[i] + p->daddr[i];
	}
	return !xdp_checksum_is_partial(sum, bpf_htons(p->proto) + bpf_htons((__u16)(p->length - words * 4)),
					check, tcp);
}

/* Whether an interface limits what SYNs announce (mss.h), which TC sees to. */
inline_ bool xdp_clamps(__u32 ifindex)
{
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);

	return iface && iface->mss;
}

/* The way that the packet takes if it is forwarded, for the programs behind: false: it is the stack's. */
inline_ bool xdp_take_way(struct __sk_buff *skb, const struct bpf_fib_lookup *fib, __u32 tcp_flags)
{
	if (tcp_flags & TCP_SYN && (xdp_clamps(skb->ingress_ifindex) || xdp_clamps(fib->ifindex)))
		return false;
	skb->ifindex = fib->ifindex;
	skb->walk->ifindex = fib->ifindex;
	__builtin_memcpy(skb->walk->dmac, fib->dmac, 6);
	__builtin_memcpy(skb->walk->smac, fib->smac, 6);
	return true;
}

/* Nobody holds the packet's key. */
inline_ int xdp_fast_new(struct __sk_buff *skb, const struct forward_port *in, const struct fast_packet *p,
			 const struct settings *s, __u32 home, __u32 now, const bool v6)
{
	struct bpf_fib_lookup fib;

	if (!settings_are_plain(s) || s->rule_count)
		return FAST_NOT;
	fast_fib(&fib, p, p->daddr, p->ports >> 16, v6);
	if (!route_find(skb, in, &fib, p->length, p->saddr[0], p->daddr[0], now, FORWARD_PORT_XDP, v6) ||
	    !xdp_walk_on(skb) || !xdp_take_way(skb, &fib, p->proto == IPPROTO_TCP ? p->tcp_flags : 0))
		return XDP_PASS;
	hop_begin(skb, ETH_HLEN, 0, false);
	skb->cb[4] = home;
	hop_go(skb, CALL_BIRTH, v6);
	return XDP_PASS;
}

inline_ int xdp_fast(struct __sk_buff *skb, const struct forward_port *in, const bool v6)
{
	__u32 now = clock_now(), slot, which, timeout;
	struct settings *s = settings_get();
	struct fast_packet p;
	const struct way *way;
	struct fast_leaving to;
	union paired_key key;
	struct fast_match m;
	enum fast_found found;
	struct flow *f;
	__u64 high, dir, counts;
	__u16 gen, gains;

	if (!s || !fast_parse(skb, ETH_HLEN, &p, v6))
		return FAST_NOT;
	if (unlikely(s->flags & SETTING_ZONES)) /* TC knows them */
		return XDP_PASS;
	if (!xdp_fast_may_send(skb, &p, v6))
		return XDP_PASS;
	high = fast_key(&key, &p, 0, v6);
	found = fast_find(&m, s, &key, &p, high, home_is_likely(s, skb->ingress_ifindex), now, v6);
	if (found == FAST_NOBODY)
		return xdp_fast_new(skb, in, &p, s, home_word(s, &key, v6), now, v6);
	if (found != FAST_FOUND)
		return FAST_NOT;
	f = m.flow;
	slot = m.slot;
	gen = m.gen;
	dir = m.dir & 1;
	/* its source is to be judged, it looks like a packet that was translated, or it keeps an endpoint
	 * open: TC knows */
	if ((dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS) || (m.turned & ~m.plain & 1) ||
	    f->flags & FLOW_HAS_ENDPOINT)
		return XDP_PASS;
	if (!fast_leaves(&to, f, gen, dir, v6))
		return FAST_NOT;
	in_memory(to);
	way = way_find(skb, in, &p, &to, p.length, slot, dir, now, FORWARD_PORT_XDP, v6);
	if (!way)
		return XDP_PASS;
	if (p.proto == IPPROTO_TCP) {
		timeout = tcp_track_usual(f, &p.seg, p.tcp_flags, dir, s);
		if (!timeout)
			return FAST_NOT;
	} else {
		which = talk_judge(f, IPPROTO_UDP, CT_TIMEOUT_UDP, dir, now, &gains);
		if (gains & ~f->status) /* worth an event */
			return FAST_NOT;
		timeout = timeout_of(s, which);
	}
	flow_prolong(f, now + timeout);
	counts = counts_of(dir);
	hide(counts);
	counts &= 1;
	f->counts[counts].packets += 1;
	f->counts[counts].bytes += p.length;
	if (!xdp_rewrite(skb, &p, &to, way, v6))
		return XDP_DROP;
	flow_count_class(skb, f, dir, HOOK_INGRESS);
	flow_count_class(skb, f, dir, HOOK_EGRESS);
	metric_count(REASON_FORWARDED, HOOK_INGRESS, skb->len);
	metric_count(REASON_FORWARDED, HOOK_EGRESS, skb->len);
	return bpf_redirect(way->out, 0);
}

#endif
