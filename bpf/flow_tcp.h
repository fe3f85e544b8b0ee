/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* Between a packet and the TCP machine (tcp.h): makes the segment, takes the machine's word into the flow. */
#ifndef CTNAT_FLOW_TCP_H
#define CTNAT_FLOW_TCP_H

#include "calls.h"
#include "clock.h"
#include "flow.h"
#include "tcp.h"
#include "tcp_options.h"

/*
 * Room for a header's options: before 5.12 the verifier takes no variable offset into the stack. Used
 * within one program only. On a kernel that lets one program interrupt another on its CPU (PREEMPT_RT) the
 * other's options might be read: a window scale or a SACK edge of another connection, which the next
 * acknowledgement makes good.
 */
struct tcp_option_room {
	__u8 bytes[TCP_OPTIONS_ROOM];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct tcp_option_room);
} tcp_option_rooms SEC(".maps");

/* Whether the options have something to say. They are read by a program of their own: a walk over 40 bytes
 * has too many ways through it for an old verifier to repeat it for each way through a hook. */
inline_ bool segment_has_options(struct __sk_buff *skb, const struct packet *p)
{
	__u32 first = 0;

	if (p->proto != IPPROTO_TCP || (p->flags & PACKET_FOLLOWER) || p->tcp_header <= 20)
		return false;
	return packet_words(skb, p->l4 + 20, &first, 1) && !tcp_options_are_plain(p->tcp_header - 20, first);
}

/* Reads them into skb->cb. */
inline_ void segment_read_options(struct __sk_buff *skb, const struct packet *p, const struct settings *s)
{
	__u32 length = p->tcp_header - 20, zero = 0;
	struct tcp_options options;
	struct tcp_option_room *room;

	room = bpf_map_lookup_elem(&tcp_option_rooms, &zero);
	if (!room)
		return;
	/* verifier: 1 to 64, which the room has; the header says at most 40 */
	length -= 1;
	hide(length);
	length &= 63;
	length += 1;
	if (bpf_skb_load_bytes(skb, p->l4 + 20, room->bytes, length))
		return;
	tcp_options_read(room->bytes, length, p->ack, s->zero, &options);
	skb->cb[0] = (skb->cb[0] & 0x00ffffff) | (__u32)options.scale << 24 | (__u32)options.flags << 28;
	skb->cb[4] = options.sack;
}

/* `tracked`: of a flow that is known; skb->cb[4] is another thing where one begins. */
inline_ void segment_make(struct __sk_buff *skb, const struct packet *p, enum ct_dir dir,
			  struct tcp_segment *seg, __u32 zero, const bool tracked)
{
	__builtin_memset(seg, 0, sizeof(*seg));
	seg->seq = p->seq;
	seg->ack = p->ack;
	seg->end = tcp_segment_end(p->seq, p->payload, p->tcp_flags);
	seg->sack = p->ack;
	seg->window = p->window;
	seg->flags = p->tcp_flags;
	seg->dir = dir;
	if (p->tcp_header > 20)
		seg->option_flags = TCP_HAS_OPTIONS;
	if (hop_flags(skb) & HOP_OPTIONS) {
		seg->scale = skb->cb[0] >> 24 & 0xf;
		seg->option_flags = skb->cb[0] >> 28;
		if (tracked)
			seg->sack = skb->cb[4];
	}
	blur(seg->scale, zero);
	blur(seg->option_flags, zero);
	blur(seg->sack, zero);
}

enum { LAST_PACKET_TICKS = 1 }; /* 17 to 34 ms */

inline_ enum track tcp_flow_track(struct __sk_buff *skb, struct flow *f, const struct packet *p,
				  enum ct_dir dir, __u32 now, const struct settings *s)
{
	struct tcp_segment seg;
	struct tcp_result result;
	__u32 remaining = read_once(f->deadline) - now;
	__u8 state = read_once(f->state); /* compared below with what it was: another CPU's change stays */

	if (unlikely(state == CT_TCP_NONE)) /* its last packet has been, and is on its way still */
		return TRACK_REPLACE;
	segment_make(skb, p, dir, &seg, s->zero, true);
	remaining &= ~((__s32)remaining >> 31); /* 0 when it is past */
	tcp_track_segment(f, &seg, remaining, s, &result);
	if (unlikely(result.verdict == TCP_VERDICT_REPLACE))
		return TRACK_REPLACE;
	if (result.status)
		flow_set_status(f, result.status);
	if (state != result.state)
		write_once(f->state, result.state);
	if (result.timeout)
		flow_prolong(f, now + result.timeout);
	if (unlikely(result.verdict == TCP_VERDICT_INVALID))
		return TRACK_INVALID;
	if (unlikely(result.verdict == TCP_VERDICT_DELETE)) {
		/* Nothing but a refusal was ever answered. The flow ends with this packet, but not before the
		 * packet has passed the other hook. Any other begins anew. */
		write_once(f->state, CT_TCP_NONE);
		write_once(f->deadline, now + LAST_PACKET_TICKS);
		return TRACK_LAST;
	}
	return TRACK_OK;
}

/* False: no connection begins with this segment. */
inline_ bool tcp_flow_begin(struct __sk_buff *skb, struct flow *f, const struct packet *p, __u32 now,
			    const struct settings *s)
{
	struct tcp_segment seg;
	struct tcp_result result = {};

	segment_make(skb, p, CT_DIR_ORIGINAL, &seg, s->zero, false);
	if (!tcp_begin(&f->tcp, &seg, s, &result))
		return false;
	f->state = result.state;
	f->deadline = now + result.timeout;
	return true;
}

#endif
