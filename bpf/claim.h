/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A new translated flow gets its outside port and its keys. CLAIM makes the plan and asks for the port that
 * the flow has already, which is free as a rule. If it is not, the plan goes into the slot, which nobody else
 * looks at yet, and SEARCH walks through the range without looking at the packet. COMMIT sets the other keys.
 * BIRTH does all of it for a flow that needs no search.
 */
#ifndef CTNAT_CLAIM_H
#define CTNAT_CLAIM_H

#include "guess.h"

/* What the rule or the interface that NEW found asks for. A reason when it can't be had, else 0. */
inline_ enum reason plan_make(struct plan *plan, struct __sk_buff *skb, const struct packet *p, __u32 ifindex,
			      const enum hook_dir at, const bool v6)
{
	__u32 flags = hop_flags(skb), index = hop_rule(skb) - 1;
	struct nat_rule *r = NULL;
	struct iface *iface;
	__u16 min = 0, max = 0;
	enum reason reason;

	plan_plain(plan, p, v6);
	/* keeps its address, and takes another port: a local flow, or one between zones whose port is taken
	 */
	plan->type = flags & HOP_LOCAL ? NAT_MASQUERADE : NAT_SNAT;
	if (hop_rule(skb)) {
		r = bpf_map_lookup_elem(&nat_rules, &index);
		if (!r)
			return REASON_DROP_INTERNAL;
	}
	if (r && at == HOOK_INGRESS) {
		bool hairpin = r->ifindex && r->ifindex != ifindex;

		if (r->kind == NAT_RULE_NETMAP_IN) {
			plan_netmap_in(plan, p, r, hairpin, v6);
			min = max = bpf_ntohs(p->tuple.sport);
		} else {
			reason = plan_destination(plan, p, r, v6);
			if (reason)
				return reason;
			if (hairpin) /* the answer has to come back here, and the server sees an outside
					address */
				address_copy(plan->reply.daddr, p->tuple.daddr, v6);
		}
		if (r->kind == NAT_RULE_REDIRECT) {
			plan->type = NAT_REDIRECT;
			iface = bpf_map_lookup_elem(&ifaces, &ifindex);
			if (!iface || !iface_has_address(iface, v6))
				return REASON_DROP_NO_ADDRESS;
			address_copy(plan->reply.saddr, v6 ? iface->addr6 : &iface->addr4, v6);
		}
	} else if (r && r->kind == NAT_RULE_NETMAP_OUT) {
		plan_netmap_out(plan, p, r, v6);
		min = max = bpf_ntohs(p->tuple.sport);
	} else if (r || flags & HOP_MASQUERADE) {
		if (r) {
			plan->rule = r->id;
			min = r->to_port_min;
			max = r->to_port_max;
		}
		if (r && r->kind == NAT_RULE_SNAT) {
			if (!plan_source(plan, skb, p, r, &min, &max, v6))
				return REASON_DROP_INTERNAL;
		} else {
			iface = bpf_map_lookup_elem(&ifaces, &ifindex);
			if (!iface || !plan_masquerade(plan, iface, v6))
				return REASON_DROP_NO_ADDRESS;
			if (!r) {
				if (proto_has_ports(p->proto))
					hop_allow_attempts(skb, iface->port_ranges);
				plan_iface_ports(p, iface, hop_attempt(skb), &min, &max, v6);
			}
		}
	}
	return plan_ports(plan, p, min, max) ? 0 : REASON_DROP_PORT_FIXED;
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

/* What SEARCH needs of the plan, beside the reply tuple, where the replies will be counted. */
inline_ void plan_save(struct flow *f, const struct plan *plan, const bool v6)
{
	flow_set_tuple(f, CT_DIR_REPLY, &plan->reply, v6);
	f->nat = (f->nat & ~NAT_TYPE_MASK) | plan->type;
	f->rule = plan->rule;
	f->counts[counts_of(CT_DIR_ORIGINAL)].bytes =
		plan->port_min | (__u64)plan->port_max << 16 | (__u64)plan->keep_first << 32;
}

/* The same of a guess that was none (guess.h). */
inline_ void plan_save_guess(struct flow *f, __u32 guess)
{
	f->counts[counts_of(CT_DIR_ORIGINAL)].bytes |= (__u64)guess << 40;
}

inline_ __u32 plan_saved_guess(__u64 saved)
{
	return saved >> 40;
}

inline_ void plan_drop(struct flow *f)
{
	f->counts[counts_of(CT_DIR_ORIGINAL)].bytes = 0;
}

/*
 * The port that the flow has already, or that a rule asks for. Here alone the reply may turn out to be just
 * what an untranslated flow's would be (`same`, 1 or 0); then one key stands for both directions: sorted, the
 * ends are the same.
 * verifier: arithmetic. Each choice between two tuples would be a branch for each of their words.
 */
inline_ int claim_first(const struct plan *plan, const struct packet *p, union tuple_key *key,
			struct tuple_ref *ref, __u32 same, __u16 zone, const bool v6)
{
	const struct tuple6 *t = &p->tuple;
	__u32 reply_high = tuple_key(key, &plan->reply, p->proto, kind_key_flags(p->kind), zone, v6);
	__u32 high = address_above(t->saddr, t->daddr, t->sport, t->dport, v6), mask = -same;

	hide(mask);
	high = reply_high ^ ((reply_high ^ high) & mask);
	ref->form = FORM_REPLY | (FORM_ORIGINAL & mask) | high * FORM_SOURCE_HIGH;
	return tuple_claim(key, ref, v6);
}

inline_ bool plan_changes_nothing(const struct plan *plan, const struct packet *p, const bool v6)
{
	const struct tuple6 *reply = &plan->reply;

	return address_equal(reply->saddr, p->tuple.daddr, v6) &&
	       address_equal(reply->daddr, p->tuple.saddr, v6) && reply->sport == p->tuple.dport &&
	       reply->dport == p->tuple.sport;
}

/* The reply tuple is claimed: status, the other keys, and the packet goes on. `same`: there are no others. */
inline_ int commit(struct __sk_buff *skb, struct flow *f, struct packet *p, const struct plan *plan,
		   struct tuple_ref *ref, bool same, const struct settings *s, const enum hook_dir at,
		   const bool v6)
{
	bool local = hop_flags(skb) & HOP_LOCAL, high, source, destination;
	__u32 slot = ref->slot;
	union tuple_key key;
	int err;

	plan_drop(f);
	nat_retries_count(hop_tries(skb), false);
	source = !address_equal(p->tuple.saddr, plan->reply.daddr, v6) || p->tuple.sport != plan->reply.dport;
	destination = !address_equal(p->tuple.daddr, plan->reply.saddr, v6) ||
		      (proto_has_ports(p->proto) && p->tuple.dport != plan->reply.sport);
	blur(source, s->zero);
	blur(destination, s->zero);
	write_once(f->status, CT_CONFIRMED | (source ? CT_SRC_NAT : 0) | (destination ? CT_DST_NAT : 0));
	barrier_compiler();
	if (same)
		goto finish;
	if (source && destination) {
		high = middle_key(&key, p, plan, slot, v6);
		ref->form = FORM_MIDDLE | (high ? FORM_SOURCE_HIGH : 0);
		err = tuple_claim(&key, ref, v6);
		if (err) {
			tuple_key(&key, &plan->reply, p->proto, kind_key_flags(p->kind),
				  flow_zone(f, CT_DIR_REPLY), v6);
			tuple_release(&key, v6);
			return create_fail(skb, f, at,
					   err == -EEXIST ? REASON_DROP_CLASH : REASON_DROP_TUPLE_MAP);
		}
		f->flags |= FLOW_MIDDLE_KEY;
	}
	high = tuple_key(&key, &p->tuple, p->proto, kind_key_flags(p->kind) | (local ? KEY_LOCAL : 0),
			 flow_zone(f, CT_DIR_ORIGINAL), v6);
	ref->form = FORM_ORIGINAL | (high ? FORM_SOURCE_HIGH : 0);
	err = tuple_claim(&key, ref, v6);
	if (err) {
		tuple_key(&key, &plan->reply, p->proto, kind_key_flags(p->kind), flow_zone(f, CT_DIR_REPLY),
			  v6);
		tuple_release(&key, v6);
		if (source && destination) {
			middle_key(&key, p, plan, slot, v6);
			tuple_release(&key, v6);
		}
		return err == -EEXIST ? create_join(skb, f, at, v6)
				      : create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	}
	port_taken(&plan->reply, p->proto, flow_zone(f, CT_DIR_REPLY), v6);
	if (unlikely(f->nat & ~NAT_TYPE_MASK))
		subscriber_take(f, slot, v6);
finish:
	return create_finish(skb, f, p, slot, ref->gen, s, at, v6);
}

/* The flow asks for this port now. `tries`: ports asked for by then, its own aside. */
inline_ void claim_port(struct __sk_buff *skb, struct flow *f, struct plan *plan, __be16 port, __u32 tries,
			const bool v6)
{
	plan->reply.dport = port;
	if (!proto_has_ports(f->proto))
		plan->reply.sport = port;
	flow_set_tuple(f, CT_DIR_REPLY, &plan->reply, v6);
	skb->cb[4] = tries;
}

/* Steps 2 to 4 of a translated flow, whose slot is in skb->cb as well. `born`: of BIRTH, which needs no
 * COMMIT. */
inline_ int claim_packet(struct __sk_buff *skb, struct flow *f, struct packet *p, __u32 slot,
			 struct settings *s, const bool born, const bool guesses, const enum hook_dir at,
			 const bool v6)
{
	bool local = hop_flags(skb) & (HOP_LOCAL | HOP_JUDGE), plain, same;
	struct tuple_ref ref;
	union tuple_key key;
	enum reason reason;
	struct plan plan;
	int err = -EEXIST;
	bool asks;

	if (at == HOOK_EGRESS)
		outside_learn(s, skb->ifindex);
	reason = plan_make(&plan, skb, p, skb->ifindex, at, v6);
	if (reason)
		return create_fail(skb, f, at, reason);
	plan_blur(&plan, s->zero);
	skb->cb[4] = 0;
	if (!proto_has_ports(p->proto))
		plan.reply.sport = plan.reply.dport;
	plan_save(f, &plan, v6);
	asks = plan.keep_first;
#ifdef CTNAT_FETCH
	if (guesses) {
		__u32 port = guess(&plan, p->proto, kind_key_flags(p->kind), flow_zone(f, CT_DIR_REPLY),
				   f->created, s->zero, v6);

		blur(port, s->zero);
		if (port >= GUESS_BARREN) {
			plan_save_guess(f, port);
			asks = false;
		} else if (port) {
			claim_port(skb, f, &plan, bpf_htons(port), 1, v6);
			asks = true;
		}
		asks ^= s->zero & 1;
	}
#endif
	ref = (struct tuple_ref){.slot = slot, .gen = f->gen};
	plain = plan_changes_nothing(&plan, p, v6);
	blur(plain, s->zero);
	plain &= 1;
	same = plain;
	if (at == HOOK_EGRESS) /* between two zones there are two keys, whatever is translated */
		same &= !(f->flags & FLOW_ZONE_MASK);
	/* a flow that comes by its KEY_LOCAL, or is judged, is here because the plain tuple is taken */
	if (asks && !(same && local))
		err = claim_first(&plan, p, &key, &ref, same, flow_zone(f, CT_DIR_REPLY), v6);
	if (err == -EEXIST) {
		if (same && !local) /* another CPU was first with it */
			return create_join(skb, f, at, v6);
		if (guesses)
			claim_port(skb, f, &plan, p->tuple.sport, 0, v6);
		hop_go(skb, CALL_PICK, v6);
		return create_fail(skb, f, at, REASON_DROP_INTERNAL);
	}
	if (err)
		return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	if (plain)
		f->nat = NAT_NONE;
	if (at == HOOK_EGRESS && (hop_flags(skb) & HOP_JUDGE))
		hop_go(skb, CALL_JUDGE_EGRESS, v6);
	else if (born)
		return commit(skb, f, p, &plan, &ref, same, s, at, v6);
	else
		hop_go(skb, at == HOOK_INGRESS ? CALL_COMMIT_INGRESS : CALL_COMMIT_EGRESS, v6);
	tuple_release(&key, v6);
	return create_fail(skb, f, at, REASON_DROP_INTERNAL);
}

inline_ int claim_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct packet p;
	int verdict;

	if (!f || !s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (!hook_parse(skb, at, &p, hop_l2(skb), flow_zone(f, CT_DIR_ORIGINAL), now, s, &verdict, v6)) {
		slot_abandon(f);
		return verdict;
	}
	return claim_packet(skb, f, &p, slot, s, false, false, at, v6);
}

/* The outside port of the flow in the packet's slot is claimed by a program that has not looked at the
 * packet. */
inline_ void hop_go_claimed(struct __sk_buff *skb, const bool v6)
{
	__u32 flags = hop_flags(skb);

	hop_go(skb,
	       flags & HOP_AT_INGRESS ? CALL_COMMIT_INGRESS
	       : flags & HOP_JUDGE    ? CALL_JUDGE_EGRESS
				      : CALL_COMMIT_EGRESS,
	       v6);
}

/* A pass of the search; the packet is not looked at. */
inline_ int search_flow(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, tries = hop_tries(skb), victim = SLOT_NONE, at;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct port_search search = {};
	struct tuple_ref ref = {};
	union tuple_key key;
	struct tuple6 reply;
	enum search found;
	__u64 saved;

	at = hop_flags(skb) & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS;
	if (!f || !s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	saved = f->counts[counts_of(CT_DIR_ORIGINAL)].bytes;
	search.reply = &reply;
	search.port_min = saved & 0xffff;
	search.port_max = saved >> 16 & 0xffff;
	search.keep_first = saved >> 32 & 1;
	search.end = f->tcp.original.end;
	search.proto = f->proto;
	search.key_flags = flow_key_flags(f);
	search.zone = flow_zone(f, CT_DIR_REPLY);
	ref.slot = slot;
	ref.gen = f->gen;
	found = port_search_pass(&search, &ref, &tries, &victim, now, s->zero, PORT_SCAN_STEP, v6);
	skb->cb[4] = tries;
	if (found == SEARCH_FOUND) {
		flow_set_tuple(f, CT_DIR_REPLY, &reply, v6);
		if (f->flags & FLOW_ENDPOINT)
			hop_go(skb, CALL_ENDPOINT_OPEN, v6);
		else
			hop_go_claimed(skb, v6);
		tuple_key(&key, &reply, search.proto, search.key_flags, search.zone, v6);
		tuple_release(&key, v6);
		return create_fail(skb, f, at, REASON_DROP_INTERNAL);
	}
	if ((found == SEARCH_AGAIN || found == SEARCH_REAP || found == SEARCH_REAP_CLOSING)) {
		if (hop_retry(skb, SLOT_PASSES + PORT_PASSES)) {
			if (found == SEARCH_REAP_CLOSING)
				skb->cb[0] |= HOP_EVICT << 16;
			if (found == SEARCH_AGAIN)
				hop_go(skb, CALL_SEARCH, v6);
			else
				hop_reap(skb, victim, CALL_SEARCH, v6);
		}
		return create_fail(skb, f, at, REASON_DROP_PORT_SEARCH);
	}
	if (found == SEARCH_EXHAUSTED && hop_next_attempt(skb)) {
		if (hop_retry(skb, SLOT_PASSES + PORT_PASSES) && hop_retry(skb, SLOT_PASSES + PORT_PASSES))
			hop_go(skb,
			       f->flags & FLOW_ENDPOINT ? CALL_ENDPOINT_EGRESS
			       : at == HOOK_INGRESS	? CALL_CLAIM_INGRESS
							: CALL_CLAIM_EGRESS,
			       v6);
		return create_fail(skb, f, at, REASON_DROP_PORT_SEARCH);
	}
	nat_retries_count(0, true);
	if (found == SEARCH_FAILED)
		return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	/* verifier: read again; kept through the search, the protocol would tell its passes apart */
	if (!proto_port_is_free(read_once(f->proto)))
		return create_fail(skb, f, at, REASON_DROP_PORT_FIXED);
	hop_go(skb, CALL_REFUSE, v6);
	return create_fail(skb, f, at, REASON_DROP_NO_PORT);
}

/* What CLAIM or SEARCH has claimed becomes the flow's. */
inline_ int commit_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct tuple_ref ref = {};
	union tuple_key key;
	struct packet p;
	struct plan plan;
	int verdict;

	if (!f || !s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	flow_tuple(f, CT_DIR_REPLY, &plan.reply, v6);
	ref.slot = slot;
	ref.gen = f->gen;
	if (!hook_parse(skb, at, &p, hop_l2(skb), flow_zone(f, CT_DIR_ORIGINAL), now, s, &verdict, v6)) {
		tuple_key(&key, &plan.reply, f->proto, flow_key_flags(f), flow_zone(f, CT_DIR_REPLY), v6);
		tuple_release(&key, v6);
		slot_abandon(f);
		return verdict;
	}
	return commit(skb, f, &p, &plan, &ref, f->nat == NAT_NONE && !(f->flags & FLOW_ZONE_MASK), s, at, v6);
}

#endif
