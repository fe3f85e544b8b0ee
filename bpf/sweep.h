/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The sweep, run by userspace through BPF_PROG_TEST_RUN: the kernel walks the slots and tears down what is
 * over, nothing is copied out, and every deadline is looked at again under the flow's kill half. The
 * request lies in the "packet" and keeps the cursor, so that one call with `repeat` walks the whole table,
 * on 4.19 too. A run ends at its first victim, which REAP ends (reap.h).
 */
#ifndef CTNAT_SWEEP_H
#define CTNAT_SWEEP_H

#include "calls.h"
#include "slot.h"
#include "verdict.h"

inline_ bool sweep_wants(const struct flow *f, const struct sweep_request *r, __u32 slot, __u32 now)
{
	if (!slot_is_idle(f)) /* an endpoint with flows; they go first */
		return false;
	switch (r->mode) {
	case SWEEP_EXPIRED:
		return flow_is_dead(f, now);
	case SWEEP_ALL:
		return true;
	case SWEEP_ONE:
	case SWEEP_ADDRESS:
		return f->gen == r->gen && slot == r->slot;
	default:
		return false;
	}
}

inline_ int sweep(struct __sk_buff *skb, const bool v6)
{
	struct sweep_request *r = (void *)(long)skb->data;
	__u32 now = clock_now(), cursor, limit, victim = SLOT_NONE, looked = 0, live = 0, status;
	struct flow *f;

	if ((void *)(r + 1) > (void *)(long)skb->data_end)
		return VERDICT_DROP;
	cursor = r->cursor;
	limit = r->limit;
	UNROLL_SWEEP
	for (__u32 i = 0; i < SWEEP_SCAN_STEP; i++) {
		__u32 slot = cursor + i;

		if (slot >= limit)
			break;
		f = flow_at(slot, v6);
		if (!f)
			break;
		looked++;
		status = read_once(f->status);
		if (!(status & (CT_CONFIRMED | CT_ENDPOINT)))
			continue;
		if (sweep_wants(f, r, slot, now)) {
			victim = slot;
			break;
		}
		live += status / CT_CONFIRMED & 1;
	}
	r->cursor = cursor + looked;
	r->looked += looked;
	r->live += live;
	if (victim != SLOT_NONE)
		hop_reap(skb, victim, REAP_FOR_SWEEP, v6);
	return VERDICT_PASS;
}

#endif
