/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Per-CPU counters. Plain additions: a CPU runs one program of this hook at a time, and where a kernel lets
 * one interrupt another the race costs a count and nothing else. */
#ifndef CTNAT_METRICS_H
#define CTNAT_METRICS_H

#include "maps.h"

/* `which`: enum reason or enum metric_extra. */
inline_ void metric_count(__u32 which, enum hook_dir hook, __u32 bytes)
{
	__u32 key = which * HOOK_DIR_COUNT + hook;
	struct metric *m = bpf_map_lookup_elem(&metrics, &key);

	if (m) {
		m->packets += 1;
		m->bytes += bytes;
	}
}

inline_ void counter_add(enum counter which, __u64 n)
{
	__u32 key = which;
	__u64 *c = bpf_map_lookup_elem(&counters, &key);

	if (c)
		*c += n;
}

/* Retries of one port search; the last bucket counts refusals. */
inline_ void nat_retries_count(__u32 retries, bool refused)
{
	__u32 key = refused ? NAT_RETRIES_BUCKETS - 1 : retries;
	__u64 *c;

	if (!refused && key > NAT_RETRIES_BUCKETS - 2)
		key = NAT_RETRIES_BUCKETS - 2;
	c = bpf_map_lookup_elem(&nat_retries, &key);
	if (c)
		*c += 1;
}

#endif
