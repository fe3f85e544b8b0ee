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

#include "conntrack.h"
#include "plan.h"
#include "translate.h"

enum { EEXIST = 17 };

/* Passes of a search before it gives up; with SLOT_PASSES and RACE_RETRIES they stay below 32 tail calls. */
enum { PORT_PASSES = 12, RACE_RETRIES = 6 };

enum search {
	SEARCH_FOUND,
	SEARCH_AGAIN,	  /* this pass is used up */
	SEARCH_REAP,	  /* a port's flow is over: once it is gone, the pass can be done again */
	SEARCH_EXHAUSTED, /* the whole range is in use */
	SEARCH_FAILED,	  /* the map refused */
};

/* Primes above 2^15, so that at most one multiple of each is a port range's size. */
inline_ __u32 port_stride(__u32 seed, __u32 size)
{
	__u32 prime;

	switch (seed & 7) {
	case 0:
		prime = 33013;
		break;
	case 1:
		prime = 36007;
		break;
	case 2:
		prime = 40009;
		break;
	case 3:
		prime = 44017;
		break;
	case 4:
		prime = 48017;
		break;
	case 5:
		prime = 52009;
		break;
	case 6:
		prime = 57037;
		break;
	default:
		prime = 62003;
		break;
	}
	return prime == size ? 1 : prime;
}

/* A search for an outside port: what stays the same from try to try. */
struct port_walk {
	union tuple_key key; /* of the reply tuple, all but the ports */
	__u32 size;
	__u32 stride;
	__u32 offset;	/* of the next port in the range */
	__be16 service; /* the other side's port */
	__u32 above;	/* 1: the other side's address is the higher one */
	__u32 equal;
	__u32 ports; /* 0: an identifier serves as both */
};

/* Puts a port into the key; returns whether the reply tuple's source is endpoint 1. */
inline_ bool port_walk_set(struct port_walk *w, __be16 port, const bool v6)
{
	__be16 service = w->ports ? w->service : port;
	bool high = w->above | (w->equal & (service > port));
	__be16 *slots = v6 ? w->key.v6.port : w->key.v4.port;

	slots[0] = high ? port : service;
	slots[1] = high ? service : port;
	return high;
}

inline_ __be16 port_walk_next(struct port_walk *w, const struct plan *plan)
{
	__be16 port = bpf_htons(plan->port_min + w->offset);

	w->offset += w->stride;
	if (w->offset >= w->size)
		w->offset -= w->size;
	return port;
}

/* The slot of a flow past its deadline; SLOT_NONE: the flow is alive, or going already. */
inline_ __u32 flow_if_expired(const struct tuple_ref *held, __u32 now, const bool v6)
{
	__u32 slot = held->slot;
	const struct flow *f = flow_at(slot, v6);

	return f && f->gen == held->gen && tick_before(read_once(f->deadline), now) ? slot : SLOT_NONE;
}

/*
 * The first choice: the port that the flow has already, or a rule asks for. Here alone the reply may turn
 * out to be just what an untranslated flow's would be; then one key stands for both directions. `local`: that
 * one is taken, which is why the flow is here.
 */
inline_ int port_claim_first(struct port_walk *w, const struct plan *plan, const struct packet *p,
			     struct tuple_ref *ref, bool local, bool *plain, const bool v6)
{
	const struct tuple6 *reply = &plan->reply;
	bool same = address_equal(reply->saddr, p->tuple.daddr, v6) &&
		    address_equal(reply->daddr, p->tuple.saddr, v6) && reply->sport == p->tuple.dport &&
		    reply->dport == p->tuple.sport;
	bool high = port_walk_set(w, reply->dport, v6);

	if (same && local)
		return -EEXIST;
	*plain = same;
	if (same) { /* named by the original tuple, which is the reply reversed */
		high = !high && !(w->equal && reply->sport == reply->dport);
		ref->form = FORM_ORIGINAL | FORM_REPLY | (high ? FORM_SOURCE_HIGH : 0);
	} else {
		ref->form = FORM_REPLY | (high ? FORM_SOURCE_HIGH : 0);
	}
	return tuple_claim(&w->key, ref, v6);
}

/* Looks for a key of this pass whose flow is over. SEARCH_FOUND: one has just become free. */
inline_ enum search port_find_expired(struct port_walk *w, const struct plan *plan, __u32 now, __u32 *victim,
				      const bool v6)
{
	struct tuple_ref *held;
	__u32 slot;

	UNROLL_LONG
	for (int i = 0; i < PORT_SCAN_STEP; i++) {
		port_walk_set(w, port_walk_next(w, plan), v6);
		held = tuple_find(&w->key, v6);
		if (!held)
			return SEARCH_FOUND;
		slot = flow_if_expired(held, now, v6);
		if (slot != SLOT_NONE) {
			*victim = slot;
			return SEARCH_REAP;
		}
	}
	return SEARCH_AGAIN;
}

/*
 * Finds an outside port and claims the reply tuple. First the port that was asked for, then the range from
 * a random start by a random stride that is prime to its size: it comes by every port once, and does not
 * walk along the runs of used ports that a stride of 1 grows. Ports of flows past their deadline are free:
 * SEARCH_REAP names the flow that is to be ended for that.
 */
inline_ enum search port_search(struct __sk_buff *skb, struct plan *plan, const struct packet *p,
				struct tuple_ref *ref, __u32 now, __u32 zero, bool local, bool *plain,
				__u32 *victim, const bool v6)
{
	__u32 seed = skb->cb[2], tries = hop_tries(skb), begin;
	struct tuple6 *reply = &plan->reply;
	bool first_is_dead = false;
	enum search expired;
	struct port_walk w;
	int err;

	*plain = false;
	w.size = (__u32)plan->port_max - plan->port_min + 1;
	w.ports = proto_has_ports(p->proto);
	w.service = reply->sport;
	w.above = address_above(reply->saddr, reply->daddr, v6);
	w.equal = address_equal(reply->saddr, reply->daddr, v6);
	blur(w.above, zero);
	blur(w.equal, zero);
	blur(w.ports, zero);
	if (!w.ports)
		reply->sport = reply->dport;
	tuple_key(&w.key, reply, p->proto, kind_key_flags(p->kind), 0, v6);
	if (!seed) {
		seed = bpf_get_prandom_u32() | 1;
		skb->cb[2] = seed;
		if (plan->keep_first) {
			struct tuple_ref *held;

			err = port_claim_first(&w, plan, p, ref, local, plain, v6);
			if (!err)
				return SEARCH_FOUND;
			if (err != -EEXIST)
				return SEARCH_FAILED;
			*plain = false;
			held = tuple_find(&w.key, v6);
			first_is_dead = held && flow_if_expired(held, now, v6) != SLOT_NONE;
		}
	}
	w.stride = port_stride(seed >> 1, w.size) % w.size;
	begin = ((seed >> 4) + tries * w.stride) % w.size;
	if (first_is_dead) {
		/* below its flow is torn down, and the next pass asks for the port again */
		begin = (__u32)bpf_ntohs(reply->dport) - plan->port_min;
		skb->cb[2] = 0;
		goto reclaim;
	}
	w.offset = begin;
	UNROLL_LONG
	for (int i = 0; i < PORT_SCAN_STEP; i++) {
		__be16 port = port_walk_next(&w, plan);

		ref->form = FORM_REPLY | (port_walk_set(&w, port, v6) ? FORM_SOURCE_HIGH : 0);
		err = tuple_claim(&w.key, ref, v6);
		if (!err) {
			reply->dport = port;
			if (!w.ports)
				reply->sport = port;
			skb->cb[4] = tries + i + 1;
			return SEARCH_FOUND;
		}
	}
	if (err != -EEXIST)
		return SEARCH_FAILED;
reclaim:
	w.offset = begin;
	expired = port_find_expired(&w, plan, now, victim, v6);
	if (expired == SEARCH_AGAIN && !first_is_dead)
		tries += PORT_SCAN_STEP;
	skb->cb[4] = tries;
	if (expired == SEARCH_REAP)
		return SEARCH_REAP;
	return tries >= w.size ? SEARCH_EXHAUSTED : SEARCH_AGAIN;
}

/* Fills a claimed slot, all but the reply tuple. */
inline_ void flow_fill(struct flow *f, const struct packet *p, __u32 ifindex, __u32 now, __u8 flags,
		       const bool v6)
{
	f->created = now;
	f->deadline = now + TICK_GRACE; /* until the protocol has spoken */
	f->proto = p->proto;
	f->state = 0;
	f->nat = NAT_NONE;
	f->flags = flags;
	f->zone = 0;
	f->rule = 0;
	f->packets[0] = 0;
	f->packets[1] = 0;
	f->bytes[0] = 0;
	f->bytes[1] = 0;
	f->ifindex = ifindex;
	f->mark = 0;
	f->path[0] = 0;
	f->path[1] = 0;
	flow_set_tuple(f, CT_DIR_ORIGINAL, &p->tuple, v6);
}

#endif
