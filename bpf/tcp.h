/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TCP tracking as Netfilter does it: from a flow's track, state and status and one segment to a verdict,
 * the next state and the timeout. It judges nothing but TCP, reads no packet, map or clock, and compiles
 * for BPF from Linux 4.19 (no loop, no data section, no call) and for the host, where the tests run it.
 *
 * RFC 9293 (states, acceptable segments), RFC 7323 (window scale), RFC 2018 (SACK), RFC 5961 (RST and SYN
 * against an open connection: challenge ACKs). test/e2e/tcp-netfilter.test.ts compares it with the running
 * kernel's nf_conntrack, segment by segment; what differs on purpose is listed in docs/tcp.md.
 *
 * Races. Nothing is locked and two CPUs may judge segments of one flow at once. Every field is stored
 * whole, so a reader sees an old or a new value, never a mixture, and every value that a sender was ever
 * given was right for some order of the segments.
 * - Directions on different CPUs (the usual case): once the connection stands, a sender's end, maxack and
 *   flags are written by its own direction only, its maxend by the other only. What both write:
 *   unacked, when an acknowledgement of everything crosses new data: the flow gets the timeout of the
 *   other case until its next segment. maxwin, when a segment overshoots while the window grows: the
 *   window is judged smaller by one announcement until the next.
 *   last_*, notes, retrans: a repetition goes uncounted, a RST that follows its own data at once counts
 *   as one in the window (timeout of CLOSE, state kept), an ignored SYN is forgotten and its connection is
 *   judged by the RST or the SYN's retransmission that follows.
 *   The state, which the caller stores: when two FINs cross, the flow may count one and ends by the timeout
 *   of FIN_WAIT or CLOSE_WAIT instead of LAST_ACK's. A caller that stores it only where it differs from
 *   the one that was judged never takes back the other direction's FIN with an ACK.
 * - One direction on two CPUs (packets sprayed over queues): end, maxend or maxack may fall back to what
 *   the slower CPU stored. Too low an end makes the peer's acknowledgement of the newest data invalid,
 *   which to TCP is a lost ACK; the next segment, at the latest the retransmission, moves end up again.
 *   Too low a maxend is made good by the next acknowledgement, too low a maxack only admits an older RST.
 * - SYNs that start a connection are one after the other by their nature: a SYN and its answer can't cross.
 *   Simultaneous opens can; both store the same fields of different senders, and the scale byte may lose
 *   one side's shift: windows are then judged too small until the connection's third segment is over
 *   bounds, which drops segments of this one connection, never lets foreign ones in.
 */
#ifndef CTNAT_TCP_H
#define CTNAT_TCP_H

#include "compiler.h"
#include "tcp_options.h"

/* Bits of the header's flag byte (RFC 9293 section 3.1). */
enum tcp_bits {
	TCP_FIN = 1 << 0,
	TCP_SYN = 1 << 1,
	TCP_RST = 1 << 2,
	TCP_PSH = 1 << 3,
	TCP_ACK = 1 << 4,
	TCP_URG = 1 << 5,
	TCP_KIND_MASK = TCP_FIN | TCP_SYN | TCP_RST | TCP_ACK, /* what tells the kinds of segments apart */
};

/* tcp_track.flags, of one sender. */
enum tcp_sender_flags {
	TCP_SENDER_SCALES = TCP_HAS_SCALE, /* its SYN carried a window scale */
	TCP_SENDER_SACKS = TCP_HAS_SACK_PERMITTED,
	TCP_SENDER_CLOSED = 1 << 2,  /* its FIN was the first */
	TCP_SENDER_LIBERAL = 1 << 3, /* out of its window is all right: its history is not known */
	TCP_SENDER_ACKED = 1 << 4,   /* maxack is set */
};

enum tcp_notes {
	TCP_NOTE_CHALLENGE = 1 << 0, /* the SYN that was let through met LAST_ACK: the next ACK may answer it,
					and not the FIN */
	TCP_NOTE_SIMULTANEOUS = 1 << 1, /* both sides have sent a SYN */
	TCP_NOTE_WINDOW_SHIFT = 2,
	TCP_NOTE_WINDOW = 1 << TCP_NOTE_WINDOW_SHIFT, /* the segment of last_end offered a window */
};

/* tcp_track.last_mark of a SYN that was let through. */
enum {
	TCP_MARK_SCALE_SHIFT = 16,     /* above the window as in the header: four bits */
	TCP_MARK_FLAGS_SHIFT = 16 + 4, /* TCP_SENDER_SCALES, TCP_SENDER_SACKS */
};

enum {
	TCP_LAST_REPLY = 1 << 7, /* in tcp_track.last_kind: the last segment was the reply side's */
	/* How far behind an acknowledgement may lag at least: the largest window without scaling, and a
	   segment. */
	TCP_STALE_ACK_MIN = 66000,
	/* Ticks, 120 s: what lives no longer than this is not cut short by an invalid FIN or RST. */
	TCP_HALF_DEAD_MIN = 7153,
};

/* One segment, in host byte order. Tracking adjusts seq, ack, end and sack in place: it is read once. */
struct tcp_segment {
	__u32 seq;
	__u32 ack;  /* as in the header, whether its ACK bit is set or not */
	__u32 end;  /* seq + payload bytes + SYN + FIN */
	__u32 sack; /* tcp_options.sack; = ack when no options were read */
	__u16 window;
	__u8 flags;	   /* enum tcp_bits */
	__u8 scale;	   /* of a SYN's options, as option_flags */
	__u8 option_flags; /* enum tcp_option_flags */
	__u8 dir;	   /* enum ct_dir */
	__u8 pad[2];
};

enum tcp_verdict {
	TCP_VERDICT_ACCEPT,  /* belongs to the flow */
	TCP_VERDICT_IGNORE,  /* passes as the flow's, which does not believe it: no state, no deadline */
	TCP_VERDICT_INVALID, /* not this flow's, whose deadline it may still cut short */
	TCP_VERDICT_REPLACE, /* begins a new connection: tear the flow down and look the packet up again */
	TCP_VERDICT_DELETE,  /* passes as the flow's, which ends with it: a refused port */
};

struct tcp_result {
	__u32 timeout; /* ticks from now to the new deadline; 0: the deadline stays (settings hold no 0) */
	__u16 status;  /* enum ct_status bits that the flow gains, with any verdict */
	__u8 verdict;  /* enum tcp_verdict */
	__u8 state;    /* enum ct_tcp_state that the flow has from now on; unchanged unless ACCEPT */
};

/*
 * Sequence numbers compare by the sign of their distance in 32 bits (RFC 9293 section 3.4); what is above
 * these bits is ignored. Before v3 BPF computes in 64 bits only: the sign is shifted to where it sees it,
 * and hidden there from a compiler that would load a mask.
 */
inline_ bool seq_before(__u64 a, __u64 b)
{
	__u64 distance = (a - b) << 32;

	hide(distance);
	return (__s64)distance < 0;
}

inline_ bool seq_after(__u64 a, __u64 b)
{
	return seq_before(b, a);
}

inline_ __u32 lower(__u32 a, __u32 b)
{
	return a < b ? a : b;
}

inline_ __u32 window_or_one(__u32 window)
{
	return window ? window : 1;
}

inline_ __u32 tcp_segment_end(__u32 seq, __u32 payload, __u8 flags)
{
	return seq + payload + !!(flags & TCP_SYN) + !!(flags & TCP_FIN);
}

/*
 * Whether some TCP sends this combination of flags: SYN, FIN+ACK and ACK with or without URG, SYN+ACK, RST
 * with or without ACK; PSH, ECE and CWR never matter.
 */
inline_ bool tcp_flags_are_valid(__u32 flags)
{
	/* one bit for each of the 64 combinations of the low six flags, PSH taken out */
	const __u64 valid = 1ULL << TCP_SYN | 1ULL << (TCP_SYN | TCP_URG) | 1ULL << (TCP_SYN | TCP_ACK) |
			    1ULL << TCP_RST | 1ULL << (TCP_RST | TCP_ACK) | 1ULL << (TCP_FIN | TCP_ACK) |
			    1ULL << (TCP_FIN | TCP_ACK | TCP_URG) | 1ULL << TCP_ACK |
			    1ULL << (TCP_ACK | TCP_URG);

	return valid >> (flags & (TCP_KIND_MASK | TCP_URG)) & 1;
}

/*
 * The transition table, a row for each kind of segment and direction, a digit for each state: the next
 * state, e for a segment that is let through and not believed, f for an invalid one. Immediates, because
 * before 5.2 a program has no data. Digits above SYN_SENT2's are f, so that no state leads out of the enum.
 *
 * Columns from the right: NONE SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE
 * SYN_SENT2.
 */
#define TCP_ROW_SYN_ORIGINAL	0xffffff911eeeee11ULL
#define TCP_ROW_SYN_REPLY	0xffffff9f1fffff9fULL
#define TCP_ROW_SYNACK_ORIGINAL 0xffffff2ffffff2ffULL
#define TCP_ROW_SYNACK_REPLY	0xffffff2eeeeeee2fULL
#define TCP_ROW_FIN		0xfffffff8766644ffULL
#define TCP_ROW_ACK_ORIGINAL	0xfffffff8775533f3ULL
#define TCP_ROW_ACK_REPLY	0xffffffe8775532efULL
#define TCP_ROW_RST		0xffffff888888888fULL

enum { TCP_NEXT_IGNORE = 0xe, TCP_NEXT_INVALID = 0xf };

inline_ __u32 tcp_next_state(__u32 state, __u32 flags, bool reply)
{
	__u64 row;

	if (flags & TCP_RST)
		row = TCP_ROW_RST;
	else if (flags & TCP_SYN && flags & TCP_ACK)
		row = reply ? TCP_ROW_SYNACK_REPLY : TCP_ROW_SYNACK_ORIGINAL;
	else if (flags & TCP_SYN)
		row = reply ? TCP_ROW_SYN_REPLY : TCP_ROW_SYN_ORIGINAL;
	else if (flags & TCP_FIN)
		row = TCP_ROW_FIN;
	else
		row = reply ? TCP_ROW_ACK_REPLY : TCP_ROW_ACK_ORIGINAL;
	return row >> (state & 0xf) * 4 & 0xf;
}

/*
 * One segment's view of the flow: its sender's and its receiver's part.
 * verifier: both are made of an index that is bounded where it is used, and pointers keep their bounds
 * when they are spilled; numbers do not before 5.12.
 */
struct tcp_view {
	struct tcp_track *track;
	struct tcp_sender *sender;
	struct tcp_sender *receiver;
	__u64 reply; /* 1 or 0 */
};

enum { TCP_SIDE = offsetof(struct tcp_track, reply) }; /* from the original side to the reply side */

_Static_assert(!offsetof(struct tcp_track, original) &&
		       offsetof(struct tcp_track, reply_flags) ==
			       offsetof(struct tcp_track, original_flags) + TCP_SIDE &&
		       offsetof(struct tcp_track, reply_unacked) ==
			       offsetof(struct tcp_track, original_unacked) + TCP_SIDE,
	       "a sender's bytes are found by its own address");

inline_ void tcp_view_set(struct tcp_view *view, struct tcp_track *track, __u64 reply)
{
	__u64 own = reply * TCP_SIDE, other = own ^ TCP_SIDE;

	hide(own);
	own &= TCP_SIDE;
	hide(other);
	other &= TCP_SIDE;
	view->track = track;
	view->sender = (struct tcp_sender *)((__u8 *)track + own);
	view->receiver = (struct tcp_sender *)((__u8 *)track + other);
	view->reply = reply;
}

inline_ __u8 *tcp_flags_of(struct tcp_sender *sender)
{
	return (__u8 *)sender + offsetof(struct tcp_track, original_flags);
}

inline_ __u8 *tcp_unacked_of(struct tcp_sender *sender)
{
	return (__u8 *)sender + offsetof(struct tcp_track, original_unacked);
}

/* Where the sender's window scale is in tcp_track.scale. */
inline_ __u64 tcp_scale_shift(const struct tcp_view *view)
{
	return view->reply << 2;
}

/* The window of a segment that is no SYN, in bytes. */
inline_ __u64 tcp_scaled(const struct tcp_view *view, __u64 window)
{
	return window << (view->track->scale >> tcp_scale_shift(view) & 0xf);
}

/* A sender begins (again) with this SYN. RFC 7323 section 2.2: windows scale only if both sides said so. */
inline_ void tcp_sender_begin(const struct tcp_view *view, volatile struct tcp_segment *seg)
{
	struct tcp_track *track = view->track;
	__u8 scale = track->scale;

	view->sender->end = seg->end;
	view->sender->maxend = seg->end;
	view->sender->maxwin = window_or_one(seg->window);
	if (seg->option_flags & TCP_HAS_OPTIONS) {
		*tcp_flags_of(view->sender) = (*tcp_flags_of(view->sender) & TCP_SENDER_LIBERAL) |
					      (seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS));
		*tcp_unacked_of(view->sender) = 0;
		scale = (scale & 0xf0 >> tcp_scale_shift(view)) | seg->scale << tcp_scale_shift(view);
	}
	if (view->reply && !(track->original_flags & track->reply_flags & TCP_SENDER_SCALES))
		scale = 0;
	track->scale = scale;
}

/* verifier: without a branch, for all that follows would be walked through twice. */
inline_ void tcp_note_window(struct tcp_track *track, __u64 window)
{
	window = -window;
	hide(window);
	track->notes = (track->notes & ~TCP_NOTE_WINDOW) | window >> 63 << TCP_NOTE_WINDOW_SHIFT;
}

/*
 * Remembers a segment that is let through without being believed: the flow may be a leftover and the
 * segment right. The peer's answer tells (tcp_adopt, tcp_judge_rst).
 */
inline_ void tcp_remember(const struct tcp_view *view, volatile struct tcp_segment *seg, __u32 state,
			  __u8 kind)
{
	struct tcp_track *track = view->track;

	track->last_kind = kind;
	track->last_end = seg->end;
	tcp_note_window(track, seg->window);
	track->last_mark = ~seg->ack; /* no mark of an ACK with this acknowledgement */
	if (kind != TCP_SYN)	      /* the original side's, unlike one with TCP_LAST_REPLY */
		return;
	track->last_mark = (__u64)(seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS))
				   << TCP_MARK_FLAGS_SHIFT |
			   (__u64)seg->scale << TCP_MARK_SCALE_SHIFT | seg->window;
	track->notes &= TCP_NOTE_WINDOW;
	if (state == CT_TCP_LAST_ACK)
		track->notes |= TCP_NOTE_CHALLENGE;
}

/*
 * The server's SYN+ACK answers the very SYN that was let through: both ends agree on a new connection and
 * the flow becomes that. The original side is as that SYN said, the reply side is about to begin.
 */
inline_ void tcp_adopt(struct tcp_track *track)
{
	__u32 syn = track->last_mark;

	track->original.end = track->last_end;
	track->original.maxend = track->last_end;
	track->original.maxwin = window_or_one(syn & 0xffff);
	track->reply.maxwin = 0; /* it begins */
	track->original_flags = syn >> TCP_MARK_FLAGS_SHIFT & (TCP_SENDER_SCALES | TCP_SENDER_SACKS);
	track->reply_flags &= TCP_SENDER_LIBERAL;
	track->original_unacked = 0;
	track->reply_unacked = 0;
	track->scale = syn >> TCP_MARK_SCALE_SHIFT & 0xf;
	track->notes &= ~TCP_NOTE_CHALLENGE;
}

enum tcp_rst {
	TCP_RST_INVALID = 1 << 0,
	TCP_RST_BELIEVED = 1 << 1, /* whatever the window says */
	TCP_RST_INEXACT =
		1 << 2, /* the connection stays open: its receiver may challenge (RFC 5961 section 3.2) */
};

/*
 * How far a RST is to be trusted, as enum tcp_rst bits; 0: it ends the connection if it is in the window.
 * A flow that is closing may be of an older connection of the same tuple, of which nothing is known: the
 * RST is believed. In an open connection it must hit exactly what its receiver last acknowledged, or
 * follow its own sender's last segment. A SYN that was just let through makes what is known doubtful.
 */
inline_ __u32 tcp_judge_rst(const struct tcp_view *view, volatile struct tcp_segment *seg, __u32 state,
			    __u32 status, __u32 settings_flags)
{
	const struct tcp_track *track = view->track;
	__u32 judged = 0, last = track->last_kind, last_kind = last & TCP_KIND_MASK, maxack;
	bool open, answers;

	if (state >= CT_TCP_FIN_WAIT && state <= CT_TCP_CLOSE)
		return TCP_RST_BELIEVED;
	answers = last >> 7 != view->reply;
	if (*tcp_flags_of(view->receiver) & TCP_SENDER_ACKED && last_kind != TCP_SYN) {
		open = state == CT_TCP_ESTABLISHED && status & CT_ASSURED;
		maxack = view->receiver->maxack;
		if (!open && !seg->seq)
			return 0;
		if (seq_before(seg->seq, maxack) && !(settings_flags & SETTING_TCP_IGNORE_INVALID_RST))
			return TCP_RST_INVALID;
		if (!open || seg->seq == maxack)
			return 0;
		if (last_kind == TCP_ACK && !answers && seg->seq == track->last_end)
			return 0;
		judged = TCP_RST_INEXACT;
	}
	/* It may answer a segment that was let through, which the window does not know of. */
	if (seg->ack == track->last_end) {
		if ((last_kind == TCP_SYN && answers && status & CT_SEEN_REPLY) ||
		    (last_kind == TCP_ACK && !(status & CT_ASSURED)))
			return TCP_RST_BELIEVED;
	}
	/* A challenge ACK to a SYN comes from the peer's older connection: this RST ends that one. */
	if (state == CT_TCP_SYN_SENT && last == (TCP_ACK | TCP_LAST_REPLY) && seg->seq == ~track->last_mark)
		return TCP_RST_BELIEVED;
	return judged;
}

/* What an ACK's header says, all of it that tracking needs. */
struct tcp_ack {
	__u32 seq;
	__u32 end;
	__u32 ack;
	__u32 sack;
	__u16 window; /* as in the header */
};

/*
 * Tells an ACK from others with the same end, by its acknowledgement, window and length. Multiplied, for the
 * three grow together: two that differ have one mark by chance only, one pair in 2^32.
 */
inline_ __u32 tcp_mark(const struct tcp_ack *seg)
{
	return seg->ack + ((__u32)seg->window << 16 ^ (seg->end - seg->seq)) * 0x9e3779b1;
}

/* Counts ACKs that repeat the flow's last one: neither side gets on. */
inline_ void tcp_count_repetition(const struct tcp_view *view, const struct tcp_ack *seg)
{
	struct tcp_track *track = view->track;
	__u32 mark = tcp_mark(seg);

	if (track->last_kind >> 7 == view->reply && track->last_end == seg->end && track->last_mark == mark) {
		if (track->retrans != 0xff)
			track->retrans++;
		return;
	}
	track->last_end = seg->end;
	track->last_mark = mark;
	tcp_note_window(track, seg->window);
	track->retrans = 0;
}

enum tcp_place {
	TCP_INSIDE,  /* of the window: acceptable */
	TCP_BEHIND,  /* data or acknowledgement are old */
	TCP_BEYOND,  /* it begins behind what the receiver allowed */
	TCP_OUTSIDE, /* acknowledges what was never sent, or is old and beyond at once */
};

/*
 * Where a segment lies to what is known (RFC 9293 section 3.4, as far as one in the middle can tell). Four
 * bounds: nothing beyond what the receiver allowed, no acknowledgement of what was never sent, and neither of
 * them too far behind.
 */
inline_ enum tcp_place tcp_place(const struct tcp_view *view, __u32 seq, __u32 end, __u32 sack)
{
	const struct tcp_sender *sender = view->sender, *receiver = view->receiver;
	__u32 edge = sender->maxwin;

	if (seq_after(sack, receiver->end))
		return TCP_OUTSIDE;
	if (edge < TCP_STALE_ACK_MIN)
		edge = TCP_STALE_ACK_MIN;
	if ((receiver->maxwin && seq_before((__u64)end + receiver->maxwin, sender->end)) ||
	    seq_before((__u64)sack + edge, receiver->end))
		return seq_after(seq, sender->maxend) ? TCP_OUTSIDE : TCP_BEHIND;
	return seq_after(seq, sender->maxend) ? TCP_BEYOND : TCP_INSIDE;
}

/* What a segment inside the window says. `window` is scaled; `acks`: it has the ACK bit. */
inline_ void tcp_learn(const struct tcp_view *view, const struct tcp_ack *seg, __u64 window, bool acks)
{
	struct tcp_sender *sender = view->sender, *receiver = view->receiver;
	__u32 edge;

	/* What the sender said: the window counts from the acknowledgement, SACKed data lies inside it. */
	edge = window + (seg->sack - seg->ack);
	if (sender->maxwin < edge)
		sender->maxwin = edge;
	if (seq_after(seg->end, sender->end)) {
		sender->end = seg->end;
		*tcp_unacked_of(view->sender) = 1;
	}
	if (acks &&
	    (!(*tcp_flags_of(view->sender) & TCP_SENDER_ACKED) || seq_after(seg->ack, sender->maxack))) {
		sender->maxack = seg->ack;
		*tcp_flags_of(view->sender) |= TCP_SENDER_ACKED;
	}
	/* What that means for the receiver. */
	if (receiver->maxwin && seq_after(seg->end, sender->maxend))
		receiver->maxwin += seg->end - sender->maxend;
	edge = seg->sack + window;
	if (!seq_before(edge, receiver->maxend)) {
		if (!window)
			edge++;
		receiver->maxend = edge;
	}
	if (seg->ack == receiver->end)
		*tcp_unacked_of(view->receiver) = 0;
}

/*
 * Whether the segment is acceptable, and what is learnt from it. What lies behind can do no harm and is let
 * through; nothing is learnt from it.
 */
inline_ enum tcp_verdict tcp_check_window(const struct tcp_view *view, volatile struct tcp_segment *seg,
					  __u32 state, __u32 settings_flags)
{
	struct tcp_sender *sender = view->sender, *receiver = view->receiver;
	enum tcp_verdict verdict = TCP_VERDICT_IGNORE;
	__u64 window = seg->window;
	enum tcp_place place;
	struct tcp_ack at;

	if (!(*tcp_flags_of(view->receiver) & TCP_SENDER_SACKS))
		seg->sack = seg->ack;
	if (seg->flags & TCP_SYN) {
		/* the first of this side, or one that begins again before the connection stands */
		if (!sender->maxwin || (state <= CT_TCP_SYN_RECV && seq_after(seg->end, sender->end))) {
			tcp_sender_begin(view, seg);
			if (view->reply && !(seg->flags & TCP_ACK))
				return TCP_VERDICT_ACCEPT; /* simultaneous open */
		}
	} else {
		window = tcp_scaled(view, window);
		if (!sender->maxwin) {
			/* the first of this side in a flow that was picked up: begin with what it says */
			sender->end = seg->end;
			sender->maxwin = window_or_one(window);
			sender->maxend = seg->end + window_or_one(window);
			if (!receiver->maxwin)
				receiver->end = receiver->maxend = seg->sack;
			else if (seg->sack == receiver->end + 1)
				receiver->end++; /* answers a keep-alive, which takes one byte too few */
		}
		if (seg->flags & TCP_RST) {
			/* Some TCPs send RST+ACK with no acknowledgement in it. */
			if (!seg->ack)
				seg->ack = seg->sack = receiver->end;
			/* A refused SYN: there was no acknowledgement to take a sequence number from. */
			if (!seg->seq && state == CT_TCP_SYN_SENT)
				seg->seq = seg->end = sender->end;
		}
	}
	if (!(seg->flags & TCP_ACK))
		seg->ack = seg->sack = receiver->end;

	at = (struct tcp_ack){seg->seq, seg->end, seg->ack, seg->sack, seg->window};
	place = tcp_place(view, at.seq, at.end, at.sack);
	if (place == TCP_OUTSIDE)
		goto out;
	if (place == TCP_BEHIND)
		goto ignore;
	if (place == TCP_BEYOND) {
		/*
		 * Some TCPs send a little more than they may. If the receiver takes it, the acknowledgement
		 * will come, and must find it sent.
		 */
		if ((__u32)(at.end - sender->maxend + 1) > receiver->maxwin)
			goto out;
		sender->end = at.end;
		*tcp_unacked_of(view->sender) = 1;
		goto ignore;
	}
	tcp_learn(view, &at, window, seg->flags & TCP_ACK);
	if ((seg->flags & TCP_KIND_MASK) == TCP_ACK)
		tcp_count_repetition(view, &at);
	return TCP_VERDICT_ACCEPT;

out:
	verdict = TCP_VERDICT_INVALID;
ignore:
	hide(verdict);
	if (*tcp_flags_of(view->sender) & TCP_SENDER_LIBERAL || settings_flags & SETTING_TCP_LIBERAL)
		return TCP_VERDICT_ACCEPT;
	return verdict;
}

/*
 * The timeout of a segment that was accepted: the state's, cut where the connection does not get on (the
 * same ACK again and again), is being reset, has data underway or has closed its window.
 */
inline_ __u32 tcp_timeout(const struct tcp_track *track, __u32 next, __u32 flags,
			  const struct settings *settings)
{
	__u32 timeout;

	hide(next);
	timeout = settings->timeouts[next & 0xf];
	if (track->retrans >= settings->tcp_max_retrans &&
	    timeout > settings->timeouts[CT_TIMEOUT_TCP_RETRANS])
		return settings->timeouts[CT_TIMEOUT_TCP_RETRANS];
	if (flags & TCP_RST)
		return settings->timeouts[CT_TIMEOUT_TCP_CLOSE];
	if (track->original_unacked | track->reply_unacked &&
	    timeout > settings->timeouts[CT_TIMEOUT_TCP_UNACK])
		return settings->timeouts[CT_TIMEOUT_TCP_UNACK];
	if (!(track->notes & TCP_NOTE_WINDOW))
		return lower(timeout, settings->timeouts[CT_TIMEOUT_TCP_RETRANS]);
	return timeout;
}

/* Whether a flow may begin with a segment of these flags; tcp_begin decides the same. */
inline_ bool tcp_can_begin(__u32 flags, __u32 settings_flags)
{
	__u32 kind = flags & TCP_KIND_MASK;

	return kind == TCP_SYN || (kind == TCP_ACK && settings_flags & SETTING_TCP_LOOSE);
}

/*
 * Whether a flow may begin with this segment, and the track of the flow that does: a SYN, or when
 * SETTING_TCP_LOOSE is set an ACK out of a connection that stands already. `result` is set when it may;
 * its verdict is ACCEPT, its status 0.
 *
 * A flow that was picked up is liberal on both sides until a side begins anew with a SYN: neither the
 * windows' scale nor what was acknowledged is known.
 */
inline_ bool tcp_begin(struct tcp_track *track, const struct tcp_segment *seg,
		       const struct settings *settings, struct tcp_result *result)
{
	const __u32 *timeouts = settings->timeouts;
	__u32 window = window_or_one(seg->window);

	if (!tcp_can_begin(seg->flags, settings->flags))
		return false;
	__builtin_memset(track, 0, sizeof(*track));
	track->original.end = seg->end;
	track->original.maxend = seg->end;
	track->original.maxwin = window;
	track->last_kind = seg->flags & TCP_KIND_MASK;
	result->verdict = TCP_VERDICT_ACCEPT;
	result->status = 0;
	if (track->last_kind == TCP_SYN) {
		track->original_flags = seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS);
		track->scale = seg->scale;
		result->state = CT_TCP_SYN_SENT;
		result->timeout = lower(timeouts[CT_TIMEOUT_TCP_SYN_SENT], timeouts[CT_TIMEOUT_TCP_RETRANS]);
		return true;
	}
	track->original.maxend = seg->end + window;
	track->original_flags = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
	track->reply_flags = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
	result->state = CT_TCP_ESTABLISHED;
	result->timeout = lower(lower(timeouts[CT_TIMEOUT_TCP_ESTABLISHED], timeouts[CT_TIMEOUT_TCP_RETRANS]),
				timeouts[CT_TIMEOUT_TCP_UNACK]);
	return true;
}

/*
 * A FIN or RST that is not this flow's. When both sides send such, the flow has lost touch with a
 * connection that is over: it shall not hold its entry for days.
 */
inline_ __u32 tcp_invalid_timeout(const struct tcp_view *view, __u8 kind, __u32 status, __u32 remaining,
				  const struct settings *settings)
{
	struct tcp_track *track = view->track;
	__u32 last = track->last_kind;

	if (!(status & CT_ASSURED) || status & CT_FIXED_TIMEOUT || !(kind & (TCP_RST | TCP_FIN)))
		return 0;
	if ((last ^ kind) & TCP_LAST_REPLY && last & (TCP_RST | TCP_FIN)) {
		if (remaining >= TCP_HALF_DEAD_MIN && remaining > settings->timeouts[CT_TIMEOUT_TCP_UNACK])
			return settings->timeouts[CT_TIMEOUT_TCP_UNACK];
		return 0;
	}
	track->last_kind = kind;
	return 0;
}

/*
 * Judges a segment of a flow and brings the flow's track up to date. What else becomes of the flow is in
 * the result; the caller stores state, status and deadline, in any order.
 *
 * seg, result and some variables are volatile to keep them in memory: in registers, which are too few, they
 * would be spilled all the time, and the verifier would follow every value that they can have.
 *
 * Any value of the flow's state, status and track is safe, so a flow that is torn down meanwhile is too.
 * remaining: ticks to the flow's deadline, 0 if it has passed.
 */
inline_ void tcp_track_segment(struct flow *flow, volatile struct tcp_segment *seg, __u32 remaining,
			       const struct settings *settings, volatile struct tcp_result *result)
{
	struct tcp_track *track = &flow->tcp;
	__u64 flags = seg->flags, reply = seg->dir;
	__u64 state = read_once(flow->state), rst = 0;
	volatile __u8 kind = flags & TCP_KIND_MASK, next, last;
	enum tcp_verdict verdict;
	struct tcp_view view;

	hide(reply);
	result->timeout = 0;
	result->status = 0;
	result->verdict = TCP_VERDICT_INVALID;
	result->state = state;
	if (!tcp_flags_are_valid(flags))
		return;
	next = tcp_next_state(state, flags, reply);
	if (next == TCP_NEXT_INVALID)
		return;
	tcp_view_set(&view, track, reply);
	last = track->last_kind;
	if (reply)
		kind |= TCP_LAST_REPLY;
	if (next == CT_TCP_SYN_SENT && state >= CT_TCP_TIME_WAIT) {
		if ((track->original_flags | track->reply_flags) & TCP_SENDER_CLOSED ||
		    (last & TCP_RST && !((last ^ kind) & TCP_LAST_REPLY))) {
			result->verdict = TCP_VERDICT_REPLACE;
			return;
		}
		next = TCP_NEXT_IGNORE;
	}
	if (next == TCP_NEXT_IGNORE) {
		/* Only the reply side's SYN+ACKs can be ignored (the table), so the SYN is the original
		 * side's. */
		if (kind != (TCP_SYN | TCP_ACK | TCP_LAST_REPLY) || last != TCP_SYN ||
		    seg->ack != track->last_end) {
			tcp_remember(&view, seg, state, kind);
			goto ignore;
		}
		tcp_adopt(track);
		next = CT_TCP_SYN_RECV;
	} else if (next == CT_TCP_TIME_WAIT) {
		/* The flow waits for the last ACK and a new SYN came: an ACK from its receiver challenges
		 * that. */
		if (state == CT_TCP_LAST_ACK && track->notes & TCP_NOTE_CHALLENGE && last == TCP_SYN &&
		    kind == (TCP_ACK | TCP_LAST_REPLY)) {
			track->notes &= ~TCP_NOTE_CHALLENGE;
			goto ignore;
		}
	} else if (next == CT_TCP_SYN_SENT2) {
		track->notes |= TCP_NOTE_SIMULTANEOUS;
	} else if (next == CT_TCP_SYN_RECV) {
		/* Both have sent their SYN+ACK; the reply side's plain ACK ends the handshake. */
		if (kind == (TCP_ACK | TCP_LAST_REPLY) && track->notes & TCP_NOTE_SIMULTANEOUS)
			next = CT_TCP_ESTABLISHED;
	}
	blur(next, settings->zero);
	blur(state, settings->zero);
	blur(flags, settings->zero);
	if (flags & TCP_RST) {
		rst = tcp_judge_rst(&view, seg, state, flow->status, settings->flags);
		if (rst & TCP_RST_INVALID)
			return;
		if (rst & TCP_RST_INEXACT)
			next = state;
	}
	blur(rst, settings->zero);
	blur(flags, settings->zero);
	if (!(rst & TCP_RST_BELIEVED)) {
		verdict = tcp_check_window(&view, seg, state, settings->flags);
		if (verdict == TCP_VERDICT_INVALID) {
			result->timeout = tcp_invalid_timeout(&view, kind, flow->status, remaining, settings);
			return;
		}
		if (verdict == TCP_VERDICT_IGNORE)
			goto ignore;
	}

	blur(reply, settings->zero);
	track->last_kind = kind;
	if (next == CT_TCP_FIN_WAIT) /* only from an open connection: the first FIN */
		*tcp_flags_of(view.sender) |= TCP_SENDER_CLOSED;
	result->verdict = TCP_VERDICT_ACCEPT;
	result->state = next;
	result->timeout = tcp_timeout(track, next, flags, settings);
	if (reply)
		result->status = CT_SEEN_REPLY;
	if (!(flow->status & CT_SEEN_REPLY)) {
		if (next == CT_TCP_ESTABLISHED && result->timeout > settings->timeouts[CT_TIMEOUT_TCP_UNACK])
			result->timeout = settings->timeouts[CT_TIMEOUT_TCP_UNACK];
		if (flags & TCP_RST) {
			result->verdict = TCP_VERDICT_DELETE; /* nothing but a RST was ever answered */
			result->timeout = 0;
		}
		/* A repeated SYN does not prolong: a client that reuses its port would keep a dead flow. */
		if ((kind & TCP_KIND_MASK) == TCP_SYN && state == CT_TCP_SYN_SENT)
			result->timeout = 0;
	} else if (next == CT_TCP_ESTABLISHED) {
		result->status |= CT_ASSURED;
	}
	if (flow->status & CT_FIXED_TIMEOUT)
		result->timeout = 0;
	return;

ignore:
	result->verdict = TCP_VERDICT_IGNORE;
	if (reply)
		result->status = CT_SEEN_REPLY;
}

/*
 * The usual case by itself: an ACK (with or without PSH, ECE, CWR) inside the window of a connection that
 * stands, with no option that says anything. Does exactly what tcp_track_segment does then, whose state stays
 * ESTABLISHED and whose status gains nothing. Returns the timeout in ticks, 0 where it is another case:
 * nothing is changed then, and tcp_track_segment is to judge.
 */
inline_ __u32 tcp_track_usual(struct flow *flow, const struct tcp_ack *seg, __u32 flags, __u64 reply,
			      const struct settings *settings)
{
	const __u32 stands = CT_SEEN_REPLY | CT_ASSURED;
	struct tcp_track *track = &flow->tcp;
	struct tcp_view view;

	if ((flags & (TCP_KIND_MASK | TCP_URG)) != TCP_ACK || read_once(flow->state) != CT_TCP_ESTABLISHED ||
	    (read_once(flow->status) & stands) != stands)
		return 0;
	tcp_view_set(&view, track, reply);
	if (!view.sender->maxwin || !view.receiver->maxwin ||
	    tcp_place(&view, seg->seq, seg->end, seg->sack) != TCP_INSIDE)
		return 0;
	tcp_learn(&view, seg, tcp_scaled(&view, seg->window), true);
	tcp_count_repetition(&view, seg);
	track->last_kind = TCP_ACK | reply << 7;
	return tcp_timeout(track, CT_TCP_ESTABLISHED, flags, settings);
}

#endif
