/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow that was born at ingress (a port forward, or one that was not expected to leave by an attached
 * interface) meets an outgoing interface that translates its source. It gets a successor: a slot with the
 * outside port that CREATE, CLAIM and SEARCH have found for the packet between the hooks. Here the successor
 * takes over what the flow has been so far, and its keys. Done by whoever holds the flow's kill half; a
 * packet that comes meanwhile finds the one or the other.
 */
#ifndef CTNAT_JUDGE_H
#define CTNAT_JUDGE_H

#include "claim.h"

/* Gives the slot and its outside port back; the packet looks again. */
inline_ int judge_lost(struct __sk_buff *skb, struct flow *f, const struct tuple6 *reply, const bool v6)
{
	union tuple_key key;

	tuple_key(&key, reply, f->proto, flow_key_flags(f), flow_zone(f, CT_DIR_REPLY), v6);
	tuple_release(&key, v6);
	slot_abandon(f);
	if (hop_retry(skb, SLOT_PASSES + PORT_PASSES))
		hop_go(skb, CALL_EGRESS, v6);
	return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_RACE);
}

/* What the flow has been so far. */
inline_ void flow_inherit(struct flow *to, __u32 slot, const struct flow *from, __u32 from_slot,
			  const bool v6)
{
	const struct flow_extra *old = extra_at(from_slot, v6);
	struct flow_extra *extra = extra_at(slot, v6);

	if (old && extra)
		extra->mark = old->mark;
	to->deadline = from->deadline;
	to->created = from->created;
	to->state = from->state;
	__builtin_memcpy(to->counts, from->counts, sizeof(to->counts));
	to->tcp = from->tcp;
}

/*
 * The keys that the old flow of a translated packet leaves behind. Its reply's stood for the packet between
 * the hooks, reversed, unless the source port that the packet has was another flow's: then the reply has a
 * port of its own, and the packet a key of the middle.
 */
inline_ void judge_release(const struct flow *old, __u32 slot, const struct packet *p, const bool v6)
{
	union tuple_key key;
	struct tuple6 reply;

	if (old->flags & FLOW_MIDDLE_KEY) {
		tuple_key(&key, &p->tuple, p->proto, kind_key_flags(p->kind) | KEY_MIDDLE,
			  slot & KEY_MIDDLE_SLOT_MASK, v6);
		tuple_release(&key, v6);
	}
	flow_tuple(old, CT_DIR_REPLY, &reply, v6);
	tuple_key(&key, &reply, p->proto, kind_key_flags(p->kind), flow_zone(old, CT_DIR_REPLY), v6);
	tuple_release(&key, v6);
	port_freed(&reply, p->proto, flow_zone(old, CT_DIR_REPLY), v6);
}

inline_ int judge_flow(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, tag = skb->tc_index, held_slot;
	struct flow *f = flow_at(slot, v6), *old;
	enum reason reason = REASON_FORWARDED;
	struct settings *s = settings_get();
	struct tuple6 reply, original;
	struct tuple_ref *held, copy, ref = {};
	__u16 held_gen;
	union tuple_key key;
	bool high, translated, source;
	struct packet p;
	int verdict;

	if (!f || !s)
		return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_INTERNAL);
	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	if (!hook_parse(skb, HOOK_EGRESS, &p, hop_l2(skb), flow_zone(f, CT_DIR_ORIGINAL), now, s, &verdict,
			v6))
		return judge_lost(skb, f, &reply, v6);
	packet_key(&key, &p, tag, false, zones_read(skb, HOOK_EGRESS, s), v6);
	held = tuple_find(&key, &copy, v6);
	if (!held)
		return judge_lost(skb, f, &reply, v6);
	held_slot = held->slot;
	held_gen = held->gen;
	old = flow_at(held_slot, v6);
	if (!old || old == f || !flow_try_kill(old))
		return judge_lost(skb, f, &reply, v6);
	if (!flow_is_live(old, held_gen, now) || !(old->flags & FLOW_AT_INGRESS)) {
		flow_unkill(old);
		return judge_lost(skb, f, &reply, v6);
	}
	nat_retries_count(hop_tries(skb), false);
	flow_tuple(old, CT_DIR_ORIGINAL, &original, v6);
	flow_set_tuple(f, CT_DIR_ORIGINAL, &original, v6);
	flow_inherit(f, slot, old, held_slot, v6);
	translated = old->nat != NAT_NONE;
	blur(translated, s->zero);
	translated &= 1;
	f->flags = (f->flags | (old->flags & ~FLOW_MIDDLE_KEY)) & ~FLOW_AT_INGRESS;
	ref.slot = slot;
	ref.gen = f->gen;
	/* else it is here because it leaves into another zone */
	source = !address_equal(p.tuple.saddr, reply.daddr, v6) || p.tuple.sport != reply.dport;
	blur(source, s->zero);
	source &= 1;
	write_once(f->status, old->status | (source ? CT_SRC_NAT : 0));
	barrier_compiler();
	port_taken(&reply, p.proto, flow_zone(f, CT_DIR_REPLY), v6);
	if (translated) {
		f->nat = (f->nat & ~NAT_TYPE_MASK) | (old->nat & NAT_TYPE_MASK);
		f->rule = old->rule;
		if (source) {
			high = tuple_key(&key, &p.tuple, p.proto, kind_key_flags(p.kind) | KEY_MIDDLE,
					 slot & KEY_MIDDLE_SLOT_MASK, v6);
			ref.form = FORM_MIDDLE | (high ? FORM_SOURCE_HIGH : 0);
			f->flags |= FLOW_MIDDLE_KEY;
			tuple_claim(&key, &ref, v6);
		}
		judge_release(old, held_slot, &p, v6);
	}
	high = tuple_key(&key, &original, p.proto, kind_key_flags(p.kind), flow_zone(f, CT_DIR_ORIGINAL), v6);
	ref.form = FORM_ORIGINAL | (high ? FORM_SOURCE_HIGH : 0);
	tuple_replace(&key, &ref, v6);
	/* the keys are the successor's: nothing but the slot is left to tear down */
	slot_abandon(old);
	if (unlikely(f->nat & ~NAT_TYPE_MASK))
		subscriber_take(f, slot, v6);
	slot_publish(f);
	flow_count_class(skb, f, CT_DIR_ORIGINAL, HOOK_EGRESS);
	if (translate(skb, &p, f, ref.gen, CT_DIR_ORIGINAL, HOOK_EGRESS, v6))
		tag_packet(skb, f, slot, CT_DIR_ORIGINAL, HOOK_EGRESS, hop_flags(skb) & HOP_UPPER);
	else
		reason = REASON_DROP_REWRITE;
	blur(reason, s->zero);
	if (unlikely(packet_owes_sum(&p))) {
		hop_sum(skb, p.ack, s->events[EVENT_UPDATE] ? HOP_TELL : 0, EVENT_UPDATE, slot, ref.gen,
			reason, HOOK_EGRESS, v6);
		return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_INTERNAL);
	}
	if (unlikely(s->events[EVENT_UPDATE]))
		hop_event(skb, EVENT_UPDATE, slot, ref.gen, reason, HOOK_EGRESS, v6);
	return verdict_end(skb, HOOK_EGRESS, reason);
}

#endif
