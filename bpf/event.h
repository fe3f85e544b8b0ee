/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Events: one for each flow that begins, changes or ends, and for dropped packets; none for a packet that
 * changes nothing. Whether anybody wants one is a test of settings.events where the change is made.
 *
 * Each reader has a buffer of its own: the ring buffer since 5.8, before that one perf buffer per CPU. What
 * finds no room in it is lost for that reader, and counted. Events that two packets of one flow cause on two
 * CPUs in the same instant may both show the flow after both; if both changed it to the same, both tell.
 */
#ifndef CTNAT_EVENT_H
#define CTNAT_EVENT_H

#include "slot.h"
#include "verdict.h"

/* What every event says. `e` is all zeroes. */
inline_ void event_begin(struct event *e, enum event_type type, const bool v6)
{
	e->time = bpf_ktime_get_ns();
	e->cpu = bpf_get_smp_processor_id();
	e->type = type;
	e->family = v6 ? 6 : 4;
}

/* The flow as it is now. */
inline_ void event_of_flow(struct event *e, enum event_type type, const struct flow *f, __u32 slot,
			   const bool v6)
{
	const struct flow_extra *extra = extra_at(slot, v6);

	__builtin_memset(e, 0, sizeof(*e));
	event_begin(e, type, v6);
	e->slot = slot;
	e->gen = f->gen;
	e->status = f->status;
	e->proto = f->proto;
	e->state = f->state;
	e->nat = f->nat;
	e->flags = f->flags;
	e->zone = f->zone;
	e->rule = f->rule;
	e->created = f->created;
	e->deadline = f->deadline;
	if (extra) {
		e->ifindex = extra->ifindex;
		e->mark = extra->mark;
	}
	UNROLL
	for (enum ct_dir dir = 0; dir < CT_DIR_COUNT; dir++) {
		e->packets[dir] = f->counts[counts_of(dir)].packets;
		e->bytes[dir] = f->counts[counts_of(dir)].bytes;
		flow_tuple(f, dir, &e->tuple[dir], v6);
	}
}

inline_ bool event_matches(const struct event *e, const struct event_reader *r, const bool v6)
{
	__u32 differs = 0;

	UNROLL
	for (int i = 0; i < (v6 ? 4 : 1); i++) {
		differs |= (e->tuple[0].saddr[i] ^ r->saddr[i]) & r->smask[i];
		differs |= (e->tuple[0].daddr[i] ^ r->daddr[i]) & r->dmask[i];
	}
	return !differs && (!r->family || r->family == e->family) && (!r->proto || r->proto == e->proto);
}

inline_ long event_output(struct __sk_buff *skb, void *buffer, struct event *e)
{
#ifdef CTNAT_RINGBUF
	(void)skb;
	return bpf_ringbuf_output(buffer, e, sizeof(*e), 0);
#else
	return bpf_perf_event_output(skb, buffer, BPF_F_CURRENT_CPU, e, sizeof(*e));
#endif
}

/*
 * The next number of a reader's events on this CPU. Before 5.12 no addition says what it made: a packet that
 * comes between the addition and the look, on the same CPU, gets the same number, and the one before is left
 * out.
 */
inline_ __u64 event_number(struct event_count *count)
{
#ifdef CTNAT_FETCH
	return __sync_fetch_and_add(&count->sequence, 1) + 1;
#else
	__sync_fetch_and_add(&count->sequence, 1);
	return read_once(count->sequence);
#endif
}

/* To one reader. */
inline_ void event_send_to(struct __sk_buff *skb, struct event *e, __u32 reader, const bool v6)
{
	struct event_reader *r = bpf_map_lookup_elem(&event_readers, &reader);
	struct event_count *count;
	void *buffer;

	if (!r || !event_matches(e, r, v6))
		return;
	count = bpf_map_lookup_elem(&event_counts, &reader);
	buffer = bpf_map_lookup_elem(&event_reader_buffers, &reader);
	if (!count || !buffer)
		return;
	e->sequence = event_number(count);
	if (event_output(skb, buffer, e))
		__sync_fetch_and_add(&count->lost, 1);
}

/* `readers`: who wants it, settings.events of its type. */
inline_ void event_send(struct __sk_buff *skb, struct event *e, __u32 readers, const bool v6)
{
	UNROLL_LONG
	for (__u32 i = 0; i < EVENT_READERS; i++) {
		if (readers >> i & 1)
			event_send_to(skb, e, i, v6);
	}
}

/* EVENT: the packet has begun or changed its flow; hop_event() says the rest. */
inline_ int event_finish(struct __sk_buff *skb, const bool v6)
{
	__u32 slot = skb->cb[1], word = skb->cb[2], reason = skb->cb[3] & 0xff, at = skb->cb[3] >> 8 & 1;
	enum event_type type = word >> 16 & 1 ? EVENT_UPDATE : EVENT_NEW;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct event e;

	if (f && s) {
		event_of_flow(&e, type, f, slot, v6);
		/* one that has ended meanwhile has had its last event */
		if (e.gen == (word & 0xffff) && (e.status & CT_CONFIRMED))
			event_send(skb, &e,
				   type == EVENT_NEW ? s->events[EVENT_NEW] : s->events[EVENT_UPDATE], v6);
	}
	if (f && type == EVENT_NEW)
		slot_publish(f);
	if (reason == EVENT_NO_PACKET)
		return VERDICT_PASS;
	if (reason == EVENT_GO_ON) {
		hop_go(skb, at == HOOK_INGRESS ? CALL_INGRESS : CALL_EGRESS, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	return verdict_end(skb, at, reason);
}

/* Whether one more drop of this reason may be told in this tick; *suppressed: how many were not before it. */
inline_ bool event_may_tell(enum reason reason, __u32 now, __u32 *suppressed)
{
	__u32 key = reason - REASON_DROP_FIRST;
	struct event_allowance *a = bpf_map_lookup_elem(&event_allowances, &key);

	if (!a)
		return false;
	if (a->tick != now) {
		a->tick = now;
		a->told = 0;
	}
	if (a->told >= EVENT_DROPS_PER_TICK) {
		a->suppressed += 1;
		return false;
	}
	a->told += 1;
	*suppressed = a->suppressed;
	a->suppressed = 0;
	return true;
}

/* verdict_drop() says why and where. What of the packet could not be read is 0. */
inline_ void event_tell_drop(struct __sk_buff *skb, const bool v6)
{
	__u32 reason = skb->cb[1] & 0xff, at = skb->cb[1] >> 8 & 1, suppressed = 0;
	struct settings *s = settings_get();
	struct event e = {};
	struct packet p;

	if (!s || !event_may_tell(reason, clock_now(), &suppressed))
		return;
	packet_parse(skb, v6, hop_l2(skb), &p);
	packet_blur(&p, s->zero);
	event_begin(&e, EVENT_DROP, v6);
	e.cause = reason;
	e.hook = at;
	e.proto = p.proto;
	e.state = p.icmp_type;
	e.ifindex = skb->ifindex;
	e.mark = skb->mark;
	e.suppressed = suppressed;
	e.length = p.length;
	address_copy(e.tuple[0].saddr, p.tuple.saddr, v6);
	address_copy(e.tuple[0].daddr, p.tuple.daddr, v6);
	e.tuple[0].sport = p.tuple.sport;
	e.tuple[0].dport = p.tuple.dport;
	event_send(skb, &e, s->events[EVENT_DROP], v6);
}

/* DROP. */
inline_ int event_drop(struct __sk_buff *skb, const bool v6)
{
	__u32 reason = skb->cb[1] & 0xff;

	event_tell_drop(skb, v6);
	if (reason == REASON_DROP_NO_PORT || reason == REASON_DROP_LIMIT_PORTS ||
	    reason == REASON_DROP_LIMIT_RATE)
		hop_go(skb, CALL_REFUSE, v6); /* its sender is told as well */
	return VERDICT_DROP;
}

#endif
