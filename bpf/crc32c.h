/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a CRC32c (RFC 9260 appendix A) changes with the first word of what it is made over. The sum is linear:
 * the sums of two texts of one length differ by the remainder of what the texts differ by, and a first word
 * is taken there by as many factors x^8 as the text has bytes. The rest of the text is not looked at.
 *
 * A polynomial is kept as the sum is: bit 31 is the factor of x^0. Compiles for BPF from Linux 4.19, where it
 * is straight through, and for the host, where the tests run it.
 */
#ifndef CTNAT_CRC32C_H
#define CTNAT_CRC32C_H

#include "compiler.h"

enum { CRC32C_LENGTH_BITS = 16 };

/* x^8, squared again and again: x to the power of 8 times each power of 2. */
#define CRC32C_POWERS                                                                                        \
	{                                                                                                    \
		0x00800000, 0x00008000, 0x82f63b78, 0x6ea2d55c, 0x18b8ea18, 0x510ac59a,                      \
		0xb82be955, 0xb8fdb1e7, 0x88e56f72, 0x74c360a4, 0xe4172b16, 0x0d65762a,                      \
		0x35d73a62, 0x28461564, 0xbf455269, 0xe2ea32dc,                                              \
	}

/*
 * The product of a polynomial and one that is known when this is compiled. verifier: without a branch, as all
 * of this, it would walk through each set of a length's bits by itself; by multiplying, because it takes a
 * mask of all ones or none for a branch (6.18). The factors are signed, because an instruction's operand is.
 */
inline_ __u64 crc32c_multiply(__u64 a, __u32 power)
{
	__u64 product = 0;

	UNROLL
	for (int i = 31; i >= 0; i--) {
		__u64 bit = a >> i & 1;

		hide(bit); /* the compiler makes branches of what it knows to be 0 or 1 */
		product ^= bit * (__s32)power;
		hide(product);
		power = power >> 1 ^ (0x82f63b78 & -(power & 1));
	}
	return product;
}

/*
 * By what the sum of `length` bytes, at most 65,535, changes when their first four change by `change`,
 * exclusive or, both as they lie in memory.
 */
inline_ __u32 crc32c_change(__u32 change, __u32 length)
{
	const __u32 powers[] = CRC32C_POWERS;
	__u64 sum = change;

	UNROLL
	for (int i = 0; i < CRC32C_LENGTH_BITS; i++) {
		__u64 counts = length >> i & 1;

		hide(counts);
		sum ^= (sum ^ crc32c_multiply(sum, powers[i])) * counts;
	}
	return sum;
}

#endif
