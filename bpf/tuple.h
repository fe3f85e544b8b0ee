/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Tuples, their keys, and what a key that was found says of the packet. In C both families use struct
 * tuple6; IPv4 keeps its address in word 0. `v6` is a constant wherever these are inlined.
 */
#ifndef CTNAT_TUPLE_H
#define CTNAT_TUPLE_H

#include "index.h"
#include "packet.h"

/* One branch for the whole address, as the caller makes it. */
inline_ bool address_equal(const __be32 *a, const __be32 *b, const bool v6)
{
	__u32 differs = a[0] ^ b[0];

	if (v6)
		differs |= (a[1] ^ b[1]) | (a[2] ^ b[2]) | (a[3] ^ b[3]);
	return !differs;
}

inline_ void address_copy(__be32 *to, const __be32 *from, const bool v6)
{
	to[0] = from[0];
	if (v6) {
		to[1] = from[1];
		to[2] = from[2];
		to[3] = from[3];
	}
}

/* What a - b - borrow borrows: 1 or 0. Of numbers below 2^63. */
inline_ __u64 borrow(__u64 a, __u64 b, __u64 borrow)
{
	__u64 difference = a - b - borrow;

	hide(difference); /* or the compiler makes a branch of it */
	return difference >> 63;
}

/* Whether address a, continued by a_low, is the higher number: 1 or 0. */
inline_ __u64 address_above(const __be32 *a, const __be32 *b, __u16 a_low, __u16 b_low, const bool v6)
{
	const int last = v6 ? 3 : 0;
	__u64 above = borrow((__u64)b[last] << 16 | b_low, (__u64)a[last] << 16 | a_low, 0);

	if (!v6)
		return above;
	above = borrow(b[2], a[2], above);
	above = borrow(b[1], a[1], above);
	return borrow(b[0], a[0], above);
}

/* The same packet going back: what a reply to t looks like. */
inline_ void tuple_reverse(struct tuple6 *to, const struct tuple6 *t, const bool v6)
{
	address_copy(to->saddr, t->daddr, v6);
	address_copy(to->daddr, t->saddr, v6);
	to->sport = t->dport;
	to->dport = t->sport;
}

/* Which end of a tuple is which in its key. `swap`: all ones if they change places, else 0. */
inline_ void key_ends(__be32 *low, __be32 *high, const __be32 *from, const __be32 *to, __u64 swap, int words)
{
	UNROLL
	for (int i = 0; i < words; i++) {
		__u32 change = (from[i] ^ to[i]) & swap;

		low[i] = from[i] ^ change;
		high[i] = to[i] ^ change;
	}
}

/*
 * Makes the key of a tuple; returns whether the source became endpoint 1. Endpoints are ordered as numbers
 * in memory order: any order serves, as long as both directions agree.
 * verifier: without a branch. One for each word would leave as many ways to everything behind it.
 */
inline_ bool tuple_key(union tuple_key *key, const struct tuple6 *t, __u8 proto, __u8 flags, __u16 zone,
		       const bool v6)
{
	__u64 high = address_above(t->saddr, t->daddr, t->sport, t->dport, v6), swap = -high;
	__u16 change;

	hide(swap);
	change = (t->sport ^ t->dport) & swap;
	if (v6) {
		struct tuple6_key *k = &key->v6;

		key_ends(k->addr[0], k->addr[1], t->saddr, t->daddr, swap, 4);
		k->port[0] = t->sport ^ change;
		k->port[1] = t->dport ^ change;
		k->proto = proto;
		k->flags = flags;
		k->zone = zone;
	} else {
		struct tuple4_key *k = &key->v4;

		key_ends(k->addr, k->addr + 1, t->saddr, t->daddr, swap, 1);
		k->port[0] = t->sport ^ change;
		k->port[1] = t->dport ^ change;
		k->proto = proto;
		k->flags = flags;
		k->zone = zone;
	}
	return high;
}

inline_ __u8 kind_key_flags(__u8 kind)
{
	return kind << KEY_ICMP_SHIFT;
}

/*
 * Where the flow of a key is; NULL: nobody holds it. What is returned lies in the map, or in `copy`.
 * verifier: before 5.13 the map's own, of which nothing is read that is not used.
 */
inline_ struct tuple_ref *tuple_find(const union tuple_key *key, struct tuple_ref *copy, const bool v6)
{
#ifdef CTNAT_FETCH
	__u64 word = index_find(key, v6);

	*copy = (struct tuple_ref){.slot = word, .gen = word >> 32, .form = word >> 48};
	return word ? copy : NULL;
#else
	(void)copy;
	return tuple_map_find(key, v6);
#endif
}

/*
 * 0, -EEXIST: the tuple is another flow's, -E2BIG/-ENOMEM: no room, -EBUSY: try again. At most one holds a
 * key.
 */
inline_ int tuple_claim(const union tuple_key *key, const struct tuple_ref *ref, const bool v6)
{
#ifdef CTNAT_FETCH
	return index_claim(key, ref, v6);
#else
	return tuple_map_update(key, ref, BPF_NOEXIST, v6);
#endif
}

/* Has a key that is held lead elsewhere. */
inline_ int tuple_replace(const union tuple_key *key, const struct tuple_ref *ref, const bool v6)
{
#ifdef CTNAT_FETCH
	return index_replace(key, ref, v6);
#else
	return tuple_map_update(key, ref, BPF_EXIST, v6);
#endif
}

inline_ void tuple_release(const union tuple_key *key, const bool v6)
{
#ifdef CTNAT_FETCH
	index_release(key, v6);
#else
	tuple_map_delete(key, v6);
#endif
}

/* How far a packet of a translated flow is on its way through the two hooks. */
enum stage {
	STAGE_WIRE,   /* as it arrived: nothing translated. The only stage of an untranslated flow */
	STAGE_MIDDLE, /* destination translated, source to be */
	STAGE_DONE,   /* as it leaves */
};

/* 1 if the packet goes against the tuple that the key was made of. `high`: tuple_key()'s word about it. */
inline_ __u32 form_is_turned(__u32 form, __u32 high)
{
	return (form / FORM_SOURCE_HIGH ^ high) & 1;
}

/* verifier: arithmetic, as form_stage() */
inline_ enum ct_dir form_dir(__u32 form, __u32 high)
{
	__u32 original = form / FORM_ORIGINAL | form / FORM_MIDDLE;

	return (form_is_turned(form, high) ^ original ^ 1) & 1;
}

inline_ enum stage form_stage(__u32 form, __u32 high)
{
	__u32 middle = form / FORM_MIDDLE & 1, both = form / FORM_ORIGINAL & form / FORM_REPLY;

	return middle * STAGE_MIDDLE | (form_is_turned(form, high) & ~both & ~middle) * STAGE_DONE;
}

#endif
