/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Limits of a subscriber (RFC 6888 REQ-4 and REQ-5): how many ports it has, and how fast it begins flows. A
 * port is that of a translated flow, or of an endpoint-independent mapping, whose flows share it. LIMIT
 * stands behind CREATE while an interface has limits; it looks, and COMMIT and ENDPOINT_OPEN count
 * (subscriber.h). Where a mapping may be there already LIMIT leaves the ports to whoever knows
 * (endpoint_flow.h). CPUs that look in the same instant may each let one more through: a subscriber has at
 * most as many too many as there are CPUs but one. A bucket whose tokens two CPUs take at once may lose one
 * of the two withdrawals. A live flow is never taken.
 */
#ifndef CTNAT_LIMIT_H
#define CTNAT_LIMIT_H

#include "create.h"
#include "subscriber.h"

enum { LIMIT_TOKEN = 1 << LIMIT_TOKEN_SHIFT };

/* What the bucket holds by now. */
inline_ __u32 limit_tokens(const struct subscriber *s, const struct iface *iface, __u32 now)
{
	__u32 elapsed = now - s->tick;
	__u64 tokens, most = (__u64)iface->limit_burst << LIMIT_TOKEN_SHIFT;

	if (elapsed > -(__u32)TICK_GRACE) /* another CPU's tick was a later one */
		elapsed = 0;
	tokens = (__u64)elapsed * iface->limit_rate + s->tokens;
	return tokens > most ? most : tokens;
}

/* Whether the subscriber has as many ports as it may have behind the interface. */
inline_ bool limit_is_full(const struct subscriber *s, const struct iface *iface)
{
	return iface->limit_ports && (__s32)(read_once(s->flows) - iface->limit_ports) >= 0;
}

/* The same of the subscriber that the flow in a slot is to be counted for. */
inline_ bool limit_is_reached(const struct flow *f, __u32 slot, const bool v6)
{
	__u32 ifindex;
	struct iface *iface;
	struct subscriber *s;

	if (!(f->nat & ~NAT_TYPE_MASK))
		return false;
	ifindex = flow_ifindex(slot, v6);
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	s = subscriber_of(f, slot, v6);
	return iface && s && limit_is_full(s, iface);
}

/* Whether the subscriber may begin a flow now; 0 or the reason against it. */
inline_ enum reason limit_rate(struct subscriber *s, const struct iface *iface, __u32 now)
{
	__u32 tokens;

	if (iface->limit_rate) {
		tokens = limit_tokens(s, iface, now);
		if (tokens < LIMIT_TOKEN)
			return REASON_DROP_LIMIT_RATE;
		s->tokens = tokens - LIMIT_TOKEN;
	}
	s->tick = now;
	return 0;
}

/* NULL: there is no room for one more subscriber. */
inline_ struct subscriber *limit_subscriber(const struct subscriber_key *key, const struct iface *iface,
					    __u32 now)
{
	struct subscriber *s = bpf_map_lookup_elem(&subscribers, key), first = {};

	if (s)
		return s;
	first.tokens = (__u32)iface->limit_burst << LIMIT_TOKEN_SHIFT;
	first.tick = now;
	bpf_map_update_elem(&subscribers, key, &first, BPF_NOEXIST);
	return bpf_map_lookup_elem(&subscribers, key);
}

/* The subscriber of the flow in the packet's slot is refused it, and its host is told so. */
inline_ int limit_refuse(struct __sk_buff *skb, struct flow *f, enum reason reason, enum hook_dir at,
			 const bool v6)
{
#ifdef CTNAT_XDP
	(void)reason;
	(void)at;
	(void)v6;
	slot_abandon(f);
	skb->cb[3] = 0;
	return VERDICT_PASS; /* TC comes to the same end */
#else
	struct subscriber *subscriber = subscriber_of(f, skb->cb[3] - 1, v6);
	const struct settings *s = settings_get();

	if (subscriber && reason == REASON_DROP_LIMIT_PORTS) {
		__sync_fetch_and_add(&subscriber->refused_ports, 1);
		barrier_compiler(); /* 4.19: one addition to a pointer of two would be by an unknown offset */
	} else if (subscriber) {
		__sync_fetch_and_add(&subscriber->refused_rate, 1);
	}
	slot_abandon(f);
	skb->cb[3] = 0;
	metric_count(reason, at, skb->len);
	if (s && unlikely(s->events[EVENT_DROP])) {
		skb->cb[1] = reason | at << 8;
		hop_go(skb, CALL_DROP, v6);
	}
	hop_go(skb, CALL_REFUSE, v6);
	return VERDICT_DROP;
#endif
}

/*
 * The flow's slot is in skb->cb. At ingress it is a hairpin flow, whose source is a subscriber of the
 * interface that the mapping it comes in by belongs to: flow.ifindex says which.
 */
inline_ int limit_flow(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, ifindex, prefix, tries = hop_tries(skb);
	enum hook_dir at = hop_flags(skb) & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS;
	const struct settings *settings = settings_get();
	struct flow *f = flow_at(slot, v6);
	struct subscriber_key key;
	struct subscriber *s;
	struct iface *iface;
	enum reason reason;
	enum call next = CALL_ENDPOINT_INGRESS;

	if (!f || !settings)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	ifindex = flow_ifindex(slot, v6);
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	prefix = iface ? iface->limit_prefix : 0;
	if (at == HOOK_EGRESS) {
		next = endpoint_is_asked_for(skb, settings, ifindex, HOOK_EGRESS) ? CALL_ENDPOINT_EGRESS
										  : CALL_CLAIM_EGRESS;
		/* only what a rule or masquerade gives another source: not the host's own, nor what just
		 * changes zone */
		if (!(hop_rule(skb) || hop_flags(skb) & HOP_MASQUERADE))
			prefix = 0;
	}
	if (!prefix)
		goto on;
	if (!v6)
		prefix = NAT_LIMIT_ADDRESS;
	subscriber_key(&key, f, ifindex, prefix, v6);
	s = limit_subscriber(&key, iface, now);
	if (!s) {
		counter_add(COUNTER_UNLIMITED, 1);
		goto on;
	}
	f->nat = prefix << NAT_LIMIT_SHIFT;
	reason = next == CALL_CLAIM_EGRESS && limit_is_full(s, iface) ? REASON_DROP_LIMIT_PORTS : 0;
	if (!reason && !(tries & HOP_RATED))
		reason = limit_rate(s, iface, now);
	if (reason)
		return limit_refuse(skb, f, reason, at, v6);
on:
	skb->cb[4] = HOP_RATED | HOP_LIMITED;
	hop_go(skb, next, v6);
	return create_fail(skb, f, at, REASON_DROP_INTERNAL);
}

#endif
