/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Flows of endpoint-independent mappings come into being, and endpoints with them.
 *
 *  out: CREATE ──► ENDPOINT_EGRESS ── known ──► ENDPOINT_JOIN ─────────────► ENDPOINT_FINISH
 *                     │ first: the slot becomes the endpoint's                (packet goes on)
 *                     └──► (SEARCH ──►) ENDPOINT_OPEN ──► CREATE: another slot, for the flow
 *  in:  NEW ──► ENDPOINT_FIND ── may come in ──► CREATE ──► ENDPOINT_INGRESS ──► ENDPOINT_FINISH
 *
 * Two CPUs with the first packets of one inside endpoint both make an endpoint, each with a port of its own;
 * the second insert of the inside key fails, its maker gives port and slot back and finds the first one's.
 * Who finds an endpoint before its maker publishes it takes it as it is.
 * A flow's reply tuple is free, since its outside port is the endpoint's alone. What may still hold it is a
 * flow past its deadline, which is ended; the same flow, begun on another CPU, which is helped and joined; or
 * a flow that no endpoint knows (of the host's own, or from before the mapping was asked for): then this one
 * flow gets a port like any other's (CLAIM).
 *
 * Where subscribers are limited, LIMIT has seen to the rate of flows before; that of ports is looked at where
 * a mapping or such a flow begins, and OPEN counts the endpoint, which has the port, instead of its flows.
 */
#ifndef CTNAT_ENDPOINT_FLOW_H
#define CTNAT_ENDPOINT_FLOW_H

#include "claim.h"
#include "endpoint.h"
#include "limit.h"

/* What was found has just changed: looks once more. The slot stays. */
inline_ int endpoint_again(struct __sk_buff *skb, struct flow *f, const enum hook_dir at, const bool v6)
{
	if (hop_retry(skb, SLOT_PASSES + PORT_PASSES))
		hop_go(skb, call_endpoint(at), v6);
	return create_fail(skb, f, at, REASON_DROP_RACE);
}

/*
 * The packet's slot becomes that of an endpoint: of the packet's source, by the plan. Its port is the
 * source's own if nobody has it.
 */
inline_ int endpoint_begin(struct __sk_buff *skb, struct flow *f, const struct packet *p, struct plan *plan,
			   __u32 slot, __u32 ifindex, const enum hook_dir at, const bool v6)
{
	struct tuple_ref ref = {.slot = slot, .gen = f->gen};
	union tuple_key key;
	struct tuple6 t;
	int err = -EEXIST;

	f->flags = FLOW_ENDPOINT;
	flow_set_ifindex(slot, ifindex, v6);
	endpoint_inside(&t, p->tuple.saddr, p->tuple.sport, plan->reply.daddr, v6);
	flow_set_tuple(f, CT_DIR_ORIGINAL, &t, v6);
	address_zero(plan->reply.saddr, v6);
	plan->reply.sport = 0;
	plan_save(f, plan, v6);
	if (plan->keep_first) {
		ref.form = FORM_REPLY | (tuple_key(&key, &plan->reply, p->proto,
						   kind_key_flags(p->kind) | KEY_ENDPOINT, 0, v6)
						 ? FORM_SOURCE_HIGH
						 : 0);
		err = tuple_claim(&key, &ref, v6);
	}
	skb->cb[4] = 0;
	if (err == -EEXIST) {
		hop_go(skb, CALL_SEARCH, v6);
		return create_fail(skb, f, at, REASON_DROP_INTERNAL);
	}
	if (err)
		return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	hop_go(skb, CALL_ENDPOINT_OPEN, v6);
	tuple_release(&key, v6);
	return create_fail(skb, f, at, REASON_DROP_INTERNAL);
}

/* The endpoint in the packet's slot has its outside port. */
inline_ int endpoint_open(struct __sk_buff *skb, const bool v6)
{
	__u32 slot = skb->cb[3] - 1, at = hop_flags(skb) & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS;
	struct flow *f = flow_at(slot, v6);
	struct tuple_ref ref = {};
	union tuple_key key;
	struct tuple6 t;
	__u8 key_flags;
	int err;

	if (!f)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	plan_drop(f);
	key_flags = flow_key_flags(f);
	flow_tuple(f, CT_DIR_ORIGINAL, &t, v6);
	ref.slot = slot;
	ref.gen = f->gen;
	ref.form = FORM_ORIGINAL | (tuple_key(&key, &t, f->proto, key_flags, 0, v6) ? FORM_SOURCE_HIGH : 0);
	write_once(f->status, CT_ENDPOINT);
	/* whose next packets, on other CPUs, need not wait for this one */
	__sync_fetch_and_add(&f->lock, LOCK_OPENING);
	err = tuple_claim(&key, &ref, v6);
	if (err) {
		__sync_fetch_and_add(&f->lock, -LOCK_OPENING);
		flow_tuple(f, CT_DIR_REPLY, &t, v6);
		tuple_key(&key, &t, f->proto, key_flags, 0, v6);
		tuple_release(&key, v6);
		if (err != -EEXIST)
			return create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
		slot_abandon(f); /* another CPU was first */
	} else {
		nat_retries_count(hop_tries(skb), false);
		counter_add(COUNTER_ENDPOINTS_OPENED, 1);
		if (unlikely(f->nat & ~NAT_TYPE_MASK))
			subscriber_take(f, slot, v6);
		__sync_fetch_and_add(&f->lock, -(LOCK_KILL + LOCK_OPENING)); /* published */
	}
	skb->cb[0] &= ~0xff00; /* its search for a slot begins anew, without the port's retries */
	skb->cb[3] = 0;
	skb->cb[4] = HOP_RATED;
	hop_go(skb, at == HOOK_INGRESS ? CALL_CREATE_INGRESS : CALL_CREATE_EGRESS, v6);
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
}

/* The endpoints that a new flow counts on; NULL: that side has none. */
struct endpoints {
	struct flow *source;
	struct flow *destination;
	bool vouches; /* the source's filter asks for addresses */
};

inline_ void endpoints_put(const struct endpoints *ends)
{
	if (ends->source)
		endpoint_put(ends->source);
	if (ends->destination)
		endpoint_put(ends->destination);
}

/*
 * Whether it is the same flow, begun on another CPU, whose last key is this one: who began it may be held up
 * before setting it. What a packet needs of the flow was there before its first key.
 */
inline_ void endpoint_help(const struct packet *p, const struct flow *holder, __u32 slot, __u16 gen,
			   __u32 now, const bool v6)
{
	__u32 flags = holder->flags & FLOW_HAS_ENDPOINT;
	struct tuple_ref ref = {.slot = slot, .gen = gen};
	union tuple_key key;

	/* one with two endpoints has a middle key first */
	if (flags == FLOW_HAS_ENDPOINT || !flags || !flow_is_live(holder, gen, now))
		return;
	ref.form =
		FORM_ORIGINAL |
		(tuple_key(&key, &p->tuple, p->proto, kind_key_flags(p->kind), 0, v6) ? FORM_SOURCE_HIGH : 0);
	if (!tuple_claim(&key, &ref, v6) && !flow_is_live(holder, gen, now)) /* it has ended meanwhile */
		tuple_release(&key, v6);
}

/* The reply tuple is taken. `key`: its key. */
inline_ int endpoint_taken(struct __sk_buff *skb, struct flow *f, const struct packet *p,
			   const union tuple_key *key, __u32 now, const enum hook_dir at, const bool v6)
{
	struct tuple_ref copy, *held = tuple_find(key, &copy, v6);
	struct tuple6 original;
	struct flow *holder;
	__u32 slot;
	__u16 gen;

	if (!held)
		return endpoint_again(skb, f, at, v6);
	slot = held->slot;
	gen = held->gen;
	holder = flow_at(slot, v6);
	if (!holder)
		return create_fail(skb, f, at, REASON_DROP_INTERNAL);
	if (tick_before(read_once(holder->deadline), now) && gen == read_once(holder->gen)) {
		if (hop_retry(skb, SLOT_PASSES + PORT_PASSES))
			hop_reap(skb, slot, call_endpoint(at), v6);
		return create_fail(skb, f, at, REASON_DROP_RACE);
	}
	flow_tuple(holder, CT_DIR_ORIGINAL, &original, v6);
	if (address_equal(original.saddr, p->tuple.saddr, v6) &&
	    address_equal(original.daddr, p->tuple.daddr, v6) && original.sport == p->tuple.sport &&
	    original.dport == p->tuple.dport) {
		endpoint_help(p, holder, slot, gen, now, v6);
		return create_join(skb, f, at, v6);
	}
	if (at == HOOK_INGRESS)
		return create_fail(skb, f, at, REASON_DROP_CLASH);
	if (unlikely(limit_is_reached(f, skb->cb[3] - 1, v6)))
		return limit_refuse(skb, f, REASON_DROP_LIMIT_PORTS, at, v6);
	hop_go(skb, CALL_CLAIM_EGRESS, v6);
	return create_fail(skb, f, at, REASON_DROP_INTERNAL);
}

/*
 * The flow's keys, all or none, in the order of create.h. Its endpoints are counted on already, and are again
 * without it where it fails.
 */
inline_ int endpoint_flow(struct __sk_buff *skb, struct flow *f, const struct packet *p,
			  const struct plan *plan, const struct endpoints *ends, __u32 slot, __u32 now,
			  const enum hook_dir at, const bool v6)
{
	__u32 flags = (ends->source ? FLOW_SOURCE_ENDPOINT : 0) |
		      (ends->destination ? FLOW_DESTINATION_ENDPOINT : 0);
	struct tuple_ref ref = {.slot = slot, .gen = f->gen}, *held, copy;
	__u8 key_flags = kind_key_flags(p->kind), nat = f->nat;
	union tuple_key key, middle;
	bool mine;
	int err;

	/* all that a packet needs, before the first key: endpoint_help() */
	flow_set_tuple(f, CT_DIR_REPLY, &plan->reply, v6);
	f->nat = plan->type;
	f->rule = plan->rule;
	f->flags |= flags;
	write_once(f->status,
		   CT_CONFIRMED | (ends->source ? CT_SRC_NAT : 0) | (ends->destination ? CT_DST_NAT : 0));
	barrier_compiler();
	ref.form = FORM_REPLY |
		   (tuple_key(&key, &plan->reply, p->proto, key_flags, 0, v6) ? FORM_SOURCE_HIGH : 0);
	err = tuple_claim(&key, &ref, v6);
	if (err) {
		write_once(f->status, 0);
		f->nat = nat;
		f->flags &= ~flags;
		endpoints_put(ends);
		return err == -EEXIST ? endpoint_taken(skb, f, p, &key, now, at, v6)
				      : create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
	}
	if (ends->source && ends->destination) {
		ref.form = FORM_MIDDLE | (middle_key(&middle, p, plan, slot, v6) ? FORM_SOURCE_HIGH : 0);
		err = tuple_claim(&middle, &ref, v6);
		if (err)
			goto lost;
		f->flags |= FLOW_MIDDLE_KEY;
	}
	ref.form = FORM_ORIGINAL |
		   (tuple_key(&key, &p->tuple, p->proto, key_flags, 0, v6) ? FORM_SOURCE_HIGH : 0);
	err = tuple_claim(&key, &ref, v6);
	if (err) {
		if (err != -EEXIST)
			write_once(f->status, 0); /* nobody helps any more */
		held = tuple_find(&key, &copy, v6);
		mine = held && held->slot == slot && held->gen == ref.gen;
		if (!mine || err != -EEXIST) {
			if (mine)
				tuple_release(&key, v6);
			if (f->flags & FLOW_MIDDLE_KEY) {
				middle_key(&middle, p, plan, slot, v6);
				tuple_release(&middle, v6);
			}
			goto lost;
		}
	}
	if (ends->source)
		endpoint_prolong(ends->source, ends->source->gen, f->deadline + ENDPOINT_STEP, now);
	if (ends->vouches)
		peer_vouch(plan->reply.daddr, plan->reply.dport, p->tuple.daddr, p->proto, slot, f->gen, v6);
	hop_go(skb, CALL_ENDPOINT_FINISH, v6);
	slot_publish(f); /* no tail call is left: the flow is whole, the packet is lost */
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
lost:
	tuple_key(&key, &plan->reply, p->proto, key_flags, 0, v6);
	tuple_release(&key, v6);
	endpoints_put(ends);
	return err == -EEXIST ? create_join(skb, f, at, v6) : create_fail(skb, f, at, REASON_DROP_TUPLE_MAP);
}

/* The key by which an inside address and port find their endpoint. */
inline_ void inside_key(union tuple_key *key, const struct packet *p, const __be32 *outside, const bool v6)
{
	struct tuple6 t;

	endpoint_inside(&t, p->tuple.saddr, p->tuple.sport, outside, v6);
	tuple_key(key, &t, p->proto, kind_key_flags(p->kind) | KEY_ENDPOINT, 0, v6);
}

/*
 * Counts on the endpoint of the packet's source, whose outside port goes into the plan. NULL: it has none, or
 * one that was just closed (`found`).
 */
inline_ struct flow *endpoint_take_inside(const struct packet *p, struct plan *plan, bool *found,
					  const bool v6)
{
	struct tuple_ref *ref, copy;
	union tuple_key key;
	struct tuple6 t;
	struct flow *e;

	inside_key(&key, p, plan->reply.daddr, v6);
	ref = tuple_find(&key, &copy, v6);
	*found = ref;
	if (!ref)
		return NULL;
	e = flow_at(ref->slot, v6);
	if (!e || !endpoint_take(e, ref->gen, LOCK_OPENING))
		return NULL;
	flow_tuple(e, CT_DIR_REPLY, &t, v6);
	plan->reply.dport = t.dport;
	return e;
}

/* A new flow leaves by an interface with endpoint-independent mappings. */
inline_ int endpoint_egress(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, ifindex = skb->ifindex;
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	struct settings *s = settings_get();
	struct flow *f = flow_at(slot, v6);
	struct tuple_ref copy;
	union tuple_key key;
	enum reason reason;
	struct packet p;
	struct plan plan;
	int verdict;
	bool maps;

	if (!f || !s || !iface)
		return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_INTERNAL);
	if (!hook_parse(skb, HOOK_EGRESS, &p, hop_l2(skb), 0, now, s, &verdict, v6)) {
		slot_abandon(f);
		return verdict;
	}
	/* the slot may have been an endpoint's at another address of a pool, which had no port left */
	flow_set_tuple(f, CT_DIR_ORIGINAL, &p.tuple, v6);
	f->flags = 0;
	f->zone = 0;
	plan_drop(f);
	reason = plan_make(&plan, skb, &p, ifindex, HOOK_EGRESS, v6);
	if (reason)
		return create_fail(skb, f, HOOK_EGRESS, reason);
	plan_blur(&plan, s->zero);
	maps = iface_is_eim(iface, p.proto) && (plan.type == NAT_MASQUERADE || plan.type == NAT_SNAT);
	blur(maps, s->zero);
	maps &= 1;
	inside_key(&key, &p, plan.reply.daddr, v6);
	if (maps && tuple_find(&key, &copy, v6)) {
		plan_save(f, &plan, v6);
		hop_go(skb, CALL_ENDPOINT_JOIN, v6);
	} else if (unlikely(limit_is_reached(f, slot, v6))) {
		return limit_refuse(skb, f, REASON_DROP_LIMIT_PORTS, HOOK_EGRESS, v6);
	} else if (maps) {
		return endpoint_begin(skb, f, &p, &plan, slot, ifindex, HOOK_EGRESS, v6);
	} else {
		hop_go(skb, CALL_CLAIM_EGRESS, v6);
	}
	return create_fail(skb, f, HOOK_EGRESS, hop_failed(skb));
}

/* The new flow's source has an endpoint, at the address that the plan in the slot says. */
inline_ int endpoint_join(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, ifindex = skb->ifindex;
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	struct settings *s = settings_get();
	struct flow *f = flow_at(slot, v6);
	struct endpoints ends = {};
	struct packet p;
	struct plan plan;
	int verdict;
	bool found;

	if (!f || !s || !iface)
		return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_INTERNAL);
	if (!hook_parse(skb, HOOK_EGRESS, &p, hop_l2(skb), 0, now, s, &verdict, v6)) {
		slot_abandon(f);
		return verdict;
	}
	plan_drop(f);
	flow_tuple(f, CT_DIR_REPLY, &plan.reply, v6);
	plan.type = f->nat & NAT_TYPE_MASK;
	plan.rule = f->rule;
	ends.source = endpoint_take_inside(&p, &plan, &found, v6);
	if (!ends.source)
		return endpoint_again(skb, f, HOOK_EGRESS, v6);
	if (!proto_has_ports(p.proto))
		plan.reply.sport = plan.reply.dport;
	ends.vouches = iface_filtering(iface, p.proto) == NAT_FILTERING_ADF;
	blur(plan.reply.sport, s->zero);
	blur(plan.reply.dport, s->zero);
	blur(p.proto, s->zero);
	return endpoint_flow(skb, f, &p, &plan, &ends, slot, now, HOOK_EGRESS, v6);
}

/* The packet has begun a flow of an endpoint, which is complete and not published yet. */
inline_ int endpoint_finish(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 slot = skb->cb[3] - 1;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct tuple6 reply;
	struct packet p;
	int verdict;

	if (!f || !s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	port_taken(&reply, f->proto, 0, v6); /* for flows that have no endpoint, toward the same side */
	if (!hook_parse(skb, at, &p, hop_l2(skb), 0, clock_now(), s, &verdict, v6)) {
		slot_publish(f);
		return verdict;
	}
	return create_finish(skb, f, &p, slot, f->gen, s, at, v6);
}

#endif
