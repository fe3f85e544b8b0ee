/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The time of a packet, in ticks of 2^24 ns of CLOCK_MONOTONIC (types.h). Taken once a packet. */
#ifndef CTNAT_CLOCK_H
#define CTNAT_CLOCK_H

#include "compiler.h"

inline_ __u32 clock_now(void)
{
#ifdef CTNAT_COARSE_CLOCK /* 5.11: the same clock as of the last timer tick, for less than half the price */
	return bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
#else
	return bpf_ktime_get_ns() >> TICK_SHIFT;
#endif
}

/* Whether tick a is before tick b; right while they are less than 2^31 ticks (1.1 years) apart. */
inline_ bool tick_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

/*
 * How long after its deadline a flow may be torn down, in ticks. A packet that found the flow alive just
 * before its deadline is done with it within this time, so that a sweep never takes a flow that such a
 * packet is about to prolong (invariant 7). Matching ends at the deadline itself.
 */
enum { TICK_GRACE = 60 };

#endif
