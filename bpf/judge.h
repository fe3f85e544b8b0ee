/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow that was born at ingress (a port forward, or one that was not expected to leave by an attached
 * interface) meets an outgoing interface that translates its source: it gets an outside port now, and its
 * keys change their meaning. Done by whoever holds its kill half; a packet that comes meanwhile looks again.
 */
#ifndef CTNAT_JUDGE_H
#define CTNAT_JUDGE_H

#include "new.h"

inline_ int judge_flow(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), l2 = hop_l2(skb), hop = hop_flags(skb), slot, ifindex = skb->ifindex,
	      tag = skb->tc_index, victim = SLOT_NONE;
	const enum hook_dir at = HOOK_EGRESS;
	struct settings *s = settings_get();
	struct tuple6 original, old_reply;
	union tuple_key key, own;
	struct tuple_ref *held, ref = {};
	struct packet p;
	struct plan plan;
	struct flow *f;
	enum search found;
	bool plain = false, high, translated;
	enum reason reason;
	int verdict;

	if (!s || !hook_parse(skb, at, &p, l2, now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	packet_key(&own, &p, tag, false, v6);
	held = tuple_find(&own, v6);
	f = held ? flow_at(held->slot, v6) : NULL;
	if (!f)
		goto again;
	slot = held->slot;
	ref.slot = slot;
	ref.gen = held->gen;
	reason = plan_make(&plan, skb, &p, ifindex, at, v6);
	if (reason)
		return verdict_drop(skb, at, reason);
	if (!flow_try_kill(f))
		goto again;
	if (!flow_is_live(f, ref.gen, now) || !(f->flags & FLOW_AT_INGRESS)) {
		flow_unkill(f);
		goto again;
	}
	/* p is the packet between the hooks: its reply tuple is the flow's old one, before the source is
	 * translated */
	found = port_search(skb, &plan, &p, &ref, now, s->zero, true, &plain, &victim, v6);
	if (found == SEARCH_AGAIN || found == SEARCH_REAP) {
		flow_unkill(f);
		if (hop_retry(skb, SLOT_PASSES + PORT_PASSES)) {
			if (found == SEARCH_REAP)
				hop_reap(skb, victim, CALL_JUDGE_EGRESS, v6);
			else
				hop_go(skb, CALL_JUDGE_EGRESS, v6);
		}
		found = SEARCH_EXHAUSTED;
		nat_retries_count(0, true);
		return verdict_drop(skb, at, REASON_DROP_NO_PORT);
	}
	if (found != SEARCH_FOUND) {
		flow_unkill(f);
		nat_retries_count(0, true);
		return verdict_drop(skb, at,
				    found == SEARCH_FAILED ? REASON_DROP_TUPLE_MAP : REASON_DROP_NO_PORT);
	}
	nat_retries_count(hop_tries(skb), false);
	translated = f->nat != NAT_NONE;
	flow_tuple(f, CT_DIR_ORIGINAL, &original, v6);
	flow_tuple(f, CT_DIR_REPLY, &old_reply, v6);
	flow_set_tuple(f, CT_DIR_REPLY, &plan.reply, v6);
	f->ifindex = ifindex;
	if (!translated) {
		/* the one key stood for both directions; the reply's is another one now */
		f->nat = plan.type;
		f->rule = plan.rule;
		high = tuple_key(&key, &original, p.proto, kind_key_flags(p.kind), 0, v6);
		ref.form = FORM_ORIGINAL | (high ? FORM_SOURCE_HIGH : 0);
		tuple_replace(&key, &ref, v6);
	} else {
		/* the old reply's key becomes that of the packet between the hooks */
		high = tuple_key(&key, &p.tuple, p.proto, kind_key_flags(p.kind) | KEY_MIDDLE,
				 slot & KEY_MIDDLE_SLOT_MASK, v6);
		ref.form = FORM_MIDDLE | (high ? FORM_SOURCE_HIGH : 0);
		f->flags |= FLOW_MIDDLE_KEY;
		tuple_claim(&key, &ref, v6);
		tuple_key(&key, &old_reply, p.proto, kind_key_flags(p.kind), 0, v6);
		tuple_release(&key, v6);
	}
	flow_set_status(f, CT_SRC_NAT);
	f->flags &= ~FLOW_AT_INGRESS;
	flow_unkill(f);
	skb->cb[0] |= HOP_CHANGED << 16;
	if (translated) /* the packet passed ingress before the flow had a key of this kind */
		skb->tc_index = tag | TAG_MIDDLE;
again:
	if (hop_retry(skb, SLOT_PASSES + PORT_PASSES))
		hop_go(skb, call_again(at, hop & HOP_LOCAL), v6);
	return verdict_drop(skb, at, REASON_DROP_RACE);
}

#endif
