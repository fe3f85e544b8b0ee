/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Ends one flow: the only program that does. A packet that needs the tuple, the outside port or the slot of a
 * flow that is over comes here and goes back to where it was; a sweep comes here with each victim. Whoever
 * holds the kill half judges the flow again: it may have been prolonged, ended, or begun since it was met.
 */
#ifndef CTNAT_REAP_H
#define CTNAT_REAP_H

#include "calls.h"
#include "endpoint_life.h"
#include "event.h"
#include "ports.h"
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

/* Tears the flow down, whose kill half is held. Its event comes before its slot and tuples are free. */
inline_ void reap_end(struct __sk_buff *skb, struct flow *f, __u32 slot, enum event_cause cause,
		      const bool v6)
{
	struct settings *s = settings_get();

	if (s && unlikely(s->events[EVENT_DESTROY])) {
		struct event e;

		event_of_flow(&e, EVENT_DESTROY, f, slot, v6);
		write_once(f->status, 0); /* no packet matches any more */
		if (cause == CAUSE_EXPIRED && e.proto == IPPROTO_TCP &&
		    (e.state == CT_TCP_TIME_WAIT || e.state == CT_TCP_CLOSE))
			cause = CAUSE_CLOSED;
		e.cause = cause;
		event_send(skb, &e, s->events[EVENT_DESTROY], v6);
	}
	flow_teardown(f, slot, v6);
}

inline_ enum event_cause sweep_cause(__u32 mode)
{
	switch (mode) {
	case SWEEP_EXPIRED:
		return CAUSE_EXPIRED;
	case SWEEP_ALL:
		return CAUSE_FLUSHED;
	case SWEEP_ADDRESS:
		return CAUSE_ADDRESS;
	default:
		return CAUSE_DELETED;
	}
}

/* What the sweep's request says of a flow whose kill half is held. False: nothing. */
inline_ bool reap_for_sweep(struct __sk_buff *skb, __u32 slot, const struct flow *f, __u32 now,
			    enum event_cause *cause, const bool endpoints)
{
	struct sweep_request *r = (void *)(long)skb->data;

	if ((void *)(r + 1) > (void *)(long)skb->data_end)
		return false;
	if (endpoints && read_once(f->status) & CT_ENDPOINT) {
		if (!sweep_wants(f, r, slot, now))
			return false;
		r->endpoints += 1;
		return true;
	}
	/* invariant 7: a packet may have come since */
	if (!(read_once(f->status) & CT_CONFIRMED) || !sweep_wants(f, r, slot, now)) {
		r->live += 1;
		return false;
	}
	r->deleted += 1;
	*cause = sweep_cause(r->mode);
	counter_add(r->mode == SWEEP_EXPIRED   ? COUNTER_EXPIRED
		    : r->mode == SWEEP_ADDRESS ? COUNTER_ADDRESS
					       : COUNTER_DELETED,
		    1);
	return true;
}

/* Whether a closed TCP connection gives its outside port to the flow in the packet's slot. */
inline_ bool reap_is_closing(struct __sk_buff *skb, const struct flow *f, const bool v6)
{
	const struct flow *heir = flow_at(skb->cb[3] - 1, v6);

	return heir && f->proto == IPPROTO_TCP && heir->proto == IPPROTO_TCP &&
	       flow_is_closing(f, heir->tcp.original.end);
}

/* Whether a packet may have its way with such a flow. `saving`: of SEARCH, that a reply saves says that a
 * closed one is meant. */
inline_ bool reap_for_packet(struct __sk_buff *skb, const struct flow *f, enum call back, bool for_slot,
			     __u32 saving, __u32 now, enum event_cause *cause, const bool endpoints,
			     const bool v6)
{
	bool evicted;

	if (endpoints && read_once(f->status) & CT_ENDPOINT)
		return for_slot ? flow_gives_way(f, now, saving, 1)
				: reap_is_expired(f, now) && slot_is_idle(f);
	if (!(read_once(f->status) & CT_CONFIRMED) ||
	    !(for_slot ? flow_gives_way(f, now, saving, 1)
		       : reap_is_expired(f, now) || (back == CALL_SEARCH && saving == CT_SEEN_REPLY &&
						     reap_is_closing(skb, f, v6))))
		return false;
	evicted = for_slot && !flow_is_dead(f, now);
	if (evicted)
		slot_search_evicted(v6);
	*cause = evicted ? CAUSE_EVICTED : CAUSE_REPLACED;
	counter_add(evicted ? COUNTER_EVICTED : COUNTER_REPLACED, 1);
	return true;
}

/*
 * The packet finds out by itself whether the flow is gone. `endpoints`: the program for endpoints and for
 * flows that count on one, where REAP sends them.
 */
inline_ int reap_for(struct __sk_buff *skb, const bool endpoints, const bool v6)
{
	__u32 now = clock_now(), slot = hop_reaped_slot(skb), saving = hop_saving_status(skb);
	enum call back = hop_reaped_for(skb);
	bool for_slot = back == CALL_CREATE_INGRESS || back == CALL_CREATE_EGRESS, ends;
	struct flow *f = flow_at(slot, v6);
	enum event_cause cause = CAUSE_EXPIRED;
	struct settings *s;
	__u32 idle;

	if (!endpoints && f && f->flags & (FLOW_HAS_ENDPOINT | FLOW_ENDPOINT))
		hop_go(skb, CALL_ENDPOINT_REAP, v6);
	skb->cb[0] &= ~((HOP_EVICT | HOP_EVICT_REPLIED) << 16);
	if (f && flow_try_kill(f)) {
		/* another one's since: whoever meets it again comes again */
		ends = endpoints || !(f->flags & (FLOW_HAS_ENDPOINT | FLOW_ENDPOINT));
		if (ends)
			ends = back == REAP_FOR_SWEEP ? reap_for_sweep(skb, slot, f, now, &cause, endpoints)
						      : reap_for_packet(skb, f, back, for_slot, saving, now,
									&cause, endpoints, v6);
		if (!ends) {
			flow_unkill(f);
		} else if (endpoints && f->flags & FLOW_ENDPOINT) {
			flow_teardown(f, slot, v6);
			counter_add(COUNTER_ENDPOINTS_CLOSED, 1);
		} else if (endpoints) {
			s = settings_get();
			if (!s) {
				flow_unkill(f);
				return VERDICT_DROP;
			}
			blur(cause, s->zero);
			blur(slot, s->zero);
			blur(back, s->zero);
			blur(now, s->zero);
			idle = endpoint_part(f, slot, now, s, v6);
			reap_end(skb, f, slot, cause, v6);
			if (back == REAP_FOR_SWEEP && idle != SLOT_NONE) /* judged there once more */
				hop_reap(skb, idle, REAP_FOR_SWEEP, v6);
		} else {
			reap_end(skb, f, slot, cause, v6);
		}
		if (ends && for_slot && slot_try_claim(f))
			skb->cb[3] = slot + 1;
	}
	if (back == REAP_FOR_SWEEP)
		return VERDICT_PASS;
	hop_go(skb, back, v6);
	/* no tail call is left to go back by */
	slot_give_back(skb->cb[3], v6);
	return verdict_drop(skb,
			    back == CALL_NEW_INGRESS || back == CALL_CREATE_INGRESS ||
					    (hop_flags(skb) & HOP_AT_INGRESS)
				    ? HOOK_INGRESS
				    : HOOK_EGRESS,
			    REASON_DROP_INTERNAL);
}

inline_ int reap(struct __sk_buff *skb, const bool v6)
{
	return reap_for(skb, false, v6);
}

inline_ int endpoint_reap(struct __sk_buff *skb, const bool v6)
{
	return reap_for(skb, true, v6);
}

#endif
