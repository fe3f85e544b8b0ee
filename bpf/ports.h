/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The search for an outside port. A port is free when nobody holds the reply tuple that it would make, so
 * the same port serves any number of flows whose other sides differ. Every port of the range is looked at
 * before a flow is refused:
 *
 *  1. ports at random places, by a random stride that is prime to the range's size: it comes by every port
 *     once, and does not walk along the runs of used ports that a stride of 1 grows. UDP keeps its parity
 *     here (RFC 4787 REQ-4).
 *  2. the whole range in order, pass by pass, from where the last search for this other side ended
 *     (port_hints). Where a packet's tail calls do not reach round the range, its next try goes on there.
 *
 * What is in use by a flow past its deadline is free. When nothing is, a TCP connection that both sides have
 * closed gives way to a SYN that its server will believe (RFC 9293 section 3.6.1; nf_nat_may_kill()).
 * Nothing else that lives is ever taken (RFC 6888 REQ-11).
 */
#ifndef CTNAT_PORTS_H
#define CTNAT_PORTS_H

#include "conntrack.h"
#include "plan.h"

enum search {
	SEARCH_FOUND,
	SEARCH_AGAIN, /* this pass is used up */
	SEARCH_REAP,  /* a port's flow is over: once it is gone, the next pass finds its port (port_hints) */
	SEARCH_REAP_CLOSING, /* the same of a closed TCP connection */
	SEARCH_EXHAUSTED,    /* the whole range is in use */
	SEARCH_FAILED,	     /* the map refused */
};

/*
 * How long a large range that was walked through in vain is not walked again, unless a port of it becomes
 * free: 0.27 s. A flow that expires meanwhile is not seen.
 */
enum { PORTS_FULL_TICKS = 16, PORTS_LARGE = 1024 };

/* How long a walk that a packet left unfinished counts: 10 s. */
enum { PORTS_WALK_TICKS = 600 };

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
	return prime == size ? 1 : prime % size;
}

/* What a search is about: it stays the same from pass to pass. */
struct port_search {
	struct tuple6
		*reply; /* in: with the port that is asked for first; out: with the one that was found */
	__u32 port_min; /* host order, inclusive */
	__u32 port_max;
	__u32 keep_first; /* 1: the port that is asked for lies in the range */
	__u32 end;	  /* of the sequence space of the SYN that needs the port */
	__u8 proto;
	__u8 key_flags;
	__u16 zone; /* of the reply tuple */
};

/* One pass: the port is base + scale * offset. The masks are all ones or 0. */
struct port_walk {
	union tuple_key key; /* of the reply tuple, all but the ports */
	__u32 base;
	__u32 scale;
	__u32 size;
	__u32 offset;
	__u32 stride;
	__u32 service;	    /* the other side's port */
	__u32 service_mask; /* 0: an identifier serves as both */
	__u32 above;	    /* mask: the other side's address is the higher one */
	__u32 equal;	    /* mask */
	__u32 tcp;	    /* 1 */
	__u32 now;
	__u32 end;
	__u32 free;    /* 1 + port that nobody holds */
	__u32 dead;    /* 1 + port that a flow past its deadline holds */
	__u32 closing; /* 1 + port that a closed TCP connection holds */
};

/*
 * Puts a port into the key; returns whether the reply tuple's source is endpoint 1.
 * verifier: without a branch, as everything that a pass does for each port.
 */
inline_ __u32 port_walk_set(struct port_walk *w, __be16 port, const bool v6)
{
	__u32 other = (w->service & w->service_mask) | (port & ~w->service_mask);
	__u32 high = (w->above | (w->equal & -(((__u32)port - other) >> 31))), swap;
	__be16 *ports = v6 ? w->key.v6.port : w->key.v4.port;

	hide(high);
	swap = (port ^ other) & high;

	ports[0] = other ^ swap;
	ports[1] = port ^ swap;
	return high & 1;
}

inline_ __u32 port_walk_next(struct port_walk *w)
{
	__u32 port = w->base + w->scale * w->offset, over, below;

	w->offset += w->stride;
	over = w->offset - w->size;
	below = -(over >> 31);
	hide(below); /* of masks that it knows, the compiler makes branches */
	w->offset = over + (w->size & below);
	return port;
}

/* Whether a flow gives its port to a SYN whose sequence space ends at `end`: 1 or 0. */
inline_ __u32 flow_is_closing(const struct flow *f, __u32 end)
{
	__u32 states = (1 << CT_TCP_TIME_WAIT | 1 << CT_TCP_CLOSE) >> (f->state & 15);
	__u32 status = f->status;

	return states & (status / CT_SRC_NAT) & ~(status / CT_FIXED_TIMEOUT) &
	       ((f->tcp.original.end - end) >> 31) & 1;
}

/* Looks at one port: who holds it, if anybody does. */
inline_ void port_look(struct port_walk *w, __u32 port, const bool v6)
{
	struct tuple_ref *held, copy;
	const struct flow *f;
	__u32 slot, dead, closing;

	port_walk_set(w, bpf_htons(port), v6);
	held = tuple_find(&w->key, &copy, v6);
	if (!held) {
		w->free = port + 1;
		return;
	}
	slot = held->slot;
	f = flow_at(slot, v6);
	if (!f)
		return;
	dead = (read_once(f->deadline) - w->now) >> 31;
	/* an endpoint with flows is in use whatever its deadline says */
	dead = -(dead & slot_is_idle(f) & ((__u32)(f->gen ^ held->gen) - 1) >> 31);
	closing = -(w->tcp & flow_is_closing(f, w->end));
	hide(dead);
	hide(closing);
	w->dead ^= (w->dead ^ (port + 1)) & dead;
	w->closing ^= (w->closing ^ (port + 1)) & closing;
}

/* The slot whose flow holds a port, SLOT_NONE when it has just become free. */
inline_ __u32 port_holder(struct port_walk *w, __u32 port, const bool v6)
{
	struct tuple_ref *held, copy;

	port_walk_set(w, bpf_htons(port), v6);
	held = tuple_find(&w->key, &copy, v6);
	return held ? held->slot : SLOT_NONE;
}

inline_ void port_walk_begin(struct port_walk *w, const struct port_search *search, __u32 now, __u32 zero,
			     const bool v6)
{
	struct tuple6 *reply = search->reply;

	/* an endpoint has no other side, and its port 0 is nobody's identifier */
	w->service_mask = -(__u32)(proto_has_ports(search->proto) | (search->key_flags / KEY_ENDPOINT & 1));
	w->above = -(__u32)address_above(reply->saddr, reply->daddr, 0, 0, v6);
	w->equal = -(__u32)address_equal(reply->saddr, reply->daddr, v6);
	w->tcp = search->proto == IPPROTO_TCP;
	blur(w->service_mask, zero);
	blur(w->above, zero);
	blur(w->equal, zero);
	blur(w->tcp, zero);
	w->service = reply->sport;
	w->now = now;
	w->end = search->end;
	w->free = zero;
	w->dead = zero;
	w->closing = zero;
	w->base = search->port_min;
	w->scale = 1;
	w->size = search->port_max - search->port_min + 1;
	tuple_key(&w->key, reply, search->proto, search->key_flags, search->zone, v6);
}

/* Random start, random stride, and of UDP's ports those that are as odd or even as the one asked for. */
inline_ void port_walk_scatter(struct port_walk *w, const struct port_search *search, __u32 zero)
{
	__u32 seed = bpf_get_prandom_u32(), wanted = bpf_ntohs(search->reply->dport), base;

	base = search->port_min + ((search->port_min ^ wanted) & 1);
	if (search->proto == IPPROTO_UDP && base <= search->port_max) {
		w->base = base;
		w->scale = 2;
		w->size = (search->port_max - base) / 2 + 1;
	}
	blur(w->size, zero);
	w->stride = port_stride(seed, w->size);
	w->offset = (seed >> 3) % w->size;
}

inline_ __u32 port_hint_tag(__u32 side, __u32 port_min, __u32 port_max)
{
	return side ^ (port_min | port_max << 16);
}

/* Whether a large range was walked through in vain just now. */
inline_ bool port_hint_is_full(const struct port_hint *hint, __u32 side, __u32 port_min, __u32 port_max,
			       __u32 now)
{
	__u32 size = port_max - port_min + 1;

	return hint->tag == port_hint_tag(side, port_min, port_max) && hint->walked >= size &&
	       size > PORTS_LARGE && now - hint->tick < PORTS_FULL_TICKS;
}

/* Where the walk in order goes on; makes the hint this search's own. */
inline_ void port_walk_resume(struct port_walk *w, struct port_hint *hint, const struct port_search *search)
{
	__u32 freed = (__u32)hint->freed - search->port_min;

	w->stride = 1;
	w->offset = hint->offset;
	if (hint->freed && freed < w->size)
		w->offset = freed;
	hint->freed = 0; /* also another range's: kept, it would have this search go on for ever */
	if (w->offset >= w->size)
		w->offset = 0;
}

/*
 * One pass of a search; *tries: ports looked at in those before. Found: the reply tuple is claimed for
 * `ref`, the port is in it. *victim: the slot that REAP is for.
 */
inline_ enum search port_search_pass(const struct port_search *search, struct tuple_ref *ref, __u32 *tries,
				     __u32 *victim, __u32 now, __u32 zero, const __u32 step, const bool v6)
{
	__u32 hash = port_hint_hash(search->reply, search->proto, search->zone, v6), tag, which, port = 0,
	      ordered, looked, walked = 1;
	struct tuple6 *reply = search->reply;
	struct port_hint *hint;
	struct port_walk w;
	int err;

	which = hash % PORT_HINTS_MAX;
	hint = bpf_map_lookup_elem(&port_hints, &which);
	if (!hint)
		return SEARCH_FAILED;
	tag = port_hint_tag(hash, search->port_min, search->port_max);
	port_walk_begin(&w, search, now, zero, v6);
	if (hint->tag != tag) {
		hint->tag = tag;
		hint->walked = 0;
		hint->closing = 0;
		hint->freed = 0;
		hint->offset = bpf_get_prandom_u32() % w.size;
	} else if (port_hint_is_full(hint, hash, search->port_min, search->port_max, now)) {
		return SEARCH_EXHAUSTED;
	} else if (hint->walked >= w.size) {
		hint->walked = 0;
	} else if (now - hint->tick > PORTS_WALK_TICKS) {
		hint->walked = 0;
	}
	looked = *tries;
	ordered = looked != 0;
	if (ordered) {
		port_walk_resume(&w, hint, search);
	} else {
		port_walk_scatter(&w, search, zero);
		if (search->keep_first) {
			port = bpf_ntohs(reply->dport);
			port_look(&w, port, v6);
			if (w.free)
				goto claim;
			if (w.dead) { /* the flow had it before, or one like it: it shall have it again */
				walked = 0;
				goto take_dead;
			}
		}
	}
	blur(port, zero);
	blur(w.base, zero);
	blur(w.scale, zero);
	blur(w.size, zero);
	blur(w.offset, zero);
	blur(w.stride, zero);
	blur(w.free, zero);
	blur(w.dead, zero);
	blur(w.closing, zero);
	blur(ordered, zero);
	blur(looked, zero);
	UNROLL_LONG
	for (__u32 i = 0; i < step; i += PORT_LOOK_STEP) {
		UNROLL
		for (int j = 0; j < PORT_LOOK_STEP; j++)
			port_look(&w, port_walk_next(&w), v6);
		looked += PORT_LOOK_STEP;
		if (w.free) {
			port = w.free - 1;
			goto claim;
		}
	}
	if (ordered) {
		hint->offset = w.offset;
		hint->walked += step;
		hint->tick = now;
		if (w.closing)
			hint->closing = w.closing;
	}
take_dead:
	*tries = looked | walked; /* 0: what is asked for is looked at again */
	if (w.dead) {
		*victim = port_holder(&w, w.dead - 1, v6);
		return *victim == SLOT_NONE ? SEARCH_AGAIN : SEARCH_REAP;
	}
	if (!ordered || hint->walked < w.size || hint->freed)
		return SEARCH_AGAIN;
	if (!w.tcp || !hint->closing)
		return SEARCH_EXHAUSTED;
	*victim = port_holder(&w, hint->closing - 1, v6);
	hint->closing = 0;
	return *victim == SLOT_NONE ? SEARCH_AGAIN : SEARCH_REAP_CLOSING;
claim:
	blur(port, zero);
	blur(looked, zero);
	*tries = looked;
	ref->form = FORM_REPLY | (port_walk_set(&w, bpf_htons(port), v6) ? FORM_SOURCE_HIGH : 0);
	err = tuple_claim(&w.key, ref, v6);
	if (err)
		return err == -EEXIST ? SEARCH_AGAIN : SEARCH_FAILED;
	reply->dport = bpf_htons(port);
	if (!w.service_mask)
		reply->sport = reply->dport;
	hint->walked = 0;
	return SEARCH_FOUND;
}

#endif
