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

/* Both sides of a packet's translation, as in memory. */
struct xdp_change {
	__be32 saddr;
	__be32 daddr;
	__u32 ports; /* the source's low */
};

/* Writes addresses, ports, checksums and one hop less. False: the packet's memory is not there. */
inline_ bool xdp_rewrite4(struct __sk_buff *skb, const struct fast_packet *p, const struct xdp_change *to,
			  const struct bpf_fib_lookup *fib)
{
	void *data = packet_begin(skb), *end = packet_end(skb);
	__u32 *ip = data + ETH_HLEN, ttl;
	__u64 moved = (__u64)(__u32)~p->saddr[0] + (__u32)~p->daddr[0] + to->saddr + to->daddr;
	__u64 turned = (__u64)(__u32)~p->ports + to->ports;
	__u16 *check;

	if ((void *)(ip + 7) > end)
		return false;
	if (p->proto == IPPROTO_TCP) {
		if ((void *)(ip + 10) > end)
			return false;
		check = (__u16 *)ip + 18;
		*check = checksum_grow(*check, moved + turned);
	} else {
		check = (__u16 *)ip + 13;
		if (*check) { /* UDP: 0 is none and stays none */
			__u16 sum = checksum_grow(*check, moved + turned);

			*check = sum ? sum : 0xffff;
		}
	}
	ttl = ip[2]; /* time to live, protocol, checksum */
	ip[2] = ((ttl & 0xffff) - 1) | (__u32)checksum_grow(ttl >> 16, moved + 0xfffe) << 16;
	ip[3] = to->saddr;
	ip[4] = to->daddr;
	ip[IP4_HEADER_WORDS + WORD_PORTS] = to->ports;
	__builtin_memcpy(data, fib->dmac, 6);
	__builtin_memcpy(data + 6, fib->smac, 6);
	return true;
}

/* Whether the packet is one that XDP sends on, as far as its own words say. */
inline_ bool xdp_fast_may_send(struct __sk_buff *skb, const struct fast_packet *p)
{
	void *data = packet_begin(skb), *end = packet_end(skb);
	const __u32 *ip = data + ETH_HLEN;
	bool tcp = p->proto == IPPROTO_TCP;
	__u16 check;

	if ((void *)(ip + 7) > end || (ip[2] & 0xff) <= 1) /* its time is up: the stack tells the sender */
		return false;
	check = ip[6] >> 16;
	if (tcp) {
		if ((void *)(ip + 10) > end)
			return false;
		check = ip[9];
	}
	return !xdp_checksum_is_partial((__u64)p->saddr[0] + p->daddr[0],
					bpf_htons(p->proto) + bpf_htons((__u16)(p->length - 20)), check, tcp);
}

/* What a lookup of the packet's way is to know; `to`: where it goes, translated. */
inline_ void xdp_fast_fib(struct bpf_fib_lookup *fib, const struct fast_packet *p, __be32 to, __be16 port)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = FIB_AF_INET;
	fib->l4_protocol = p->proto;
	fib->sport = p->ports;
	fib->dport = port;
	fib->tot_len = p->length;
	fib->tos = p->tos;
	fib->ipv4_src = p->saddr[0];
	fib->ipv4_dst = to;
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
inline_ int xdp_fast_new4(struct __sk_buff *skb, const struct forward_port *in, const struct fast_packet *p,
			  const struct settings *s, __u32 now)
{
	struct bpf_fib_lookup fib;

	if (!settings_are_plain(s) || s->rule_count)
		return FAST_NOT;
	xdp_fast_fib(&fib, p, p->daddr[0], p->ports >> 16);
	if (!route_find(skb, in, &fib, p->saddr[0], p->daddr[0], now, FORWARD_PORT_XDP, false) ||
	    !xdp_walk_on(skb) || !xdp_take_way(skb, &fib, p->proto == IPPROTO_TCP ? p->tcp_flags : 0))
		return XDP_PASS;
	hop_begin(skb, ETH_HLEN, 0, false);
	hop_go(skb, CALL_BIRTH, false);
	return XDP_PASS;
}

inline_ int xdp_fast4(struct __sk_buff *skb, const struct forward_port *in)
{
	__u32 now = clock_now(), slot, which, timeout;
	struct settings *s = settings_get();
	struct bpf_fib_lookup fib;
	const struct tuple4 *other;
	struct fast_packet p;
	struct xdp_change to;
	union fast_key key;
	struct tuple_ref *ref;
	struct flow *f;
	__u64 high, turned, dir, form;
	__u16 gen, gains;

	if (!s || !fast_parse(skb, ETH_HLEN, &p, false))
		return FAST_NOT;
	if (unlikely(s->flags & SETTING_ZONES)) /* TC knows them */
		return XDP_PASS;
	if (!xdp_fast_may_send(skb, &p))
		return XDP_PASS;
	high = fast_key(&key, &p, 0, false);
	ref = tuple_find(&key.tuple, false);
	if (!ref)
		return xdp_fast_new4(skb, in, &p, s, now);
	slot = ref->slot;
	gen = ref->gen;
	form = ref->form;
	f = bpf_map_lookup_elem(&flows4, &slot);
	if (!f || !flow_is_live(f, gen, now))
		return FAST_NOT;
	turned = (high ^ form) & 1;
	dir = (turned ^ (form >> 1 & 1) ^ 1) & 1;
	/* its source is to be judged, it looks like a packet that was translated, or it keeps an endpoint
	 * open: TC knows */
	if ((dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS) || (turned & ~(form >> 1 & form >> 2)) ||
	    f->flags & FLOW_HAS_ENDPOINT)
		return XDP_PASS;
	other = ((struct flow4 *)f)->tuple;
	which = dir ^ 1;
	hide(which);
	which &= 1;
	other += which;
	to.saddr = other->daddr;
	to.daddr = other->saddr;
	to.ports = other->dport | (__u32)other->sport << 16;
	barrier_compiler();
	if (read_once(f->gen) != gen) /* the copy may be half another flow's (slot.h) */
		return FAST_NOT;
	xdp_fast_fib(&fib, &p, to.daddr, to.ports >> 16);
	if (!route_find(skb, in, &fib, p.saddr[0], p.daddr[0], now, FORWARD_PORT_XDP, false))
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
	hide(dir);
	dir &= 1;
	f->packets[dir] += 1;
	f->bytes[dir] += p.length;
	if (!xdp_rewrite4(skb, &p, &to, &fib))
		return XDP_DROP;
	flow_count_class(skb, f, dir, HOOK_INGRESS);
	flow_count_class(skb, f, dir, HOOK_EGRESS);
	metric_count(REASON_FORWARDED, HOOK_INGRESS, skb->len);
	metric_count(REASON_FORWARDED, HOOK_EGRESS, skb->len);
	return bpf_redirect(fib.ifindex, 0);
}

#endif
