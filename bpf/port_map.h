/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which outside ports are in use toward another side: a bit each, many in a word, so that one look tells of
 * all of them what the tuple map would have to be asked for one by one. Words of its own for every side that
 * there may be would be too many: they lie where a hash says, eight in a row, and maybe upon another side's.
 *
 * So it is a guess, which the insert of the reply tuple's key proves or disproves. A bit that is set although
 * the port is free (another side's) hides the port until everything else is in use; then the walk through
 * the tuple map finds it (ports.h). One that is clear although the port is taken (another side's flow ended)
 * costs a try.
 *
 * With the atomic operations (5.12) a word says whose it is, so that a bit set in a side's own word is more
 * than a guess: its port has been taken and not been given back. And there are words that say which blocks of
 * a side's ports are full.
 */
#ifndef CTNAT_PORT_MAP_H
#define CTNAT_PORT_MAP_H

#include "bits.h"
#include "maps.h"

#ifdef CTNAT_FETCH
enum { PORT_MAP_BITS = 48, PORT_MAP_OWNER = PORT_MAP_BITS };
#else
enum { PORT_MAP_BITS = 64 };
#endif

enum { PORT_MAP_ROW = 8 /* a cache line */, PORTS_MOST = 65536 };

/* The bits of a word that are ports', and those of even and of odd ones. */
#define PORT_MAP_ALL  (~0ULL >> (64 - PORT_MAP_BITS))
#define PORT_MAP_EVEN (0x5555555555555555ULL & PORT_MAP_ALL)
#define PORT_MAP_ODD  (0xaaaaaaaaaaaaaaaaULL & PORT_MAP_ALL)

/* Which of a side's words a port is in. A division costs more than all else that is done to find it. */
inline_ __u32 port_map_index(__u32 port)
{
#ifdef CTNAT_FETCH
	return port * 43691 >> 21;
#else
	return port / PORT_MAP_BITS;
#endif
}

inline_ __u64 port_map_bit(__u32 port)
{
	return 1ULL << (port - port_map_index(port) * PORT_MAP_BITS);
}

#ifdef CTNAT_FETCH
/*
 * Ports in blocks, and what is known of each block's even and of its odd ports, a bit each:
 * PORT_BLOCKS_BARREN: nothing was found in it when it was searched last; PORT_BLOCKS_FULL: each is taken.
 */
enum {
	PORT_BLOCK_WORDS = 32,
	PORT_BLOCK_PORTS = PORT_BLOCK_WORDS * PORT_MAP_BITS,
	PORT_BLOCKS_MAX = 64,
	PORT_MAP_SIDES = 4096,
	PORT_BLOCKS_BARREN = 0,
	PORT_BLOCKS_FULL = 2,
	PORT_BLOCKS_WORDS = 4,
	PORT_MAP_ROWS = (PORT_MAP_WORDS - PORT_MAP_SIDES * PORT_BLOCKS_WORDS) / PORT_MAP_ROW,
};

/* The word of a port. `side`: port_hint_hash(). */
inline_ __u64 *port_map_word(__u32 side, __u32 port)
{
	__u32 word = port_map_index(port), row = side ^ word / PORT_MAP_ROW * 0x9e3779b1, which;

	row *= 0x85ebca77;
	row = (__u64)(row ^ row >> 15) * PORT_MAP_ROWS >> 32;
	which = PORT_MAP_SIDES * PORT_BLOCKS_WORDS + row * PORT_MAP_ROW + word % PORT_MAP_ROW;
	return bpf_map_lookup_elem(&port_map, &which);
}

/*
 * The word about a side's blocks, of their ports that are as odd or even as `port`. These words lie close
 * together, in few pages: they are looked at first.
 */
inline_ __u64 *port_map_blocks(__u32 side, __u32 about, __u32 port)
{
	__u32 which = side % PORT_MAP_SIDES * PORT_BLOCKS_WORDS + about + port % 2;

	return bpf_map_lookup_elem(&port_map, &which);
}

inline_ __u64 port_map_block(__u32 port)
{
	return 1ULL << port_map_index(port) / PORT_BLOCK_WORDS;
}

/* Whose a word is, in its upper bits: a side's, and which of its rows: those may meet each other, too. */
inline_ __u64 port_map_owner(__u32 side, __u32 port)
{
	return (side >> 16 ^ port_map_index(port) / PORT_MAP_ROW * 0x9e37) & 0xffff;
}

/* The bits of a word, if it is this owner's; else none. */
inline_ __u64 port_map_own(__u64 word, __u64 owner)
{
	__u64 own = ((word >> PORT_MAP_OWNER ^ owner) - 1) >> 63;

	hide(own);
	return word & PORT_MAP_ALL & -own;
}
#else
/* The word of a port. `side`: port_hint_hash(). */
inline_ __u64 *port_map_word(__u32 side, __u32 port)
{
	__u32 word = port_map_index(port), row = side ^ word / PORT_MAP_ROW * 0x9e3779b1, which;

	row *= 0x85ebca77;
	which = ((row ^ row >> 15) * PORT_MAP_ROW + word % PORT_MAP_ROW) % PORT_MAP_WORDS;
	return bpf_map_lookup_elem(&port_map, &which);
}
#endif

#ifdef CTNAT_FETCH
/* Of a word's ports those that are as odd or even as this one: RFC 4787 REQ-4. */
inline_ __u64 port_map_parity(__u32 port)
{
	return PORT_MAP_EVEN << port % 2;
}

/* So many ports of a side in a word, and another side does not take the word from it. */
enum { PORT_MAP_LIGHT = 4 };

/*
 * Sets a bit in a word for an owner, whose the word becomes if it is another's with `light` bits at most.
 * What it is then; 0: it is another's, or another CPU changes it just now, which costs a try at most.
 */
inline_ __u64 port_map_set(__u64 *word, __u64 owner, __u64 bit, const int light)
{
	__u64 was = read_once(*word), heavy = was & PORT_MAP_ALL, now = was | bit;

	if (was >> PORT_MAP_OWNER != owner) {
		UNROLL
		for (int i = 0; i < light; i++)
			heavy &= heavy - 1;
		if (heavy)
			return 0;
		now = owner << PORT_MAP_OWNER | bit;
	}
	return __sync_val_compare_and_swap(word, was, now) == was ? now : 0;
}

/* Nothing that is as odd or even as `port` was found in its block. */
inline_ void port_map_fail(__u32 side, __u32 port)
{
	__u64 *barren = port_map_blocks(side, PORT_BLOCKS_BARREN, port),
	      *full = port_map_blocks(side, PORT_BLOCKS_FULL, port), owner = port_map_owner(side, 0),
	      bit = port_map_block(port), taken = ~0ULL;
	__u32 first = port_map_index(port) / PORT_BLOCK_WORDS * PORT_BLOCK_PORTS;

	/* before the words are looked at: who gives a port back meanwhile finds the bit, and takes it off */
	if (!barren || !full || !port_map_set(barren, owner, bit, 0) || !port_map_set(full, owner, bit, 0))
		return;
	for (__u32 i = 0; i < PORT_BLOCK_WORDS; i++) {
		__u32 at = first + i * PORT_MAP_BITS;
		__u64 *word = port_map_word(side, at);

		if (!word)
			return;
		taken &= port_map_own(read_once(*word), port_map_owner(side, at));
	}
	if (~taken & port_map_parity(port))
		__sync_fetch_and_and(full, ~bit);
}

inline_ void port_map_take(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port);

	if (word)
		port_map_set(word, port_map_owner(side, port), port_map_bit(port), PORT_MAP_LIGHT);
}

inline_ void port_map_give(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port), *barren = port_map_blocks(side, PORT_BLOCKS_BARREN, port),
	      *full = port_map_blocks(side, PORT_BLOCKS_FULL, port), owner = port_map_owner(side, 0);

	if (!word || !barren || !full)
		return;
	if (read_once(*word) >> PORT_MAP_OWNER == port_map_owner(side, port))
		__sync_fetch_and_and(word, ~port_map_bit(port));
	/* a full block is barren */
	if (likely(!(port_map_own(read_once(*barren), owner) & port_map_block(port))))
		return;
	__sync_fetch_and_and(full, ~port_map_block(port));
	__sync_fetch_and_and(barren, ~port_map_block(port));
}
#else
/*
 * Two CPUs that change one word in the same instant may lose one of the changes: a try too many, or a port
 * that only the walk finds until it has been used again.
 */
inline_ void port_map_take(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port);

	if (word)
		*word |= port_map_bit(port);
}

inline_ void port_map_give(__u32 side, __u32 port)
{
	__u64 *word = port_map_word(side, port);

	if (word)
		*word &= ~port_map_bit(port);
}
#endif

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
	m->last_mask = PORT_MAP_ALL >> (PORT_MAP_BITS - 1 - port_max % PORT_MAP_BITS);
	m->parity = PORT_MAP_ALL;
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
