/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The kernel's own hash maps of keys. */
#ifndef CTNAT_TUPLE_MAP_H
#define CTNAT_TUPLE_MAP_H

#include "maps.h"

enum { ENOENT = 2, EEXIST = 17 };

/* A key of either family, as it lies on the stack. */
union tuple_key {
	struct tuple4_key v4;
	struct tuple6_key v6;
	__u32 words[sizeof(struct tuple6_key) / sizeof(__u32)];
};

/* The same, where its words are read two at a time: at a place for that. */
union paired_key {
	union tuple_key tuple;
	__u64 pairs[sizeof(union tuple_key) / sizeof(__u64)];
};

inline_ struct tuple_ref *tuple_map_find(const union tuple_key *key, const bool v6)
{
	return v6 ? bpf_map_lookup_elem(&tuples6, &key->v6) : bpf_map_lookup_elem(&tuples4, &key->v4);
}

/*
 * One atomic step. It returns an int: before 6.4 a compiled program calls the map's function itself, which
 * returns one, and sees a negative value without its sign in the upper half.
 */
inline_ int tuple_map_update(const union tuple_key *key, const struct tuple_ref *ref, __u64 flags,
			     const bool v6)
{
	return v6 ? bpf_map_update_elem(&tuples6, &key->v6, ref, flags)
		  : bpf_map_update_elem(&tuples4, &key->v4, ref, flags);
}

inline_ int tuple_map_delete(const union tuple_key *key, const bool v6)
{
	return v6 ? bpf_map_delete_elem(&tuples6, &key->v6) : bpf_map_delete_elem(&tuples4, &key->v4);
}

#endif
