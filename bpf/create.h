/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Brings a flow into being: a slot, an outside port, the keys, in an order that leaves no half behind.
 *
 *  1. claim a slot (slot.h) and fill it; nobody finds it yet
 *  2. claim the reply tuple, the outside port with it: one atomic insert (invariant 4)
 *  3. claim the original tuple: of two CPUs with the first packets of one flow one loses here, gives
 *     everything back and joins the winner
 *  4. publish
 */
#ifndef CTNAT_CREATE_H
#define CTNAT_CREATE_H

#include "hook.h"
#include "ports.h"

/* Passes of a search before it gives up: with what comes before and behind them they stay below 32 tail
 * calls. */
enum { PORT_PASSES = 20, RACE_RETRIES = 6 };

/* Fills a claimed slot, all but the reply tuple. */
inline_ void flow_fill(struct flow *f, __u32 slot, const struct packet *p, __u32 ifindex, __u32 now,
		       __u8 flags, __u32 zones, const bool v6)
{
	f->created = now;
	f->deadline = now + TICK_GRACE; /* until the protocol has spoken */
	f->proto = p->proto;
	f->state = 0;
	f->nat = NAT_NONE;
	f->flags = flags | zones_flags(zones);
	f->zone = zones_id(zones);
	f->rule = 0;
	__builtin_memset(f->counts, 0, sizeof(f->counts));
	extra_fill(slot, ifindex, 0, v6);
	flow_set_tuple(f, CT_DIR_ORIGINAL, &p->tuple, v6);
}

/* Gives everything back and ends the packet. */
inline_ int create_fail(struct __sk_buff *skb, struct flow *f, const enum hook_dir at, enum reason reason)
{
	slot_abandon(f);
	return verdict_drop(skb, at, reason);
}

/* Whether the flow is to be translated, by what NEW left in the packet, or is between two zones: two keys. */
inline_ bool flow_has_plan(const struct __sk_buff *skb, const struct flow *f)
{
	return hop_rule(skb) || (hop_flags(skb) & (HOP_LOCAL | HOP_MASQUERADE)) || skb->cb[2] ||
	       (f->flags & FLOW_ZONE_MASK);
}

inline_ enum call call_endpoint(const enum hook_dir at)
{
	return at == HOOK_INGRESS ? CALL_ENDPOINT_INGRESS : CALL_ENDPOINT_EGRESS;
}

/*
 * Whether the flow comes in by an endpoint-independent mapping, or leaves by an interface that has some. What
 * is judged, or is the host's own, has a port of its own.
 */
inline_ bool endpoint_is_asked_for(const struct __sk_buff *skb, const struct settings *s, __u32 ifindex,
				   const enum hook_dir at)
{
	struct iface *iface;

	if (at == HOOK_INGRESS)
		return skb->cb[2];
	if (!(s->flags & SETTING_EIM) || hop_flags(skb) & (HOP_LOCAL | HOP_JUDGE))
		return false;
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	return iface && iface->flags & IFACE_EIM;
}

/*
 * The packet is its flow's first; the flow is complete. Where somebody listens, its event goes before its
 * publication, and so before that of its end.
 */
inline_ int create_finish(struct __sk_buff *skb, struct flow *f, struct packet *p, __u32 slot, __u16 gen,
			  const struct settings *s, const enum hook_dir at, const bool v6)
{
	enum reason reason = REASON_FORWARDED;

	counter_add(COUNTER_CREATED, 1);
	flow_count(f, CT_DIR_ORIGINAL, p->length);
#ifdef CTNAT_XDP
	flow_count_class(skb, f, CT_DIR_ORIGINAL, HOOK_INGRESS);
#endif
	flow_count_class(skb, f, CT_DIR_ORIGINAL, at);
	if (translate(skb, p, f, gen, CT_DIR_ORIGINAL, at, v6))
		tag_packet(skb, f, slot, CT_DIR_ORIGINAL, at, hop_flags(skb) & HOP_UPPER);
	else
		reason = REASON_DROP_REWRITE;
	blur(reason, s->zero);
#ifndef CTNAT_XDP
	if (unlikely(s->flags & SETTING_TRACK))
		hop_track_new(skb, p->ack, packet_owes_sum(p) ? HOP_OWES_SUM : 0, slot, gen, reason, at, v6);
#endif
	if (unlikely(packet_owes_sum(p))) {
		if (!s->events[EVENT_NEW])
			slot_publish(f);
		hop_sum(skb, p->ack, s->events[EVENT_NEW] ? HOP_TELL : 0, EVENT_NEW, slot, gen, reason, at,
			v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	if (unlikely(s->events[EVENT_NEW]))
		hop_event(skb, EVENT_NEW, slot, gen, reason, at, v6);
	slot_publish(f);
	return verdict_end(skb, at, reason);
}

/* Another CPU was first with the same flow: this packet is its second. */
inline_ int create_join(struct __sk_buff *skb, struct flow *f, const enum hook_dir at, const bool v6)
{
	slot_abandon(f);
	counter_add(COUNTER_CLASH_JOINED, 1);
	if (hop_retry(skb, SLOT_PASSES + PORT_PASSES))
		hop_go(skb, call_again(at, hop_flags(skb) & HOP_LOCAL), v6);
	return verdict_drop(skb, at, REASON_DROP_RACE);
}

/* Steps 3 and 4 of a flow that is not translated: one key stands for both directions. */
inline_ int create_plain(struct __sk_buff *skb, struct flow *f, struct packet *p, __u32 slot,
			 const struct settings *s, const enum hook_dir at, const bool v6)
{
	struct tuple_ref ref = {};
	union tuple_key key;
	struct tuple6 reply;
	bool high;

	ref.slot = slot;
	ref.gen = f->gen;
	high = tuple_key(&key, &p->tuple, p->proto, kind_key_flags(p->kind), f->zone, v6);
	ref.form = FORM_ORIGINAL | FORM_REPLY | (high ? FORM_SOURCE_HIGH : 0);
	tuple_reverse(&reply, &p->tuple, v6);
	flow_set_tuple(f, CT_DIR_REPLY, &reply, v6);
	write_once(f->status, CT_CONFIRMED);
	barrier_compiler();
	switch (tuple_claim(&key, &ref, v6)) {
	case 0:
		return create_finish(skb, f, p, slot, ref.gen, s, at, v6);
	case -EEXIST:
		return create_join(skb, f, at, v6);
	default:
		return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	}
}

/* Step 1, and for an untranslated flow all of it. The slot may have been another flow's until REAP ended it.
 */
inline_ int create_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3], passes, saving, victim, ifindex = skb->ifindex, zones = 0;
	struct settings *s = settings_get();
	struct packet p;
	struct flow *f;
	__u8 flags = (at == HOOK_INGRESS ? FLOW_AT_INGRESS : 0) |
		     (hop_flags(skb) & HOP_LOCAL ? FLOW_LOCAL_KEY : 0);
	int verdict;

	if (s)
		zones = zones_read(skb, at, s);
	if (!s || !hook_parse(skb, at, &p, hop_l2(skb), zones_in(zones), now, s, &verdict, v6)) {
		verdict = s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
		goto unused;
	}
	passes = (skb->cb[0] >> 8) & 0xff;
	if (slot--) {
		/* NEW or REAP has claimed it */
		skb->cb[3] = 0;
	} else {
		slot = slot_search(now, s, passes, &saving, &victim, v6);
		if (slot == SLOT_NONE) {
			const enum call create =
				at == HOOK_INGRESS ? CALL_CREATE_INGRESS : CALL_CREATE_EGRESS;

			if (victim != SLOT_NONE && hop_retry(skb, SLOT_PASSES + 1)) {
				hop_may_evict(skb, saving);
				hop_reap(skb, victim, create, v6);
			} else if (hop_retry(skb, SLOT_PASSES)) {
				hop_go(skb, create, v6);
			}
			return verdict_drop(skb, at, REASON_DROP_TABLE_FULL);
		}
	}
	f = flow_at(slot, v6);
	if (!f)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	flow_fill(f, slot, &p, ifindex, now, flags, zones, v6);
	if (!flow_begin(skb, f, &p, now, s))
		return create_fail(skb, f, at, REASON_DROP_INVALID);
	if (flow_has_plan(skb, f)) {
		skb->cb[3] = slot + 1;
		if (at == HOOK_EGRESS && unlikely(s->flags & SETTING_LIMITS))
			hop_go(skb, CALL_LIMIT, v6);
		hop_go(skb,
		       endpoint_is_asked_for(skb, s, ifindex, at) ? call_endpoint(at)
		       : at == HOOK_INGRESS			  ? CALL_CLAIM_INGRESS
								  : CALL_CLAIM_EGRESS,
		       v6);
		return create_fail(skb, f, at, hop_failed(skb));
	}
	return create_plain(skb, f, &p, slot, s, at, v6);
unused:
	slot_give_back(slot, v6);
	return verdict;
}

#endif
