/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who holds a key, on kernels with locks in map values, and atomic operations to count by (5.12): rows of
 * cells in an array, two cache lines each, in place of a hash map's bucket, list and element, and a quarter
 * of its memory. For both families.
 *
 * A cell has no key but a tag of 64 bits, which with its row stands for the key (index_hash.h). It is free
 * while the tag is 0. Who claims a key looks for the tag and takes a cell under the row's lock, with
 * interrupts off: as with the hash map, nobody meets half of it, and of two claimers one has the key. Readers
 * take no lock: the reference is there before the tag, and read between two looks at it. Where the hardware
 * turns the two round, a reader sees what the cell held before, whose flow is over: its slot has another
 * generation.
 *
 * A row without room leaves a key to the tuple map and counts it. No helper may be called under the lock, so
 * the map is looked at before a cell is taken, and a word in the row tells whether that still holds: it
 * counts what is in the map or on its way there, and how often a key has come there. A claimer reads the
 * word, looks into the map if something may be there, locks, and takes a cell if nothing has come since; else
 * he goes to the map, too. Who puts a key into the map locks behind that, and takes it out again if the tag
 * is there; else it has come. Of the two who locks later sees the other, so no two hold a key. Nobody waits
 * for one who is held up between two steps: a tag has its reference with it, and so has a key in the map. And
 * nobody is told that a key is somebody's when it is not (endpoint_flow.h relies on it).
 */
#ifndef CTNAT_INDEX_H
#define CTNAT_INDEX_H

#include "bits.h"
#include "index_hash.h"
#include "tuple_map.h"

#ifdef CTNAT_FETCH

_Static_assert(sizeof(struct index_row) == 2 * 64 &&
		       offsetof(struct index_row, cells) + (INDEX_CELLS - 1) * sizeof(struct index_cell) >=
			       64,
	       "a row is two cache lines, and its last cell in the second");

/* A key's row and tag. */
struct index_place {
	struct index_row *row;
	__u64 tag;
	__u64 zero;
};

inline_ bool index_find_place(struct index_place *at, const union tuple_key *key, const bool v6)
{
	const int words = (v6 ? sizeof(struct tuple6_key) : sizeof(struct tuple4_key)) / sizeof(__u32);
	struct index_head *head;
	__u32 which = 0;

	head = bpf_map_lookup_elem(&index_head, &which);
	if (!head)
		return false;
	in_memory(*key); /* it was written in other pieces than it is read in */
	which = index_hash(key->words, words, head, &at->tag);
	at->zero = head->zero;
	at->row = bpf_map_lookup_elem(&tuple_index, &which);
	return at->row;
}

/*
 * 1 if it is not 0, else 0. verifier: without a branch, as is everything that is done for each cell; and no
 * mask: of what it knows to be 0 or -1, 6.18 walks both ways through an AND with a constant.
 */
inline_ __u64 is_some(__u64 x)
{
	__u64 minus = -x;

	hide(minus); /* or the compiler sees what it is, and makes a branch of it */
	x = (x | minus) >> 63;
	hide(x);
	return x;
}

/* The reference that the row has for the tag; 0: none. At most one cell holds a key, the others add 0. */
inline_ __u64 index_read(const struct index_place *at)
{
	__u64 found = 0, differs, ref;

	UNROLL
	for (int i = 0; i < INDEX_CELLS; i++) {
		const struct index_cell *cell = &at->row->cells[i];

		differs = read_once(cell->tag) ^ at->tag;
		ref = read_once(cell->ref);
		/* once more: the cell may just have become another key's */
		differs |= read_once(cell->tag) ^ at->tag;
		found |= ref & (is_some(differs) - 1);
		hide(found);
	}
	return found;
}

/* A bit for each cell that has the tag. */
inline_ __u64 index_tagged(const struct index_place *at)
{
	__u64 found = 0;

	UNROLL
	for (int i = 0; i < INDEX_CELLS; i++) {
		found |= (is_some(read_once(at->row->cells[i].tag) ^ at->tag) ^ 1) << i;
		hide(found);
	}
	return found;
}

/* A bit for each free cell. */
inline_ __u64 index_free(const struct index_place *at)
{
	__u64 found = 0;

	UNROLL
	for (int i = 0; i < INDEX_CELLS; i++) {
		found |= (is_some(read_once(at->row->cells[i].tag)) ^ 1) << i;
		hide(found);
	}
	return found;
}

/* The first of some cells; INDEX_CELLS: there is none. */
inline_ __u32 index_first(__u64 cells)
{
	return lowest_bit(cells | 1 << INDEX_CELLS);
}

/* verifier: the bounds, which it has not seen */
inline_ struct index_cell *index_cell(const struct index_place *at, __u32 which)
{
	hide(which);
	return which < INDEX_CELLS ? &at->row->cells[which] : NULL;
}

/* A reference as a cell has it. The family is for who looks at all cells. */
inline_ __u64 index_word(const struct tuple_ref *ref, const bool v6)
{
	return ref->slot | (__u64)ref->gen << 32 | (__u64)ref->form << 48 | (__u64)v6 << 56;
}

/* Whether keys of the row are in the tuple map, or on their way. */
inline_ bool index_has_spilled(const struct index_place *at)
{
	return read_once(at->row->spilled) & SPILLED_MASK;
}

/* What a key leads to, as index_word() has it; 0: nobody holds it. */
inline_ __u64 index_find(const union tuple_key *key, const bool v6)
{
	struct index_place at;
	struct tuple_ref *ref;
	__u64 found;

	if (!index_find_place(&at, key, v6))
		return 0;
	found = index_read(&at);
	if (unlikely(!found && index_has_spilled(&at))) {
		ref = tuple_map_find(key, v6);
		if (ref)
			found = index_word(ref, v6);
	}
	found ^= at.zero; /* verifier: nothing is known of it, whichever way it was found */
	return found;
}

/* The key leaves the tuple map. */
inline_ void index_unspill(const struct index_place *at, const union tuple_key *key, const bool v6)
{
	if (!tuple_map_delete(key, v6))
		__sync_fetch_and_add(&at->row->spilled, -1);
}

/* The row has no room, and counts the key already. */
inline_ int index_spill(const struct index_place *at, const union tuple_key *key, const struct tuple_ref *ref,
			const bool v6)
{
	int err = tuple_map_update(key, ref, BPF_NOEXIST, v6);
	__u64 tagged;

	if (err) {
		__sync_fetch_and_add(&at->row->spilled, -1);
		return err;
	}
	bpf_spin_lock(&at->row->lock);
	tagged = index_tagged(at);
	__sync_fetch_and_add(&at->row->spilled, SPILLED_COME);
	bpf_spin_unlock(&at->row->lock);
	if (likely(!tagged))
		return 0;
	index_unspill(at, key, v6);
	return -EEXIST;
}

inline_ int index_claim(const union tuple_key *key, const struct tuple_ref *ref, const bool v6)
{
	struct index_place at;
	struct index_cell *cell;
	__u64 tagged, taken = 0;
	__u32 seen;

	if (!index_find_place(&at, key, v6))
		return -ENOENT;
	/* the row's other line comes with the first: behind the lock it would be waited for by itself. What
	 * the cell says is not used: it may be another's by then */
	(void)read_once(at.row->cells[INDEX_CELLS - 1].tag);
	seen = read_once(at.row->spilled);
	if (unlikely(seen & SPILLED_MASK)) {
		/* a full barrier, as its result is used: the word is read before the map */
		seen = __sync_fetch_and_add(&at.row->spilled, 0);
		taken = !!tuple_map_find(key, v6);
	}
	taken ^= at.zero; /* verifier: from here on it is one way whether it is */
	bpf_spin_lock(&at.row->lock);
	tagged = index_tagged(&at) | taken;
	/* no cell if one has come to the map since: the word's upper part has moved */
	cell = index_cell(
		&at, index_first(index_free(&at) & (is_some((seen ^ at.row->spilled) & ~SPILLED_MASK) - 1)));
	if (unlikely(tagged)) {
		bpf_spin_unlock(&at.row->lock);
		return -EEXIST;
	}
	if (unlikely(!cell)) {
		__sync_fetch_and_add(&at.row->spilled, 1);
		bpf_spin_unlock(&at.row->lock);
		return index_spill(&at, key, ref, v6);
	}
	write_once(cell->ref, index_word(ref, v6));
	barrier_compiler();
	write_once(cell->tag, at.tag);
	bpf_spin_unlock(&at.row->lock);
	return 0;
}

inline_ int index_replace(const union tuple_key *key, const struct tuple_ref *ref, const bool v6)
{
	struct index_cell *cell;
	struct index_place at;

	if (!index_find_place(&at, key, v6))
		return -ENOENT;
	bpf_spin_lock(&at.row->lock);
	cell = index_cell(&at, index_first(index_tagged(&at)));
	if (cell)
		write_once(cell->ref, index_word(ref, v6));
	bpf_spin_unlock(&at.row->lock);
	if (cell)
		return 0;
	return index_has_spilled(&at) ? tuple_map_update(key, ref, BPF_EXIST, v6) : -ENOENT;
}

inline_ void index_release(const union tuple_key *key, const bool v6)
{
	struct index_cell *cell;
	struct index_place at;

	if (!index_find_place(&at, key, v6))
		return;
	bpf_spin_lock(&at.row->lock);
	cell = index_cell(&at, index_first(index_tagged(&at)));
	if (cell)
		write_once(cell->tag, 0);
	bpf_spin_unlock(&at.row->lock);
	if (unlikely(!cell) && index_has_spilled(&at))
		index_unspill(&at, key, v6);
}

#endif

#endif
