/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
#ifndef CTNAT_BITS_H
#define CTNAT_BITS_H

#include "compiler.h"

/* The number of the lowest bit that is set. verifier: without a branch; so is all that is done for a word. */
inline_ __u32 lowest_bit(__u64 x)
{
	__u64 bit = x & -x;

	return -(bit & 0xaaaaaaaaaaaaaaaaULL) >> 63 | (-(bit & 0xccccccccccccccccULL) >> 63) << 1 |
	       (-(bit & 0xf0f0f0f0f0f0f0f0ULL) >> 63) << 2 | (-(bit & 0xff00ff00ff00ff00ULL) >> 63) << 3 |
	       (-(bit & 0xffff0000ffff0000ULL) >> 63) << 4 | (-(bit & 0xffffffff00000000ULL) >> 63) << 5;
}

#endif
