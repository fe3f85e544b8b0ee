/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The Internet checksum (RFC 1071) of packets that test programs make: words are added up as they lie in
 * memory, and a sum of sums is folded once. Up to 65,537 words do not overflow.
 */
#ifndef CTNAT_TEST_INTERNET_SUM_H
#define CTNAT_TEST_INTERNET_SUM_H

#include <linux/types.h>

#define inline_ static __attribute__((always_inline)) inline

/* `words`: a constant. */
inline_ __u32 sum16(const void *from, int words)
{
	const __u16 *word = from;
	__u32 sum = 0;

#pragma clang loop unroll(full)
	for (int i = 0; i < words; i++)
		sum += word[i];
	return sum;
}

/* What belongs into the field. */
inline_ __u16 fold(__u32 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return ~sum;
}

#endif
