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
 * - Directions on different CPUs (the usual case): a sender's end, maxack and flags are written by its own
 *   direction only, its maxend by the other only. What both write:
 *   unacked, when an acknowledgement of everything crosses new data: the flow gets the timeout of the
 *   other case until its next segment. maxwin, when a segment overshoots while the window grows: the
 *   window is judged smaller by one announcement until the next.
 *   last_*, retrans: a repetition goes uncounted, a RST that follows its own data at once counts as one
 *   in the window (timeout of CLOSE, state kept), an ignored SYN is forgotten and its connection is
 *   judged by the RST or the SYN's retransmission that follows.
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

/* High nibble of tcp_track.last_scale: of the SYN that was let through, and two notes about the flow. */
enum tcp_last_flags {
	TCP_LAST_SHIFT = 4,
	TCP_LAST_SCALES = TCP_SENDER_SCALES << TCP_LAST_SHIFT,
	TCP_LAST_SACKS = TCP_SENDER_SACKS << TCP_LAST_SHIFT,
	TCP_LAST_CHALLENGE = 1 << 6, /* that SYN met LAST_ACK: the next ACK may answer it, and not the FIN */
	TCP_LAST_SIMULTANEOUS = 1 << 7, /* both sides have sent a SYN */
};

enum {
	TCP_LAST_REPLY = 1 << 7, /* in tcp_track.last_kind: the last segment was the reply side's */
	TCP_STALE_ACK_MIN =
		66000, /* an ACK may lag by this at least: the largest unscaled window and a segment */
	TCP_HALF_DEAD_MIN =
		7153, /* ticks, 120 s: what lives no longer is not shortened by an invalid FIN or RST */
};

/* One segment, in host byte order. */
struct tcp_segment {
	__u32 seq;
	__u32 ack;  /* as in the header, whether its ACK bit is set or not */
	__u32 end;  /* seq + payload bytes + SYN + FIN */
	__u32 sack; /* tcp_options.sack; = ack when no options were read */
	__u16 window;
	__u8 flags;	   /* enum tcp_bits */
	__u8 scale;	   /* of a SYN's options, as option_flags */
	__u8 option_flags; /* enum tcp_option_flags */
	__u8 pad[3];
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

/* Sequence numbers compare by the sign of their distance (RFC 9293 section 3.4). */
inline_ bool seq_before(__u32 a, __u32 b)
{
	return (__s32)(a - b) < 0;
}

inline_ bool seq_after(__u32 a, __u32 b)
{
	return (__s32)(b - a) < 0;
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
 * One segment's view of the flow: pointers to its sender's and its receiver's part.
 * verifier: both are made of an index that is bounded where it is used, and pointers keep their bounds
 * when they are spilled; numbers do not before 5.12.
 */
struct tcp_view {
	struct tcp_track *track;
	struct tcp_sender *sender;
	struct tcp_sender *receiver;
	__u8 *sender_flags;
	__u8 *receiver_flags;
	bool reply;
};

inline_ void tcp_view_set(struct tcp_view *view, struct tcp_track *track, bool reply)
{
	__u32 own = reply, other = !reply;

	hide(own);
	own &= 1;
	hide(other);
	other &= 1;
	view->track = track;
	view->sender = &track->sender[own];
	view->receiver = &track->sender[other];
	view->sender_flags = &track->flags[own];
	view->receiver_flags = &track->flags[other];
	view->reply = reply;
}

/* tcp_track.unacked lies behind tcp_track.flags: the same pointer serves both. */
inline_ __u8 *tcp_unacked(__u8 *flags)
{
	return flags + offsetof(struct tcp_track, unacked) - offsetof(struct tcp_track, flags);
}

/* The shift of the sender's windows. */
inline_ __u32 tcp_scale(const struct tcp_view *view)
{
	return view->reply ? view->track->scale >> 4 : view->track->scale & 0xf;
}

/* A sender begins (again) with this SYN. RFC 7323 section 2.2: windows scale only if both sides said so. */
inline_ void tcp_sender_begin(const struct tcp_view *view, const struct tcp_segment *seg)
{
	struct tcp_track *track = view->track;
	__u8 scale = track->scale;

	view->sender->end = seg->end;
	view->sender->maxend = seg->end;
	view->sender->maxwin = window_or_one(seg->window);
	if (seg->option_flags & TCP_HAS_OPTIONS) {
		*view->sender_flags = (*view->sender_flags & TCP_SENDER_LIBERAL) |
				      (seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS));
		*tcp_unacked(view->sender_flags) = 0;
		scale = view->reply ? (scale & 0xf) | seg->scale << 4 : (scale & 0xf0) | seg->scale;
	}
	if (view->reply && !(track->flags[0] & track->flags[1] & TCP_SENDER_SCALES))
		scale = 0;
	track->scale = scale;
}

/*
 * Remembers a segment that is let through without being believed: the flow may be a leftover and the
 * segment right. The peer's answer tells (tcp_adopt, tcp_judge_rst).
 */
inline_ void tcp_remember(const struct tcp_view *view, const struct tcp_segment *seg, __u32 state, __u8 kind)
{
	struct tcp_track *track = view->track;

	track->last_kind = kind;
	track->last_end = seg->end;
	track->last_len = seg->end - seg->seq;
	track->last_win = seg->window;
	if (kind == TCP_SYN) /* the original side's, unlike one with TCP_LAST_REPLY */
		track->last_scale = (seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS))
					    << TCP_LAST_SHIFT |
				    seg->scale | (state == CT_TCP_LAST_ACK ? TCP_LAST_CHALLENGE : 0);
	if (kind == (TCP_ACK | TCP_LAST_REPLY) && state == CT_TCP_SYN_SENT)
		track->last_ack = seg->ack;
}

/*
 * The server's SYN+ACK answers the very SYN that was let through: both ends agree on a new connection and
 * the flow becomes that. The original side is as that SYN said, the reply side is about to begin.
 */
inline_ void tcp_adopt(struct tcp_track *track)
{
	__u8 last = track->last_scale & ~TCP_LAST_CHALLENGE;

	track->sender[CT_DIR_ORIGINAL].end = track->last_end;
	track->sender[CT_DIR_ORIGINAL].maxend = track->last_end;
	track->sender[CT_DIR_ORIGINAL].maxwin = window_or_one(track->last_win);
	track->sender[CT_DIR_REPLY].end = 0;
	track->sender[CT_DIR_REPLY].maxend = 0;
	track->sender[CT_DIR_REPLY].maxwin = 0;
	track->flags[CT_DIR_ORIGINAL] = last >> TCP_LAST_SHIFT & (TCP_SENDER_SCALES | TCP_SENDER_SACKS);
	track->flags[CT_DIR_REPLY] = 0;
	track->unacked[CT_DIR_ORIGINAL] = 0;
	track->unacked[CT_DIR_REPLY] = 0;
	track->scale = last & 0xf;
	track->last_scale = last;
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
 * follow its own sender's last segment.
 */
inline_ __u32 tcp_judge_rst(const struct tcp_view *view, const struct tcp_segment *seg, __u32 state,
			    __u32 status, __u32 settings_flags)
{
	const struct tcp_track *track = view->track;
	__u32 judged = 0, last = track->last_kind, maxack;
	bool open;

	if (state >= CT_TCP_FIN_WAIT && state <= CT_TCP_CLOSE)
		return TCP_RST_BELIEVED;
	if (*view->receiver_flags & TCP_SENDER_ACKED) {
		open = state == CT_TCP_ESTABLISHED && status & CT_ASSURED;
		maxack = view->receiver->maxack;
		if (!open && !seg->seq)
			return 0;
		if (seq_before(seg->seq, maxack) && !(settings_flags & SETTING_TCP_IGNORE_INVALID_RST))
			return TCP_RST_INVALID;
		if (!open || seg->seq == maxack)
			return 0;
		if (last == (TCP_ACK | (view->reply ? TCP_LAST_REPLY : 0)) && seg->seq == track->last_end)
			return 0;
		judged = TCP_RST_INEXACT;
	}
	/* It may answer a segment that was let through, and that the window does not know of. */
	if (seg->ack == track->last_end) {
		last &= TCP_KIND_MASK;
		if ((last == TCP_SYN && status & CT_SEEN_REPLY) ||
		    (last == TCP_ACK && !(status & CT_ASSURED)))
			judged |= TCP_RST_BELIEVED;
	}
	return judged;
}

/* Counts ACKs that repeat the flow's last one: neither side gets on. */
inline_ void tcp_count_repetition(const struct tcp_view *view, const struct tcp_segment *seg, __u32 ack)
{
	struct tcp_track *track = view->track;
	__u16 length = seg->end - seg->seq;

	if (track->last_kind >> 7 == view->reply && track->last_end == seg->end &&
	    track->last_len == length && track->last_ack == ack && track->last_win == seg->window) {
		if (track->retrans != 0xff)
			track->retrans++;
		return;
	}
	track->last_end = seg->end;
	track->last_len = length;
	track->last_ack = ack;
	track->last_win = seg->window;
	track->retrans = 0;
}

enum tcp_window {
	TCP_WINDOW_IN,
	TCP_WINDOW_IGNORE,
	TCP_WINDOW_OUT,
};

/*
 * Whether the segment is acceptable (RFC 9293 section 3.4) as far as one in the middle can tell, and what
 * is learnt from it. Four bounds: nothing beyond what the receiver allowed, no acknowledgement of what was
 * never sent, and neither of them too far behind. What lies behind can do no harm and is let through;
 * nothing is learnt from it.
 */
inline_ enum tcp_window tcp_check_window(const struct tcp_view *view, const struct tcp_segment *seg,
					 __u32 state, __u32 settings_flags)
{
	struct tcp_sender *sender = view->sender, *receiver = view->receiver;
	__u32 seq = seg->seq, end = seg->end, ack = seg->ack, sack = ack, window = seg->window,
	      flags = seg->flags;
	__u32 edge, overshoot;
	bool liberal, behind, stale;

	if (*view->receiver_flags & TCP_SENDER_SACKS)
		sack = seg->sack;
	if (flags & TCP_SYN) {
		/* the first of this side, or one that begins again before the connection stands */
		if (!sender->maxwin ||
		    ((state == CT_TCP_SYN_SENT || state == CT_TCP_SYN_RECV) && seq_after(end, sender->end))) {
			tcp_sender_begin(view, seg);
			if (view->reply && !(flags & TCP_ACK))
				return TCP_WINDOW_IN; /* simultaneous open */
		}
	} else {
		window <<= tcp_scale(view);
		if (!sender->maxwin) {
			/* the first of this side in a flow that was picked up: begin with what it says */
			sender->end = end;
			sender->maxwin = window_or_one(window);
			sender->maxend = end + window_or_one(window);
			if (!receiver->maxwin)
				receiver->end = receiver->maxend = sack;
			else if (sack == receiver->end + 1)
				receiver->end = sack; /* answers a keep-alive, which takes one byte too few */
		}
	}
	/* Some TCPs send RST+ACK with no acknowledgement in it. */
	if (!(flags & TCP_ACK) || (flags & TCP_RST && !ack))
		ack = sack = receiver->end;
	/* A refused SYN+ACK: the RST takes its sequence number from an acknowledgement that there was none
	 * of. */
	if (flags & TCP_RST && !seq && state == CT_TCP_SYN_SENT)
		seq = end = sender->end;

	liberal = (*view->sender_flags & TCP_SENDER_LIBERAL) || settings_flags & SETTING_TCP_LIBERAL;
	behind = receiver->maxwin && seq_before(end + receiver->maxwin, sender->end);
	edge = sender->maxwin > TCP_STALE_ACK_MIN ? sender->maxwin : TCP_STALE_ACK_MIN;
	stale = seq_before(sack + edge, receiver->end);
	if (seq_after(seq, sender->maxend)) {
		/*
		 * Some TCPs send a little more than they may. If the receiver takes it, the acknowledgement
		 * will come, and must find it sent.
		 */
		overshoot = end - sender->maxend + 1;
		if (receiver->maxwin && !behind && !stale && overshoot <= receiver->maxwin &&
		    !seq_after(sack, receiver->end)) {
			sender->end = end;
			*tcp_unacked(view->sender_flags) = 1;
			return liberal ? TCP_WINDOW_IN : TCP_WINDOW_IGNORE;
		}
		return liberal ? TCP_WINDOW_IN : TCP_WINDOW_OUT;
	}
	if (seq_after(sack, receiver->end))
		return liberal ? TCP_WINDOW_IN : TCP_WINDOW_OUT;
	if (behind || stale)
		return liberal ? TCP_WINDOW_IN : TCP_WINDOW_IGNORE;

	/* What the sender said: the window counts from the acknowledgement, SACKed data lies inside it. */
	if (sender->maxwin < window + (sack - ack))
		sender->maxwin = window + (sack - ack);
	if (seq_after(end, sender->end)) {
		sender->end = end;
		*tcp_unacked(view->sender_flags) = 1;
	}
	if (flags & TCP_ACK &&
	    (!(*view->sender_flags & TCP_SENDER_ACKED) || seq_after(ack, sender->maxack))) {
		sender->maxack = ack;
		*view->sender_flags |= TCP_SENDER_ACKED;
	}
	/* What that means for the receiver. */
	if (receiver->maxwin && seq_after(end, sender->maxend))
		receiver->maxwin += end - sender->maxend;
	edge = sack + window;
	if (!seq_before(edge, receiver->maxend))
		receiver->maxend = edge + !window;
	if (ack == receiver->end)
		*tcp_unacked(view->receiver_flags) = 0;
	if ((flags & TCP_KIND_MASK) == TCP_ACK)
		tcp_count_repetition(view, seg, ack);
	return TCP_WINDOW_IN;
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
	if (track->unacked[0] | track->unacked[1] && timeout > settings->timeouts[CT_TIMEOUT_TCP_UNACK])
		return settings->timeouts[CT_TIMEOUT_TCP_UNACK];
	if (!track->last_win)
		return lower(timeout, settings->timeouts[CT_TIMEOUT_TCP_RETRANS]);
	return timeout;
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

	__builtin_memset(track, 0, sizeof(*track));
	if (!tcp_flags_are_valid(seg->flags))
		return false;
	track->sender[CT_DIR_ORIGINAL].end = seg->end;
	track->sender[CT_DIR_ORIGINAL].maxend = seg->end;
	track->sender[CT_DIR_ORIGINAL].maxwin = window;
	track->last_kind = seg->flags & TCP_KIND_MASK;
	result->verdict = TCP_VERDICT_ACCEPT;
	result->status = 0;
	if (track->last_kind == TCP_SYN) {
		track->sender[CT_DIR_REPLY].maxend = window;
		track->flags[CT_DIR_ORIGINAL] = seg->option_flags & (TCP_SENDER_SCALES | TCP_SENDER_SACKS);
		track->scale = seg->scale;
		result->state = CT_TCP_SYN_SENT;
		result->timeout = lower(timeouts[CT_TIMEOUT_TCP_SYN_SENT], timeouts[CT_TIMEOUT_TCP_RETRANS]);
		return true;
	}
	if (track->last_kind != TCP_ACK || !(settings->flags & SETTING_TCP_LOOSE))
		return false;
	track->sender[CT_DIR_ORIGINAL].maxend = seg->end + window;
	track->flags[CT_DIR_ORIGINAL] = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
	track->flags[CT_DIR_REPLY] = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
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
 * state, status: the flow's, enum ct_tcp_state and ct_status; any value is safe.
 * reply: the segment came in the reply direction.
 * remaining: ticks to the flow's deadline, 0 if it has passed.
 */
inline_ struct tcp_result tcp_track_segment(struct tcp_track *track, __u32 state, __u32 status, bool reply,
					    const struct tcp_segment *seg, __u32 remaining,
					    const struct settings *settings)
{
	struct tcp_result result = {.verdict = TCP_VERDICT_INVALID, .state = state};
	__u32 flags = seg->flags, next, old = state, last, rst;
	__u8 kind = (flags & TCP_KIND_MASK) | (reply ? TCP_LAST_REPLY : 0);
	enum tcp_window window = TCP_WINDOW_IN;
	struct tcp_view view;

	if (!tcp_flags_are_valid(flags))
		return result;
	next = tcp_next_state(state, flags, reply);
	if (next == TCP_NEXT_INVALID)
		return result;
	tcp_view_set(&view, track, reply);
	last = track->last_kind;
	if (next == CT_TCP_SYN_SENT && (state == CT_TCP_TIME_WAIT || state == CT_TCP_CLOSE)) {
		if ((track->flags[0] | track->flags[1]) & TCP_SENDER_CLOSED ||
		    (last & TCP_RST && !((last ^ kind) & TCP_LAST_REPLY))) {
			result.verdict = TCP_VERDICT_REPLACE;
			return result;
		}
		next = TCP_NEXT_IGNORE;
	}
	if (reply)
		result.status = CT_SEEN_REPLY;
	if (next == TCP_NEXT_IGNORE) {
		/* Only the reply side's SYN+ACKs can be ignored (the table), so the SYN is the original
		 * side's. */
		if (!(flags & TCP_SYN && flags & TCP_ACK && last == TCP_SYN && seg->ack == track->last_end)) {
			tcp_remember(&view, seg, state, kind);
			result.verdict = TCP_VERDICT_IGNORE;
			return result;
		}
		tcp_adopt(track);
		old = CT_TCP_SYN_SENT;
		next = CT_TCP_SYN_RECV;
	} else if (next == CT_TCP_TIME_WAIT && state == CT_TCP_LAST_ACK &&
		   track->last_scale & TCP_LAST_CHALLENGE) {
		/* The flow waits for the last ACK and a new SYN came: an ACK from its receiver challenges
		 * that. */
		if ((flags & TCP_KIND_MASK) == TCP_ACK && last == (TCP_SYN | (reply ? 0 : TCP_LAST_REPLY))) {
			track->last_scale &= ~TCP_LAST_CHALLENGE;
			result.verdict = TCP_VERDICT_IGNORE;
			return result;
		}
	} else if (next == CT_TCP_SYN_SENT2) {
		track->last_scale |= TCP_LAST_SIMULTANEOUS;
	} else if (next == CT_TCP_SYN_RECV) {
		/* Both have sent their SYN+ACK; the reply side's plain ACK ends the handshake. */
		if (reply && !(flags & TCP_SYN) && track->last_scale & TCP_LAST_SIMULTANEOUS)
			next = CT_TCP_ESTABLISHED;
	}
	rst = 0;
	if (flags & TCP_RST) {
		rst = tcp_judge_rst(&view, seg, state, status, settings->flags);
		if (rst & TCP_RST_INVALID) {
			result.status = 0;
			return result;
		}
		if (rst & TCP_RST_INEXACT)
			next = state;
	}
	if (!(rst & TCP_RST_BELIEVED))
		window = tcp_check_window(&view, seg, state, settings->flags);
	if (window == TCP_WINDOW_OUT) {
		result.status = 0;
		result.timeout = tcp_invalid_timeout(&view, kind, status, remaining, settings);
		return result;
	}
	if (window == TCP_WINDOW_IGNORE) {
		result.verdict = TCP_VERDICT_IGNORE;
		return result;
	}

	track->last_kind = kind;
	if (next == CT_TCP_FIN_WAIT && old != CT_TCP_FIN_WAIT)
		*view.sender_flags |= TCP_SENDER_CLOSED;
	result.verdict = TCP_VERDICT_ACCEPT;
	result.state = next;
	result.timeout = tcp_timeout(track, next, flags, settings);
	if (!(status & CT_SEEN_REPLY)) {
		if (flags & TCP_RST) {
			result.verdict = TCP_VERDICT_DELETE; /* nothing but a RST was ever answered */
			result.timeout = 0;
			return result;
		}
		/* A repeated SYN does not prolong, or a client that reuses its port would keep a dead flow
		 * for ever. */
		if ((flags & TCP_KIND_MASK) == TCP_SYN && old == CT_TCP_SYN_SENT)
			result.timeout = 0;
		if (next == CT_TCP_ESTABLISHED)
			result.timeout = lower(result.timeout, settings->timeouts[CT_TIMEOUT_TCP_UNACK]);
	} else if (next == CT_TCP_ESTABLISHED && (old == CT_TCP_SYN_RECV || old == CT_TCP_ESTABLISHED)) {
		result.status |= CT_ASSURED;
	}
	if (status & CT_FIXED_TIMEOUT)
		result.timeout = 0;
	return result;
}

#endif
