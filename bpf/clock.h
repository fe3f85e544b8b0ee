/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* The time of a packet, in ticks of 2^24 ns of CLOCK_MONOTONIC (types.h). Taken once a packet. */
#ifndef CTNAT_CLOCK_H
#define CTNAT_CLOCK_H

#include "compiler.h"
#include "maps.h"

/*
 * CTNAT_COARSE_CLOCK (5.11): the same clock as of the last timer tick, asked once a timer tick. To ask it
 * costs as much as half a hash look-up, to read jiffies nothing. The answer and the jiffies that it belongs
 * to are one word, so nobody sees half of it; two CPUs that find it out of date write the same. A word whose
 * answer was got while jiffies moved on is right, too, or one timer tick old.
 */
inline_ __u32 clock_now(void)
{
#ifdef CTNAT_COARSE_CLOCK
	__u32 key = 0, jiffies = bpf_jiffies64(), tick;
	struct clock_tick *kept = bpf_map_lookup_elem(&clock_ticks, &key);
	__u64 word = kept ? read_once(kept->word) : 0;

	if (likely(word && word >> 32 == jiffies))
		return word;
	tick = bpf_ktime_get_coarse_ns() >> TICK_SHIFT;
	if (kept)
		write_once(kept->word, (__u64)jiffies << 32 | tick);
	return tick;
#else
	return bpf_ktime_get_ns() >> TICK_SHIFT;
#endif
}

/*
 * What is the same from one tick of the kernel's timer (1 to 10 ms) to the next, and not again for weeks at
 * least; where jiffies can't be read, 4.2 ms of CLOCK_MONOTONIC.
 */
inline_ __u32 clock_moment(void)
{
#ifdef CTNAT_COARSE_CLOCK
	return bpf_jiffies64();
#else
	return bpf_ktime_get_ns() >> 22;
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
