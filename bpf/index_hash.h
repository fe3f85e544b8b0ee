/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The row and the tag by which the index knows a key: two hashes by secrets that nobody outside knows. That
 * two keys have both in common is a chance of 2^-64 for each of a row's seven cells, and would have one of
 * the two flows not found: at 10^6 new flows a second once in some 70,000 years.
 *
 * What is hashed are two sums of NH (RFC 4418 section 5.2), for which the chance that two keys share both is
 * at most 2^-64 whoever chooses the keys, as long as he does not know the secrets; they are then mixed into a
 * tag and a row. Who can't tell which keys share a row can't fill one. src/tuple-index.ts computes the same.
 */
#ifndef CTNAT_INDEX_HASH_H
#define CTNAT_INDEX_HASH_H

#include "types.h"

inline_ __u64 index_sum(const __u32 *words, const __u32 *secrets, const int count)
{
	__u64 sum = 0;

	UNROLL
	for (int i = 0; i < count; i += 2) {
		sum += (__u64)(words[i] + secrets[i]) * (words[i + 1] + secrets[i + 1]);
		hide(sum); /* one after the other: there is no room to put all words aside */
	}
	return sum;
}

/* The row of a key of so many words, and its tag, which is not 0. */
inline_ __u32 index_hash(const __u32 *words, const int count, const struct index_head *head, __u64 *tag)
{
	const int v6 = count == sizeof(struct tuple6_key) / sizeof(__u32);
	__u64 a, b;

	/* the second sum's secrets are the first one's, two words on: RFC 4418's way to the smaller chance */
	a = index_sum(words, head->secrets, count) * 0x9e3779b97f4a7c15;
	b = (index_sum(words, head->secrets + 2, count) + v6) * 0xbf58476d1ce4e5b9;
	a ^= a >> 32;
	b ^= b >> 29;
	*tag = (a + b) * 0x94d049bb133111eb;
	*tag ^= *tag >> 31;
	*tag += !*tag;
	a = (a ^ b << 21 ^ b >> 43) * 0x9e3779b97f4a7c15 >> 32;
	return a * head->rows >> 32;
}

#endif
