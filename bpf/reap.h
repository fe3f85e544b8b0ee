/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Ends one flow: the only program that does. A packet that needs the tuple, the outside port or the slot of a
 * flow that is over comes here and goes back to where it was; a sweep comes here with each victim. Whoever
 * holds the kill half judges the flow again: it may have been prolonged, ended, or begun since it was met.
 */
#ifndef CTNAT_REAP_H
#define CTNAT_REAP_H

#include "calls.h"
#include "sweep.h"

/*
 * Whether a packet that met the flow under a key may end it. There is no grace here: the flow is judged by
 * the packet's own clock, and whoever else might still be prolonging it holds a packet of the same tuple,
 * which then belongs to the new flow just as well.
 */
inline_ bool reap_is_expired(const struct flow *f, __u32 now)
{
	return tick_before(read_once(f->deadline), now);
}

inline_ int reap_for_sweep(struct __sk_buff *skb, __u32 slot, struct flow *f, __u32 now, const bool v6)
{
	struct sweep_request *r = (void *)(long)skb->data;

	if ((void *)(r + 1) > (void *)(long)skb->data_end || !flow_try_kill(f))
		return VERDICT_PASS;
	/* invariant 7: a packet may have come since */
	if (!(read_once(f->status) & CT_CONFIRMED) || !sweep_wants(f, r, slot, now, v6)) {
		r->live += 1;
		flow_unkill(f);
		return VERDICT_PASS;
	}
	r->deleted += 1;
	counter_add(r->mode == SWEEP_EXPIRED ? COUNTER_EXPIRED : COUNTER_DELETED, 1);
	flow_teardown(f, slot, v6);
	return VERDICT_PASS;
}

/* For a packet; it finds out by itself whether the flow is gone. */
inline_ void reap_for_packet(struct __sk_buff *skb, __u32 slot, struct flow *f, __u32 now, const bool v6)
{
	enum call back = hop_reaped_for(skb);
	bool for_slot = back == CALL_CREATE_INGRESS || back == CALL_CREATE_EGRESS;
	__u32 evict = hop_flags(skb) / HOP_EVICT & 1;
	bool evicted;

	skb->cb[0] &= ~(HOP_EVICT << 16);
	if (!flow_try_kill(f))
		return;
	if (!(read_once(f->status) & CT_CONFIRMED) ||
	    !(for_slot ? flow_gives_way(f, now, evict) : reap_is_expired(f, now))) {
		flow_unkill(f);
		return;
	}
	evicted = for_slot && !flow_is_dead(f, now);
	if (evicted)
		slot_search_evicted(v6);
	counter_add(evicted ? COUNTER_EVICTED : COUNTER_REPLACED, 1);
	flow_teardown(f, slot, v6);
	if (for_slot && slot_try_claim(f))
		skb->cb[3] = slot + 1;
}

inline_ int reap(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = hop_reaped_slot(skb);
	enum call back = hop_reaped_for(skb);
	struct flow *f = flow_at(slot, v6);

	if (back == REAP_FOR_SWEEP)
		return f ? reap_for_sweep(skb, slot, f, now, v6) : VERDICT_PASS;
	if (f)
		reap_for_packet(skb, slot, f, now, v6);
	hop_go(skb, back, v6);
	/* no tail call is left to go back by */
	if (skb->cb[3]) {
		slot = skb->cb[3] - 1;
		f = flow_at(slot, v6);
		if (f)
			slot_abandon(f);
	}
	return verdict_drop(skb,
			    back == CALL_NEW_INGRESS || back == CALL_CREATE_INGRESS ||
					    back == CALL_CLAIM_INGRESS
				    ? HOOK_INGRESS
				    : HOOK_EGRESS,
			    REASON_DROP_INTERNAL);
}

#endif
