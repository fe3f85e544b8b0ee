/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet that no flow knows: may a flow begin with it, at which hook is it to be born, and which rule
 * speaks for it. Then the flow is created (create.h) and the packet goes on as its first.
 */
#ifndef CTNAT_NEW_H
#define CTNAT_NEW_H

#include "hook.h"
#include "plan.h"

enum { AF_INET_ = 2, AF_INET6_ = 10 };

/*
 * At ingress: whether an egress hook will see the packet, so that the flow is born there, where the outgoing
 * interface is known, and only if the host's firewall lets it that far. Else it is for the host itself, or
 * leaves where ctnat is not attached, and must be born now. RFC: none; the rule is Netfilter's "confirmed
 * when it leaves".
 */
inline_ bool egress_will_see(struct __sk_buff *skb, const struct packet *p, const bool v6)
{
	struct bpf_fib_lookup fib = {};
	__u32 ifindex;
	long rc;

	fib.family = v6 ? AF_INET6_ : AF_INET_;
	fib.l4_protocol = p->proto;
	fib.ifindex = skb->ifindex;
	if (v6) {
		__builtin_memcpy(fib.ipv6_src, p->tuple.saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, p->tuple.daddr, 16);
	} else {
		fib.ipv4_src = p->tuple.saddr[0];
		fib.ipv4_dst = p->tuple.daddr[0];
	}
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	/* before 5.11 the interface is not told when the neighbour is unknown: the hook's own stands there
	 * then */
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    rc != BPF_FIB_LKUP_RET_FRAG_NEEDED && rc != BPF_FIB_LKUP_RET_UNSUPP_LWT)
		return false;
	ifindex = fib.ifindex;
	return bpf_map_lookup_elem(&ifaces, &ifindex);
}

/* Whether a flow may begin with the packet, TCP's in-the-middle rule aside (tcp_begin decides when it is
 * created). */
inline_ bool may_begin(const struct packet *p, const struct settings *s)
{
	if (p->flags & PACKET_FOLLOWER)
		return false;
	if (p->proto == IPPROTO_TCP)
		return tcp_can_begin(p->tcp_flags, s->flags);
	return !(p->flags & PACKET_ICMP_REPLY);
}

inline_ int new_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), l2 = hop_l2(skb), flags = hop_flags(skb), index, ifindex = skb->ifindex;
	bool local = flags & HOP_LOCAL, upper = flags & HOP_UPPER, judge = false;
	struct settings *s = settings_get();
	union tuple_key key;
	struct tuple_ref *ref;
	struct iface *iface;
	struct packet p;
	__u32 tag = 0;
	int verdict;

	if (!s || !hook_parse(skb, at, &p, l2, now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (at == HOOK_EGRESS || upper)
		tag = skb->tc_index;
	packet_key(&key, &p, tag, local, v6);
	ref = tuple_find(&key, v6);
	if (ref) {
		__u32 slot = ref->slot;
		__u16 gen = ref->gen;
		struct flow *f = flow_at(slot, v6);
		bool live = f && flow_is_live(f, gen, now);

		judge = live && at == HOOK_EGRESS && (f->flags & FLOW_AT_INGRESS);
		if (judge && !(f->status & (CT_SEEN_REPLY | CT_SRC_NAT))) {
			/* below: judged like a new one */
		} else if (judge) {
			f->flags &= ~FLOW_AT_INGRESS;
			goto again;
		} else if (live || !f || read_once(f->gen) != gen || !(read_once(f->status) & CT_CONFIRMED)) {
			goto again; /* alive, or in teardown on another CPU */
		} else {
			if (hop_retry(skb, RACE_RETRIES))
				hop_reap(skb, slot, at == HOOK_INGRESS ? CALL_NEW_INGRESS : CALL_NEW_EGRESS,
					 v6);
			return verdict_drop(skb, at, REASON_DROP_RACE);
		}
	}
	if (!judge && !may_begin(&p, s))
		return verdict_unjudged(skb, at, &p, REASON_DROP_INVALID, REASON_PASSED_INVALID, v6);

	index = RULE_NONE;
	if (!local && !(at == HOOK_EGRESS && destination_is_exempt(&p, v6))) {
		index = rule_search(s, &p, ifindex, hop_rule(skb), at, v6);
		if (index == RULE_UNFINISHED) {
			skb->cb[1] = hop_rule(skb) + RULE_SCAN_STEP;
			hop_go(skb, at == HOOK_INGRESS ? CALL_NEW_INGRESS : CALL_NEW_EGRESS, v6);
			return verdict_drop(skb, at, REASON_DROP_INTERNAL);
		}
		if (at == HOOK_EGRESS && index == RULE_NONE) {
			iface = bpf_map_lookup_elem(&ifaces, &ifindex);
			if (iface && (iface->flags & (v6 ? IFACE_MASQUERADE6 : IFACE_MASQUERADE4)) &&
			    !address_equal(p.tuple.saddr, v6 ? iface->addr6 : &iface->addr4, v6))
				flags |= HOP_MASQUERADE;
		}
	}
	if (judge && index == RULE_NONE && !(flags & HOP_MASQUERADE)) {
		ref = tuple_find(&key, v6);
		if (ref) {
			struct flow *f = flow_at(ref->slot, v6);

			if (f && f->gen == ref->gen)
				f->flags &= ~FLOW_AT_INGRESS;
		}
		goto again;
	}
	if (at == HOOK_INGRESS && index == RULE_NONE && egress_will_see(skb, &p, v6))
		return verdict_pass(skb, at, REASON_DEFERRED);
	skb->cb[0] |= flags << 16;
	skb->cb[1] = index == RULE_NONE ? 0 : index + 1;
	hop_go(skb,
	       at == HOOK_INGRESS ? CALL_CREATE_INGRESS
	       : judge		  ? CALL_JUDGE_EGRESS
				  : CALL_CREATE_EGRESS,
	       v6);
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
again:
	if (hop_retry(skb, RACE_RETRIES))
		hop_go(skb, call_again(at, local), v6);
	return verdict_drop(skb, at, REASON_DROP_RACE);
}

/* What the rule or the interface that NEW found asks for. A reason when it can't be had, else 0. */
inline_ enum reason plan_make(struct plan *plan, struct __sk_buff *skb, const struct packet *p, __u32 ifindex,
			      const enum hook_dir at, const bool v6)
{
	__u32 flags = hop_flags(skb), index = hop_rule(skb) - 1;
	struct nat_rule *r = NULL;
	struct iface *iface;

	plan_plain(plan, p, v6);
	if (flags & HOP_LOCAL)
		plan->type = NAT_MASQUERADE; /* keeps its address, takes another port */
	if (hop_rule(skb)) {
		r = bpf_map_lookup_elem(&nat_rules, &index);
		if (!r)
			return REASON_DROP_INTERNAL;
		if (at == HOOK_INGRESS) {
			plan_destination(plan, p, r, v6);
			return 0;
		}
		if (r->kind == NAT_RULE_SNAT) {
			plan_source(plan, p, r, v6);
			return 0;
		}
	} else if (!(flags & HOP_MASQUERADE)) {
		return 0;
	}
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (!iface || !plan_masquerade(plan, p, iface, r, v6))
		return REASON_DROP_NO_ADDRESS;
	return 0;
}

/* Gives everything back and ends the packet. */
inline_ int create_fail(struct __sk_buff *skb, struct flow *f, const enum hook_dir at, enum reason reason)
{
	slot_abandon(f);
	return verdict_drop(skb, at, reason);
}

/* The key of the packet between the hooks: its source as it came, its destination as it leaves. */
inline_ bool middle_key(union tuple_key *key, const struct packet *p, const struct plan *plan, __u32 slot,
			const bool v6)
{
	struct tuple6 t;

	address_copy(t.saddr, p->tuple.saddr, v6);
	address_copy(t.daddr, plan->reply.saddr, v6);
	t.sport = p->tuple.sport;
	t.dport = plan->reply.sport;
	return tuple_key(key, &t, p->proto, kind_key_flags(p->kind) | KEY_MIDDLE, slot & KEY_MIDDLE_SLOT_MASK,
			 v6);
}

/* Whether the flow is to be translated, by what NEW left in the packet. */
inline_ bool hop_translates(const struct __sk_buff *skb)
{
	return hop_rule(skb) || (hop_flags(skb) & (HOP_LOCAL | HOP_MASQUERADE));
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
	if (translate(skb, p, f, gen, CT_DIR_ORIGINAL, at, v6))
		tag_packet(skb, f, slot, at, hop_flags(skb) & HOP_UPPER);
	else
		reason = REASON_DROP_REWRITE;
	blur(reason, s->zero);
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

/* Step 1, and for an untranslated flow all of it. The slot may have been another flow's until REAP ended it.
 */
inline_ int create_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3], passes, saving, victim, ifindex = skb->ifindex;
	struct settings *s = settings_get();
	struct tuple_ref ref = {};
	union tuple_key key;
	struct tuple6 reply;
	struct packet p;
	struct flow *f;
	__u8 flags = (at == HOOK_INGRESS ? FLOW_AT_INGRESS : 0) |
		     (hop_flags(skb) & HOP_LOCAL ? FLOW_LOCAL_KEY : 0);
	bool high;
	int verdict;

	if (!s || !hook_parse(skb, at, &p, hop_l2(skb), now, s, &verdict, v6)) {
		verdict = s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
		goto unused;
	}
	passes = (skb->cb[0] >> 8) & 0xff;
	if (slot--) {
		/* REAP has claimed it */
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
	flow_fill(f, &p, ifindex, now, flags, v6);
	if (!flow_begin(skb, f, &p, now, s))
		return create_fail(skb, f, at, REASON_DROP_INVALID);
	if (hop_translates(skb)) {
		skb->cb[3] = slot + 1;
		hop_go(skb, at == HOOK_INGRESS ? CALL_CLAIM_INGRESS : CALL_CLAIM_EGRESS, v6);
		return create_fail(skb, f, at, REASON_DROP_INTERNAL);
	}
	ref.slot = slot;
	ref.gen = f->gen;
	high = tuple_key(&key, &p.tuple, p.proto, kind_key_flags(p.kind), 0, v6);
	ref.form = FORM_ORIGINAL | FORM_REPLY | (high ? FORM_SOURCE_HIGH : 0);
	tuple_reverse(&reply, &p.tuple, v6);
	flow_set_tuple(f, CT_DIR_REPLY, &reply, v6);
	write_once(f->status, CT_CONFIRMED);
	barrier_compiler();
	switch (tuple_claim(&key, &ref, v6)) {
	case 0:
		return create_finish(skb, f, &p, slot, ref.gen, s, at, v6);
	case -EEXIST:
		return create_join(skb, f, at, v6);
	default:
		return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	}
unused:
	f = slot-- ? flow_at(slot, v6) : NULL;
	if (f)
		slot_abandon(f);
	return verdict;
}

/* Steps 2 to 4 of a translated flow, whose slot is in skb->cb. */
inline_ int claim_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, ifindex = skb->ifindex, victim = SLOT_NONE;
	bool local = hop_flags(skb) & HOP_LOCAL, plain = false, high, source, destination;
	struct tuple_ref ref = {};
	union tuple_key key;
	enum reason reason;
	enum search found;
	struct packet p;
	struct plan plan;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	int verdict;

	if (!f || !s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (!hook_parse(skb, at, &p, hop_l2(skb), now, s, &verdict, v6)) {
		slot_abandon(f);
		return verdict;
	}
	reason = plan_make(&plan, skb, &p, ifindex, at, v6);
	if (reason)
		return create_fail(skb, f, at, reason);
	ref.slot = slot;
	ref.gen = f->gen;
	found = port_search(skb, &plan, &p, &ref, now, s->zero, local, &plain, &victim, v6);
	if (found == SEARCH_AGAIN || found == SEARCH_REAP) {
		const enum call claim = at == HOOK_INGRESS ? CALL_CLAIM_INGRESS : CALL_CLAIM_EGRESS;

		if (hop_retry(skb, SLOT_PASSES + PORT_PASSES)) {
			if (found == SEARCH_REAP)
				hop_reap(skb, victim, claim, v6);
			else
				hop_go(skb, claim, v6);
		}
		found = SEARCH_EXHAUSTED;
	}
	if (found != SEARCH_FOUND) {
		nat_retries_count(0, true);
		return create_fail(skb, f, at,
				   found == SEARCH_FAILED ? REASON_DROP_TUPLE_MAP : REASON_DROP_NO_PORT);
	}
	nat_retries_count(hop_tries(skb), false);
	flow_set_tuple(f, CT_DIR_REPLY, &plan.reply, v6);
	f->rule = plan.rule;
	if (plain) {
		write_once(f->status, CT_CONFIRMED);
		return create_finish(skb, f, &p, slot, ref.gen, s, at, v6);
	}
	f->nat = plan.type;
	source = !address_equal(p.tuple.saddr, plan.reply.daddr, v6) || p.tuple.sport != plan.reply.dport;
	destination = !address_equal(p.tuple.daddr, plan.reply.saddr, v6) ||
		      (proto_has_ports(p.proto) && p.tuple.dport != plan.reply.sport);
	blur(source, s->zero);
	blur(destination, s->zero);
	write_once(f->status, CT_CONFIRMED | (source ? CT_SRC_NAT : 0) | (destination ? CT_DST_NAT : 0));
	barrier_compiler();
	if (source && destination) {
		high = middle_key(&key, &p, &plan, slot, v6);
		ref.form = FORM_MIDDLE | (high ? FORM_SOURCE_HIGH : 0);
		if (tuple_claim(&key, &ref, v6)) {
			tuple_key(&key, &plan.reply, p.proto, kind_key_flags(p.kind), 0, v6);
			tuple_release(&key, v6);
			return create_fail(skb, f, at, REASON_DROP_CLASH);
		}
		f->flags |= FLOW_MIDDLE_KEY;
	}
	high = tuple_key(&key, &p.tuple, p.proto, kind_key_flags(p.kind) | (local ? KEY_LOCAL : 0), 0, v6);
	ref.form = FORM_ORIGINAL | (high ? FORM_SOURCE_HIGH : 0);
	if (!tuple_claim(&key, &ref, v6))
		return create_finish(skb, f, &p, slot, ref.gen, s, at, v6);
	tuple_key(&key, &plan.reply, p.proto, kind_key_flags(p.kind), 0, v6);
	tuple_release(&key, v6);
	if (source && destination) {
		middle_key(&key, &p, &plan, slot, v6);
		tuple_release(&key, v6);
	}
	return create_join(skb, f, at, v6);
}

#endif
