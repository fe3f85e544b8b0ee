/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which outside ports are in use toward another side: a bit each, 64 in a word, so that one look tells of 64
 * ports what the tuple map would have to be asked for one by one. Words of its own for every side that there
 * may be would be too many: they lie where a hash says, eight in a row, and maybe upon another side's.
 *
 * So it is a guess, which the insert of the reply tuple's key proves or disproves. A bit that is set although
 * the port is free (another side's) hides the port until everything else is in use; then the walk through
 * the tuple map finds it (ports.h). One that is clear although the port is taken (another side's flow ended)
 * costs a try.
 */
#ifndef CTNAT_PORT_MAP_H
#define CTNAT_PORT_MAP_H

#include "maps.h"

enum { PORT_MAP_BITS = 64, PORT_MAP_ROW = 8 }; /* a row is a cache line */

/* The word of a port. `side`: port_hint_hash(). */
inline_ __u64 *port_map_word(__u32 side, __u32 port)
{
	__u32 word = port / PORT_MAP_BITS, row = side ^ word / PORT_MAP_ROW * 0x9e3779b1, which;

	row *= 0x85ebca77;
	which = ((row ^ row >> 15) * PORT_MAP_ROW + word % PORT_MAP_ROW) % PORT_MAP_WORDS;
	return bpf_map_lookup_elem(&port_map, &which);
}

/*
 * Without the atomic operations (5.12) two CPUs that change one word in the same instant may lose one of the
 * changes: a try too many, or a port that only the walk finds until it has been used again.
 */
inline_ void port_map_take(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port), bit = 1ULL << port % PORT_MAP_BITS;

	if (!word)
		return;
#ifdef CTNAT_FETCH
	__sync_fetch_and_or(word, bit);
#else
	*word |= bit;
#endif
}

inline_ void port_map_give(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port), bit = 1ULL << port % PORT_MAP_BITS;

	if (!word)
		return;
#ifdef CTNAT_FETCH
	__sync_fetch_and_and(word, ~bit);
#else
	*word &= ~bit;
#endif
}

/* The number of the lowest bit that is set. verifier: without a branch; so is all that is done for a word. */
inline_ __u32 lowest_bit(__u64 x)
{
	__u64 bit = x & -x;

	return -(bit & 0xaaaaaaaaaaaaaaaaULL) >> 63 | (-(bit & 0xccccccccccccccccULL) >> 63) << 1 |
	       (-(bit & 0xf0f0f0f0f0f0f0f0ULL) >> 63) << 2 | (-(bit & 0xff00ff00ff00ff00ULL) >> 63) << 3 |
	       (-(bit & 0xffff0000ffff0000ULL) >> 63) << 4 | (-(bit & 0xffffffff00000000ULL) >> 63) << 5;
}

/* Where to look: a range of ports, and those of a word that may be had. */
struct port_map_search {
	__u32 side;
	__u32 first; /* the range's first and last word, counted from port 0 */
	__u32 last;
	__u64 first_mask;
	__u64 last_mask;
	__u64 parity; /* ports that are as odd or even as they have to be */
};

inline_ void port_map_search_begin(struct port_map_search *m, __u32 side, __u32 port_min, __u32 port_max)
{
	m->side = side;
	m->first = port_min / PORT_MAP_BITS;
	m->last = port_max / PORT_MAP_BITS;
	m->first_mask = ~0ULL << port_min % PORT_MAP_BITS;
	m->last_mask = ~0ULL >> (PORT_MAP_BITS - 1 - port_max % PORT_MAP_BITS);
	m->parity = ~0ULL;
}

/*
 * A port that seems to be free, + 1; 0: none in so many words. From a random word on, by a stride that is
 * prime to their number, and in the word from a random bit on: ports in use lie in runs, and those that are
 * given are to be hard to guess (RFC 6056 section 3.3).
 */
inline_ __u32 port_map_find(const struct port_map_search *m, __u32 seed, __u32 stride, __u32 zero,
			    const __u32 words)
{
	__u32 count = m->last - m->first + 1, bit = seed % PORT_MAP_BITS, at, over, below;
	__u64 free = 0;

	at = seed / PORT_MAP_BITS % count;
	blur(at, zero);
	blur(stride, zero);
	UNROLL_LONG
	for (__u32 i = 0; i < words; i++) {
		__u64 *word = port_map_word(m->side, (m->first + at) * PORT_MAP_BITS);

		if (!word)
			return 0;
		free = ~read_once(*word) & m->parity;
		free &= m->first_mask | -(__u64)(-at >> 31);
		free &= m->last_mask | -(__u64)((at - count + 1) >> 31);
		if (free)
			break;
		at += stride;
		over = at - count;
		below = -(over >> 31);
		hide(below);
		at = over + (count & below);
	}
	blur(at, zero);
	free ^= zero;
	if (!free)
		return 0;
	free = free >> bit | free << 1 << (PORT_MAP_BITS - 1 - bit);
	return (m->first + at) * PORT_MAP_BITS + (lowest_bit(free) + bit) % PORT_MAP_BITS + 1;
}

#endif
