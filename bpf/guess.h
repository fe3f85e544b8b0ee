/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What BIRTH asks of the port map before it claims anything: whether the port that the flow would like is
 * taken, and which one is free. Where the map knows nothing, CLAIM's way is gone: the port that the flow
 * would like, then PICK, then SEARCH.
 */
#ifndef CTNAT_GUESS_H
#define CTNAT_GUESS_H

#include "create.h"

/* Whether the port that was asked for is a flow's that is over, or nobody's: SEARCH ends that flow and takes
 * it. */
inline_ bool port_holder_is_over(const struct tuple6 *reply, __u8 proto, __u8 key_flags, __u16 zone,
				 __u32 now, const bool v6)
{
	union tuple_key key;
	struct tuple_ref *held, copy;
	const struct flow *f;

	tuple_key(&key, reply, proto, key_flags, zone, v6);
	held = tuple_find(&key, &copy, v6);
	if (!held)
		return true; /* it has just become free */
	f = flow_at(held->slot, v6);
	return f && tick_before(read_once(f->deadline), now);
}

#ifdef CTNAT_FETCH
/*
 * So many free ports in a word at least, and the flow that has one of the others is looked at before its port
 * is taken for taken: it may be over.
 */
enum { GUESS_FREE_MANY = 12 };

inline_ __u32 bits_count(__u64 x)
{
	x -= x >> 1 & 0x5555555555555555ULL;
	x = (x & 0x3333333333333333ULL) + (x >> 2 & 0x3333333333333333ULL);
	x = (x + (x >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
	return x * 0x0101010101010101ULL >> 56;
}

/*
 * One of the bits of x, by chance; 0 if there is none. Each round leaves about every second one, and at least
 * one. verifier: without a branch
 */
inline_ __u64 bit_by_chance(__u64 x, __u64 seed)
{
	UNROLL
	for (int i = 0; i < 6; i++) {
		__u64 some, left;

		seed ^= seed >> 31;
		seed *= 0x9e3779b97f4a7c15ULL;
		some = x & seed;
		left = -((some | -some) >> 63);
		hide(left);
		x ^= (x ^ some) & left;
	}
	return x & -x;
}

/* All bits from `first` to `last`, both below 64. */
inline_ __u64 bits_between(__u32 first, __u32 last)
{
	return (~0ULL << first) & (~0ULL >> (63 - last));
}

/* What guess() says but a port. */
enum { GUESS_OWN = 0, GUESS_BARREN = 1 << 16 /* and the block */, GUESS_NONE = 1 << 17 };

/*
 * A port that seems to be free in a block taken by chance, or GUESS_BARREN or GUESS_NONE. The words at the
 * range's ends are left to PICK if they are not all of the range. `any`: mask; an odd port may become an even
 * one.
 */
inline_ __u32 guess_port(const struct plan *plan, __u32 side, __u32 own, __u64 any, __u32 zero)
{
	__u32 seed = bpf_get_prandom_u32(), first = port_map_index(plan->port_min + PORT_MAP_BITS - 1),
	      end = port_map_index(plan->port_max + 1), block, at, bit;
	__u64 *same = port_map_blocks(side, PORT_BLOCKS_BARREN, own),
	      *other = port_map_blocks(side, PORT_BLOCKS_BARREN, own + 1), *word, free;

	if (!same || !other || first >= end)
		return GUESS_NONE;
	free = port_map_own(read_once(*same), port_map_owner(side, 0)) &
	       (port_map_own(read_once(*other), port_map_owner(side, 0)) | ~any);
	free = ~free & bits_between(first / PORT_BLOCK_WORDS, (end - 1) / PORT_BLOCK_WORDS);
	free = bit_by_chance(free, seed | (__u64)seed << 32);
	blur(free, zero);
	if (!free)
		return GUESS_NONE;
	block = lowest_bit(free);
	at = block * PORT_BLOCK_WORDS;
	end = end < at + PORT_BLOCK_WORDS ? end : at + PORT_BLOCK_WORDS;
	first = first > at ? first : at;
	blur(first, zero);
	blur(end, zero);
	any = port_map_parity(own) | (any & PORT_MAP_ALL);
	blur(any, zero);
	at = first + ((__u64)seed * (end - first) >> 32);
	for (__u32 i = 0; i < PORT_BLOCK_WORDS; i++) {
		if (i >= end - first)
			break;
		word = port_map_word(side, at * PORT_MAP_BITS);
		if (!word)
			return GUESS_NONE;
		free = ~read_once(*word) & any;
		if (free)
			break;
		at = at + 1 == end ? first : at + 1;
		blur(at, zero);
	}
	blur(at, zero);
	free ^= zero;
	if (!free)
		return GUESS_BARREN | block;
	bit = (seed & 0xffff) * PORT_MAP_BITS >> 16;
	free = free >> bit | free << 1 << (PORT_MAP_BITS - 1 - bit);
	bit += lowest_bit(free);
	return at * PORT_MAP_BITS + bit - (bit >= PORT_MAP_BITS ? PORT_MAP_BITS : 0);
}

/*
 * The port that the flow is to ask for instead of the one that it would like, or what is said above.
 * GUESS_OWN: that one may be free. It is 0, which as a port only ICMP has: who gets that asks for its own,
 * and PICK is next.
 */
inline_ __u32 guess(const struct plan *plan, __u8 proto, __u8 key_flags, __u16 zone, __u32 now, __u32 zero,
		    const bool v6)
{
	__u32 side = port_hint_hash(&plan->reply, proto, zone, v6), own = bpf_ntohs(plan->reply.dport);
	__u64 *word = port_map_blocks(side, PORT_BLOCKS_FULL, own), taken,
	      any = -(__u64)(proto != IPPROTO_UDP); /* as odd or even as it was: RFC 4787 REQ-4 */

	hide(any);
	if (!word)
		return GUESS_OWN;
	taken = port_map_own(read_once(*word), port_map_owner(side, 0));
	if (plan->keep_first && !(taken & port_map_block(own))) {
		word = port_map_word(side, own);
		if (!word)
			return GUESS_OWN;
		taken = port_map_own(read_once(*word), port_map_owner(side, own));
		if (!(taken & port_map_bit(own)))
			return GUESS_OWN;
		if (bits_count(taken) <= PORT_MAP_BITS - GUESS_FREE_MANY &&
		    port_holder_is_over(&plan->reply, proto, key_flags, zone, now, v6))
			return GUESS_OWN;
	}
	return guess_port(plan, side, own, any, zero);
}
#endif

#endif
