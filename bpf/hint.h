/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Where the flow of a usual packet probably is. To look for its key is a row of two cache lines (index.h),
 * before 5.12 a bucket of the tuple map, an entry and the entries before it, none of which is in a cache
 * where there are many flows; a row of hints is a few bytes of a small array, and the slot, which is read
 * anyhow, says by its own tuples whether the hint was right. If it was not, the key is looked for, and leaves
 * the hint that the next packet finds.
 *
 * Nothing but time depends on hints: they are written without any order, and each belief is proven anew. So
 * the hash needs no secret: who chooses addresses that share a row takes hints away, and those packets look
 * for their keys, as all did before there were hints.
 */
#ifndef CTNAT_HINT_H
#define CTNAT_HINT_H

#include "fast_packet.h"
#include "home.h"

/*
 * A hint is a slot, and above it bits of the key's hash that are not the row's. Where a flow may be at home
 * without a hint as well, which of the slot's tuples is meant is seen by a look (home.h); else what a look
 * would say (enum look) stands below.
 */
enum { HINT_SLOT_SHIFT = HOMES ? 0 : 2, HINT_TAG_SHIFT = HOMES ? 25 : 27 };
#define HINT_NONE (~0ULL)

/* Of a packet and the flow that it is one of. */
struct fast_match {
	struct flow *flow;
	__u64 turned; /* 1: it goes against the tuple that its key was made of */
	__u64 dir;
	__u64 plain; /* 1: the flow is not translated, one key stands for both directions */
	__u32 slot;
	__u16 gen;
};

/* The row of a hash, by multiplication: rows need not be a power of 2. */
inline_ struct hint_row *hint_row(const struct settings *s, __u64 hash)
{
	__u32 at = (hash >> 32) * s->hint_rows >> 32;

	return bpf_map_lookup_elem(&hints, &at);
}

/* What the row says of the hash, without its tag; HINT_NONE: nothing, as for most of what is at home. */
inline_ __u64 hint_read(const struct hint_row *row, __u64 hash)
{
	__u64 tag = hash & (0xffffffffULL >> HINT_TAG_SHIFT << HINT_TAG_SHIFT);

	UNROLL
	for (int i = 0; i < HINTS_IN_ROW; i++) {
		__u64 hint = read_once(row->hints[i]) ^ tag;

		if (!(hint >> HINT_TAG_SHIFT))
			return hint;
	}
	return HINT_NONE;
}

/*
 * Leaves a hint for the next packet, in the row's first free place: where there are few flows the CPU
 * foretells that a packet's hint is the first. Else in the place of one that is as good as any.
 * verifier: without a branch
 */
inline_ void hint_leave(const struct settings *s, __u64 hash, __u32 slot, __u32 form)
{
	__u32 at = bpf_get_prandom_u32() % HINTS_IN_ROW, hint = hash >> HINT_TAG_SHIFT << HINT_TAG_SHIFT;
	struct hint_row *row = hint_row(s, hash);

	hint |= slot << HINT_SLOT_SHIFT;
	if (!HOMES)
		hint |= (~form / FORM_ORIGINAL & 1) * LOOK_REPLY | (form & FORM_SOURCE_HIGH);
	if (!row)
		return;
	UNROLL
	for (int i = HINTS_IN_ROW - 1; i >= 0; i--) {
		__u64 is_free = ((__u64)read_once(row->hints[i]) - 1) >> 63;

		is_free = -is_free;
		hide(is_free);
		at ^= (at ^ i) & is_free;
	}
	hide(at);
	at %= HINTS_IN_ROW;
	write_once(row->hints[at], hint);
}

/*
 * 0 if these are the key's. `swap`: all ones if the tuple's source is endpoint 1, else 0. All pieces of an
 * end are read at constant places: 4.19 forgets the bounds of a register that it has to put aside.
 */
inline_ __u64 hint_differs(const __be32 *saddr, const __be32 *daddr, const __be32 *low, const __be32 *high,
			   const int words, __u64 swap)
{
	__u64 differs = 0;

	UNROLL
	for (int i = 0; i < words; i++) {
		__u64 change = (saddr[i] ^ daddr[i]) & swap;

		differs |= (saddr[i] ^ change ^ low[i]) | (daddr[i] ^ change ^ high[i]);
		hide(differs); /* or the compiler reads all words first, and has to put them aside */
	}
	return differs;
}

inline_ __u64 hint_ports_differ(__u64 sport, __u64 dport, const __be16 *ports, __u64 swap)
{
	__u64 change = (sport ^ dport) & swap;

	return (sport ^ change ^ ports[0]) | (dport ^ change ^ ports[1]);
}

/*
 * Whether the slot has the key's flow, by the tuple that `how` says (enum look), as a look for the key would
 * say: there the key of this tuple, with no flags and no zone, leads to this slot. It does while the flow is
 * complete and nobody holds its kill half: keys are set before that and taken away after (slot.h). The
 * generation is read first and last, so what is read between is one flow's.
 */
inline_ bool hint_is_true(struct fast_match *m, const union paired_key *key, __u32 proto, __u64 high,
			  __u64 how, __u32 now, const bool v6)
{
	const __u32 unusual = FLOW_LOCAL_KEY | FLOW_ENDPOINT | FLOW_ZONE_MASK;
	const struct tuple4_key *k4 = &key->tuple.v4;
	const struct tuple6_key *k6 = &key->tuple.v6;
	const struct tuple4 *t4;
	const struct tuple6 *t6;
	struct flow *f = m->flow;
	__u64 differs, own = how & LOOK_HIGH, swap = -own, reply = how / LOOK_REPLY;

	in_memory(*key);
	m->gen = read_once(f->gen);
	barrier_compiler();
	hide(swap);
	hide(reply);
	reply &= 1;
	if (v6) {
		t6 = ((const struct flow6 *)f)->tuple + reply;
		differs = hint_differs(t6->saddr, t6->daddr, k6->addr[0], k6->addr[1], 4, swap) |
			  hint_ports_differ(t6->sport, t6->dport, k6->port, swap);
	} else {
		t4 = ((const struct flow4 *)f)->tuple + reply;
		differs = hint_differs(&t4->saddr, &t4->daddr, k4->addr, k4->addr + 1, 1, swap) |
			  hint_ports_differ(t4->sport, t4->dport, k4->port, swap);
	}
	differs |= (f->proto ^ proto) | (f->flags & unusual) | f->zone | read_once(f->lock) / LOCK_KILL;
	hide(differs); /* one branch for all of it */
	if (differs)
		return false;
	m->turned = high ^ own;
	m->dir = m->turned ^ reply;
	m->plain = ((__u64)f->nat - 1) >> 63;
	barrier_compiler();
	return flow_is_live(f, m->gen, now);
}

enum fast_found {
	FAST_FOUND,
	FAST_NOBODY, /* nobody holds the packet's key */
	FAST_UNSURE, /* the long way is to look again */
};

/* Whose packet it is. `high`: fast_key()'s word about the key. `homes`: whether it may be at home. */
inline_ enum fast_found fast_find(struct fast_match *m, const struct settings *s, const union paired_key *key,
				  const struct fast_packet *p, __u64 high, bool homes, __u32 now,
				  const bool v6)
{
	__u64 hash = key_hash(key, v6), hint;
	struct flow *at_home;
	__u32 how;
	struct hint_row *row = NULL;
	struct tuple_ref *ref, copy;
	__u32 form;

	if (likely(!(s->flags & SETTING_ZONES | p->tcp_flags & TCP_SYN))) /* what begins a flow has no hint */
		row = hint_row(s, hash);
	if (row && HOMES) {
		how = LOOK_NOBODY;
		at_home = flow_at(home_slot(s, hash, v6), v6);
		if (homes && at_home)
			(void)read_once(at_home->gen); /* on its way, before the row is waited for */
		hint = hint_read(row, hash);
		if (hint != HINT_NONE) {
			m->slot = hint;
			m->flow = flow_at(m->slot, v6);
			if (m->flow)
				how = look(m->flow, key, v6);
		}
		if (how == LOOK_NOBODY && homes && at_home) {
			m->slot = home_slot(s, hash, v6);
			m->flow = at_home;
			how = look(at_home, key, v6);
		}
		/* a short way to the index: the CPU reads ahead there while it waits for the slot */
		if (how == LOOK_NOBODY)
			goto look;
		blur(how, s->zero);
		if (likely(hint_is_true(m, key, p->proto, high, how, now, v6)))
			goto found;
	} else if (row) {
		hint = hint_read(row, hash);
		blur(hint, s->zero);
		m->slot = hint >> HINT_SLOT_SHIFT;
		m->flow = flow_at(m->slot, v6);
		if (m->flow && likely(hint_is_true(m, key, p->proto, high, hint, now, v6)))
			goto found;
	}
look:
	/* for who makes the flow, if nobody holds the key and one may begin */
	if (HOMES && (p->proto == IPPROTO_UDP || p->tcp_flags & TCP_SYN))
		home_fetch(home_slot(s, hash, v6), v6);
	ref = tuple_find(&key->tuple, &copy, v6);
	if (!ref)
		return FAST_NOBODY;
	m->slot = ref->slot;
	m->gen = ref->gen;
	form = ref->form;
	m->flow = flow_at(m->slot, v6);
	if (!m->flow || !flow_is_live(m->flow, m->gen, now))
		return FAST_UNSURE;
	/* form_dir() and form_stage() without a branch; there is no FORM_MIDDLE without TAG_MIDDLE */
	m->turned = (high ^ form) & 1;
	m->dir = (m->turned ^ (form >> 1 & 1) ^ 1) & 1;
	m->plain = form >> 1 & form >> 2 & 1;
	if (likely(!(s->flags & SETTING_ZONES)))
		hint_leave(s, hash, m->slot, form);
found:
	/* verifier: whichever way it was found, it knows the same of it */
	blur(m->slot, s->zero);
	blur(m->turned, s->zero);
	blur(m->dir, s->zero);
	blur(m->plain, s->zero);
	return FAST_FOUND;
}

#endif
