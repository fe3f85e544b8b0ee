/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The flow table: an array of slots, found by their keys (tuple.h). This file hands slots out, tears flows
 * down and says when a reference is good.
 *
 * Ownership where there is no compare-and-swap (4.19 has only an atomic add that returns nothing): a counter
 * that is added to and then read. Of all that have added and not yet taken back, at most one can read 1: had
 * A read 1 and then B, A's addition would still be in the sum that B read. Two that come together may both
 * read 2 and both take their addition back: nobody gets it, which every caller here can bear. Additions and
 * the read are to the same word, so coherence alone orders them, on any CPU.
 *
 * A slot in use keeps claim = 1. It is torn down only by whoever holds its kill half:
 *   status = 0 (no packet matches any more), keys deleted, gen + 1, claim released, kill released.
 * Others that meet a key of a flow in teardown never delete it themselves: they would take the key from
 * whoever claims the tuple next. They look again (conntrack.h).
 *
 * A reader may hold a reference while the slot gets a new owner. It copies what it needs and then looks at
 * the generation once more; what it writes afterwards (deadline, counters, TCP state) can in the worst
 * case touch a flow born in this instant: a count too many, a deadline that the next packet sets again.
 */
#ifndef CTNAT_SLOT_H
#define CTNAT_SLOT_H

#include "clock.h"
#include "metrics.h"
#include "port_map.h"
#include "subscriber.h"
#include "tuple.h"
#include "zone.h"

inline_ struct flow *flow_at(__u32 slot, const bool v6)
{
	return v6 ? bpf_map_lookup_elem(&flows6, &slot) : bpf_map_lookup_elem(&flows4, &slot);
}

/* Half a slot is one cache line (struct flow), and a packet that goes with its flow needs but the second. */
_Static_assert(sizeof(struct flow4) == 128 &&
		       offsetof(struct flow, counts) + sizeof(struct flow_count) == sizeof(struct flow4) / 2,
	       "an IPv4 slot is two cache lines");

/* Which of a flow's counts are a direction's: the replies' are in the first line, the original's in the
 * second. */
inline_ __u32 counts_of(enum ct_dir dir)
{
	return dir ^ CT_DIR_REPLY;
}

inline_ void flow_tuple(const struct flow *f, enum ct_dir dir, struct tuple6 *to, const bool v6)
{
	if (v6) {
		const struct tuple6 *t =
			dir ? &((const struct flow6 *)f)->tuple[1] : &((const struct flow6 *)f)->tuple[0];

		*to = *t;
	} else {
		const struct tuple4 *t =
			dir ? &((const struct flow4 *)f)->tuple[1] : &((const struct flow4 *)f)->tuple[0];

		to->saddr[0] = t->saddr;
		to->daddr[0] = t->daddr;
		to->sport = t->sport;
		to->dport = t->dport;
	}
}

inline_ void flow_set_tuple(struct flow *f, const enum ct_dir dir, const struct tuple6 *from, const bool v6)
{
	if (v6) {
		((struct flow6 *)f)->tuple[dir] = *from;
	} else {
		struct tuple4 *t = &((struct flow4 *)f)->tuple[dir];

		t->saddr = from->saddr[0];
		t->daddr = from->daddr[0];
		t->sport = from->sport;
		t->dport = from->dport;
	}
}

inline_ bool flow_is_live(const struct flow *f, __u16 gen, __u32 now)
{
	return read_once(f->gen) == gen && (read_once(f->status) & CT_CONFIRMED) &&
	       !tick_before(read_once(f->deadline), now);
}

/*
 * Claims a free slot, with both halves: until the flow is complete nobody may tear it down, or a key that
 * is inserted after the teardown would lead nowhere for ever.
 */
inline_ bool slot_try_claim(struct flow *f)
{
#ifdef CTNAT_FETCH
	/*
	 * Two CPUs with the first packets of one flow come to the same home. Who is too late must leave no
	 * kill there, not even for a moment: held up in it, he would keep the other, whose slot has become an
	 * endpoint's, from counting on it (endpoint_take) until his packet has no tail calls left.
	 */
	return !__sync_val_compare_and_swap(&f->lock, 0, LOCK_CLAIM + LOCK_KILL);
#else
	__sync_fetch_and_add(&f->lock, LOCK_CLAIM + LOCK_KILL);
	if (read_once(f->lock) == LOCK_CLAIM + LOCK_KILL)
		return true;
	__sync_fetch_and_add(&f->lock, -(LOCK_CLAIM + LOCK_KILL));
	return false;
#endif
}

/* The flow is complete: from now on it lives and dies like any other. */
inline_ void slot_publish(struct flow *f)
{
	__sync_fetch_and_add(&f->lock, -LOCK_KILL);
}

/* Gives back a claimed slot whose flow was not to be; its keys are released already. */
inline_ void slot_abandon(struct flow *f)
{
	write_once(f->status, 0);
	f->gen += 1;
	barrier_compiler();
	__sync_fetch_and_add(&f->lock, -(LOCK_CLAIM + LOCK_KILL));
}

/* As slot_abandon(), of what a walk has in its word for a claimed slot: 1 + slot, or 0. */
inline_ void slot_give_back(__u32 word, const bool v6)
{
	__u32 slot = word - 1;
	struct flow *f = word ? flow_at(slot, v6) : NULL;

	if (f)
		slot_abandon(f);
}

inline_ bool flow_try_kill(struct flow *f)
{
	__sync_fetch_and_add(&f->lock, LOCK_KILL);
	if (read_once(f->lock) / LOCK_KILL == 1)
		return true;
	__sync_fetch_and_add(&f->lock, -LOCK_KILL);
	return false;
}

inline_ void flow_unkill(struct flow *f)
{
	__sync_fetch_and_add(&f->lock, -LOCK_KILL);
}

/* The key flags of a flow's original tuple, and of its others. */
inline_ __u8 flow_key_flags(const struct flow *f)
{
	__u8 own = f->flags / FLOW_ENDPOINT * KEY_ENDPOINT & KEY_ENDPOINT;

	/* for ICMP the state is the request's type: 8, 13, 15, 17; ICMPv6: 128 */
	if (f->proto != IPPROTO_ICMP && f->proto != IPPROTO_ICMPV6)
		return own;
	switch (f->state) {
	case 13:
		return own | kind_key_flags(ICMP_KIND_TIMESTAMP);
	case 15:
		return own | kind_key_flags(ICMP_KIND_INFO);
	case 17:
		return own | kind_key_flags(ICMP_KIND_ADDRESS);
	default:
		return own | kind_key_flags(ICMP_KIND_ECHO);
	}
}

/* 1 if no flow counts on the slot: it is no endpoint, or one without flows. 0: perhaps. */
inline_ __u32 slot_is_idle(const struct flow *f)
{
	return ((read_once(f->lock) & LOCK_CLAIM_MASK) - 2) >> 31;
}

/* Which entry of port_hints stands for the ports toward this other side. */
inline_ __u32 port_hint_hash(const struct tuple6 *reply, __u8 proto, __u16 zone, const bool v6)
{
	__u32 h = reply->saddr[0] + reply->daddr[0] * 0x9e3779b1 + proto + (zone << 16);

	if (v6) {
		h = (h ^ h >> 15) * 0x85ebca77 + reply->saddr[1] + reply->daddr[1] * 0xc2b2ae3d;
		h = (h ^ h >> 15) * 0x85ebca77 + reply->saddr[2] + reply->daddr[2] * 0xc2b2ae3d;
		h = (h ^ h >> 15) * 0x85ebca77 + reply->saddr[3] + reply->daddr[3] * 0xc2b2ae3d;
	}
	if (proto_has_ports(proto))
		h += reply->sport << 8;
	h = (h ^ h >> 16) * 0x7feb352d;
	return h ^ h >> 15;
}

/* A translated flow has gone: whoever looks for a port toward the same other side finds its port. */
inline_ void port_freed(const struct tuple6 *reply, __u8 proto, __u16 zone, const bool v6)
{
	__u32 side = port_hint_hash(reply, proto, zone, v6), which = side % PORT_HINTS_MAX;
	struct port_hint *hint = bpf_map_lookup_elem(&port_hints, &which);

	if (hint) {
		hint->walked = 0;
		hint->freed = bpf_ntohs(reply->dport);
	}
	port_map_give(side, bpf_ntohs(reply->dport));
}

/* A translated flow has its port. */
inline_ void port_taken(const struct tuple6 *reply, __u8 proto, __u16 zone, const bool v6)
{
	port_map_take(port_hint_hash(reply, proto, zone, v6), bpf_ntohs(reply->dport));
}

/*
 * Tears down a flow whose kill half the caller holds: both directions and the mapping go, or none
 * (invariant 5). Releases everything.
 */
inline_ void flow_teardown(struct flow *f, __u32 slot, const bool v6)
{
	__u8 key_flags = flow_key_flags(f);
	union tuple_key key;
	struct tuple6 original, reply;

	write_once(f->status, 0);
	flow_tuple(f, CT_DIR_ORIGINAL, &original, v6);
	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	tuple_key(&key, &original, f->proto, key_flags | (f->flags & FLOW_LOCAL_KEY ? KEY_LOCAL : 0),
		  flow_zone(f, CT_DIR_ORIGINAL), v6);
	tuple_release(&key, v6);
	if (unlikely(f->nat & ~NAT_TYPE_MASK))
		subscriber_give(f, slot, v6);
	if (f->nat != NAT_NONE || f->flags & FLOW_ZONE_MASK) {
		tuple_key(&key, &reply, f->proto, key_flags, flow_zone(f, CT_DIR_REPLY), v6);
		tuple_release(&key, v6);
		port_freed(&reply, f->proto, flow_zone(f, CT_DIR_REPLY), v6);
		if (f->flags & FLOW_MIDDLE_KEY) {
			/* source as it came, destination as it leaves */
			address_copy(original.daddr, reply.saddr, v6);
			original.dport = reply.sport;
			tuple_key(&key, &original, f->proto, key_flags | KEY_MIDDLE,
				  slot & KEY_MIDDLE_SLOT_MASK, v6);
			tuple_release(&key, v6);
		}
	}
	f->gen += 1;
	barrier_compiler();
	__sync_fetch_and_add(&f->lock, -LOCK_CLAIM);
	__sync_fetch_and_add(&f->lock, -LOCK_KILL);
}

/* Whether a sweep or a search may take the flow: long enough past its deadline (TICK_GRACE). */
inline_ bool flow_is_dead(const struct flow *f, __u32 now)
{
	return tick_before(read_once(f->deadline) + TICK_GRACE, now);
}

enum { SLOT_NONE = 0xffffffff };

/* Passes of a search before it gives up, and how many of them look only for what is free or over. */
enum { SLOT_PASSES = 8, SLOT_PASSES_FREE = 5 };

/* Long searches that found nothing free make the next ones short: the table is full, walking it again is
 * waste. So many of their passes look for a flow without a reply before one that has seen one is taken. */
enum { HAND_FULL_SKIP = 16, HAND_FULL_PASSES = 3 };

/*
 * A flow without a reply that is younger, in ticks, may just be waiting for it. At random places only so many
 * looks of a pass take such a one: where a flood fills the table they find one of its flows; where the flood
 * is answered, and has replies, the few young flows there are belong to others.
 */
enum { SLOT_YOUNG_TICKS = 16, SLOT_YOUNG_LOOKS = 4 };

/*
 * The status bit that saves a flow from giving way to a new one. `full`: the table is known to be full.
 * While it is not, being in use saves: only what is free or over is taken. Then a reply does, and at last
 * only what assures a flow, as in Netfilter's early drop: a server that answers a flood of SYNs gives each of
 * them a reply.
 */
inline_ __u32 slot_saving_status(__u32 pass, bool full)
{
	if (pass < (full ? 0 : SLOT_PASSES_FREE))
		return CT_CONFIRMED;
	return pass < (full ? HAND_FULL_PASSES : SLOT_PASSES - 1) ? CT_SEEN_REPLY : CT_ASSURED;
}

/* The i-th slot that a pass of a search looks at. */
inline_ __u32 slot_on_way(__u32 position, __u32 step, __u32 i, __u32 slots)
{
	return (position + step * i) % slots;
}

/* Claims the first free one. */
inline_ __u32 slot_claim_free(__u32 position, __u32 step, __u32 slots, const bool v6)
{
	UNROLL_LONG
	for (__u32 i = 0; i < SLOT_SCAN_STEP; i++) {
		__u32 slot = slot_on_way(position, step, i, slots);
		struct flow *f = flow_at(slot, v6);

		if (f && !read_once(f->lock) && slot_try_claim(f))
			return slot;
	}
	return SLOT_NONE;
}

/* The slot that home_word() names, claimed, if it is free; else SLOT_NONE. */
inline_ __u32 slot_take_home(__u32 home, const bool v6)
{
	__u32 slot = home - 1;
	struct flow *f = home ? flow_at(slot, v6) : NULL;

	return f && !read_once(f->lock) && slot_try_claim(f) ? slot : SLOT_NONE;
}

/* A free slot at the next places of this CPU's hand, claimed; SLOT_NONE: slot_search() looks further. */
inline_ __u32 slot_take_next(const struct settings *s, const bool v6)
{
	__u32 which = v6, slots = v6 ? s->slots6 : s->slots4, position, slot;
	struct hand *hand = bpf_map_lookup_elem(&hands, &which);

	if (!hand || !slots)
		return SLOT_NONE;
	position = hand->position;
	blur(position, s->zero);
	slot = slot_claim_free(position, 1, slots, v6);
	if (slot == SLOT_NONE)
		return SLOT_NONE;
	hand->position = slot + 1;
	hand->full = 0;
	return slot;
}

/*
 * Whether a flow may give its slot to another one: it is over, or nothing saves it. `young`: 0 if not even a
 * young one. An endpoint without flows does before any flow that is alive, unless somebody has asked for it.
 */
inline_ __u32 flow_gives_way(const struct flow *f, __u32 now, __u32 saving, __u32 young)
{
	__u32 status = read_once(f->status), dead = (read_once(f->deadline) + TICK_GRACE - now) >> 31,
	      old = (f->created + SLOT_YOUNG_TICKS - now) >> 31,
	      endpoint = status / CT_ENDPOINT & slot_is_idle(f), searched = (saving ^ CT_CONFIRMED) != 0,
	      promised = status / CT_FIXED_TIMEOUT;

	/* verifier: arithmetic, so that a search branches once a slot */
	return ((status / CT_CONFIRMED) & 1 & (dead | (((status & saving) - 1) >> 31 & (old | young)))) |
	       (endpoint & (dead | (searched & ~promised)));
}

/* `anywhere`: 1 if the pass looks at random places. */
inline_ __u32 slot_find_victim(__u32 position, __u32 step, __u32 slots, __u32 now, __u32 saving,
			       __u32 anywhere, const bool v6)
{
	UNROLL_LONG
	for (__u32 i = 0; i < SLOT_SCAN_STEP; i++) {
		__u32 slot = slot_on_way(position, step, i, slots);
		struct flow *f = flow_at(slot, v6);

		if (f && flow_gives_way(f, now, saving, (anywhere ^ 1) | (i - SLOT_YOUNG_LOOKS) >> 31))
			return slot;
	}
	return SLOT_NONE;
}

/*
 * Looks for a slot at the next places of this CPU's hand, or at random ones, and claims a free one. Failing
 * that, *victim is the slot of a flow found dead; and where the search has gone far enough to call the table
 * full, of an unreplied flow, at last of one that is not assured (never one that is: invariant 7). REAP then
 * ends it (reap.h); *saving is the status bit that keeps it from that. Both SLOT_NONE: go on, or give up.
 *
 * `pass`: how many passes of this search came before.
 * The hand goes round like a clock's, and in a full table stops behind what it has taken: a flow that was
 * just born there has about the whole table's length of time to see its reply before the hand comes again.
 */
inline_ __u32 slot_search(__u32 now, const struct settings *s, __u32 pass, __u32 *saving, __u32 *victim,
			  const bool v6)
{
	__u32 which = v6, slots = v6 ? s->slots6 : s->slots4, position, slot, step = 1, save, anywhere;
	struct hand *hand = bpf_map_lookup_elem(&hands, &which);

	*victim = SLOT_NONE;
	*saving = CT_CONFIRMED;
	if (!hand || !slots)
		return SLOT_NONE;
	save = slot_saving_status(pass, hand->full);
	blur(save, s->zero);
	position = hand->position;
	anywhere = pass && pass != HAND_FULL_PASSES && pass != SLOT_PASSES_FREE;
	if (anywhere) {
		/* Before the hand lies a run of flows that live long: look at one slot here, one there. An
		 * odd step comes by every slot of a table whose size is a power of 2. */
		position = bpf_get_prandom_u32();
		step = bpf_get_prandom_u32() | 1;
	}
	blur(position, s->zero);
	blur(step, s->zero);
	blur(anywhere, s->zero);
	blur(pass, s->zero);
	slot = slot_claim_free(position, step, slots, v6);
	blur(slot, s->zero);
	blur(position, s->zero);
	blur(slots, s->zero);
	blur(step, s->zero);
	if (slot != SLOT_NONE) {
		hand->position = slot + 1;
		hand->full = 0;
		return slot;
	}
	slot = slot_find_victim(position, step, slots, now, save, anywhere, v6);
	blur(slot, s->zero);
	if (pass >= SLOT_PASSES_FREE && (slot != SLOT_NONE || pass == SLOT_PASSES - 1))
		hand->full = HAND_FULL_SKIP;
	if (!anywhere) {
		/* what has not been taken for want of a reply may be in the last pass */
		if (slot != SLOT_NONE)
			hand->position = slot + 1;
		else if (save != CT_SEEN_REPLY)
			hand->position = position + SLOT_SCAN_STEP;
	}
	*victim = slot;
	*saving = save;
	return SLOT_NONE;
}

/* A live flow has given way: the next searches of this CPU may try for a free slot again. */
inline_ void slot_search_evicted(const bool v6)
{
	__u32 which = v6;
	struct hand *hand = bpf_map_lookup_elem(&hands, &which);

	if (hand && hand->full)
		hand->full -= 1;
}

#endif
