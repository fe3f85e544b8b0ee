/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The Internet checksum's arithmetic (RFC 1071, RFC 1624), which any order of bytes serves. */
#ifndef CTNAT_CHECKSUM_H
#define CTNAT_CHECKSUM_H

#include "compiler.h"

/* Folds a sum of less than 2^48 to 16 bits. */
inline_ __u32 checksum_fold(__u64 sum)
{
	sum = (sum & 0xffff) + (sum >> 16);
	sum = (sum & 0xffff) + (sum >> 16);
	return (sum & 0xffff) + (sum >> 16);
}

/* A complete checksum over something that grew by this much (mod 0xffff). */
inline_ __u16 checksum_grow(__u16 check, __u64 by)
{
	return ~checksum_fold((__u16)~check + by);
}

#endif
