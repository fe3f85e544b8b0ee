/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SCTP tracking as Netfilter does it: from a flow's track and state and one packet's chunks to a verdict
 * and the next state. It judges nothing but SCTP, reads no packet, map or clock, and compiles for BPF from
 * Linux 4.19 and for the host, where the tests run it.
 *
 * RFC 9260: chunks (section 3.2), verification tags (8.5), packets out of the blue (8.4), bundling (6.10).
 * test/e2e/netfilter.test.ts (DIFF_KIND=sctp) compares it with the running kernel's nf_conntrack.
 *
 * Races. Nothing is locked. Tags and notes are stored whole; a tag is learnt once in a handshake whose
 * packets follow one another by their nature. Two packets that cross may each store a state: an association
 * that both sides shut down at once ends by the timeout of one of the two.
 */
#ifndef CTNAT_SCTP_H
#define CTNAT_SCTP_H

#include "compiler.h"

/* Chunk types that the state depends on (RFC 9260 section 3.2); 3, 12, 13 and from 15 on say nothing of it.
 */
enum sctp_type {
	SCTP_DATA = 0,
	SCTP_INIT = 1,
	SCTP_INIT_ACK = 2,
	SCTP_SACK = 3,
	SCTP_HEARTBEAT = 4,
	SCTP_HEARTBEAT_ACK = 5,
	SCTP_ABORT = 6,
	SCTP_SHUTDOWN = 7,
	SCTP_SHUTDOWN_ACK = 8,
	SCTP_ERROR = 9,
	SCTP_COOKIE_ECHO = 10,
	SCTP_COOKIE_ACK = 11,
	SCTP_SHUTDOWN_COMPLETE = 14,
	SCTP_TYPE_OTHER = 15, /* stands for every type above 14 */
};

/* Sets of chunk types, a bit for each. */
enum sctp_types {
	SCTP_TYPES_STATE = 0x4ff6, /* those that can change the state */
	SCTP_TYPES_SOLE =
		1 << SCTP_INIT | 1 << SCTP_INIT_ACK | 1 << SCTP_SHUTDOWN_COMPLETE, /* never bundled */
	SCTP_TYPES_FIRST = 1 << SCTP_COOKIE_ECHO | 1 << SCTP_COOKIE_ACK,
	/* whose tag has a rule of its own */
	SCTP_TYPES_TAGGED = 1 << SCTP_INIT | 1 << SCTP_SHUTDOWN_COMPLETE | 1 << SCTP_COOKIE_ECHO |
			    1 << SCTP_ABORT | 1 << SCTP_SHUTDOWN_ACK | 1 << SCTP_HEARTBEAT |
			    1 << SCTP_HEARTBEAT_ACK,
	/* which a flow may begin with (section 8.4 discards the others) */
	SCTP_TYPES_BEGIN = 1 << SCTP_INIT | 1 << SCTP_INIT_ACK | 1 << SCTP_HEARTBEAT |
			   1 << SCTP_HEARTBEAT_ACK | 1 << SCTP_SHUTDOWN | 1 << SCTP_SHUTDOWN_ACK |
			   1 << SCTP_ERROR | 1 << SCTP_COOKIE_ECHO,
};

enum {
	SCTP_HEADER = 12, /* bytes of the common header */
	SCTP_CHUNK_HEADER = 4,
	SCTP_CHUNK_REFLECTED = 1, /* the T bit of ABORT and SHUTDOWN COMPLETE: the tag is the peer's */
	SCTP_JUDGED = 4, /* chunks of one packet that may change the state; no sender bundles as many */
};

/* sctp_track.notes. */
enum sctp_notes {
	SCTP_ORIGINAL_INIT = 1 << 0, /* the side has sent an INIT that no COOKIE ACK has settled */
	SCTP_REPLY_INIT = 1 << 1,
	SCTP_HEARTBEAT_STRANGE =
		1 << 2, /* the last HEARTBEAT had a strange tag: the answer tells if it is right */
	SCTP_STRANGE_REPLY = 1 << 3, /* that one came from the reply side */
};

/* What a packet's chunks say. Tags are as on the wire. */
struct sctp_packet {
	__u32 vtag;	/* of the common header */
	__u32 init_tag; /* of the INIT or INIT ACK, which is the packet's only chunk */
	__u16 kinds;	/* types of the chunks that may change the state, four bits each, the first lowest */
	__u16 present;	/* every type that is there, a bit for each */
	__u8 count;
	__u8 judged;	/* chunks in kinds */
	__u8 is_broken; /* bundled as nobody may, or a chunk without length */
	__u8 is_reflected;
};

enum sctp_verdict {
	SCTP_VERDICT_ACCEPT,  /* belongs to the flow */
	SCTP_VERDICT_IGNORE,  /* passes as the flow's, without prolonging it */
	SCTP_VERDICT_INVALID, /* not this flow's */
};

struct sctp_result {
	__u8 verdict; /* enum sctp_verdict */
	__u8 state;   /* enum ct_sctp_state that the flow has from now on */
	__u8 assures; /* a chunk made it ESTABLISHED, whatever one behind it did */
};

/* 1 if x is not 0. verifier: arithmetic, hidden from a compiler that would make a branch of it. */
inline_ __u64 sctp_any(__u64 x)
{
	x = -x;
	hide(x);
	return x >> 63;
}

/*
 * Takes one more chunk into account; `length` is that of its header, host order. Without a branch: a dozen of
 * these stand one after the other.
 */
inline_ void sctp_packet_add(volatile struct sctp_packet *pkt, __u32 type, __u32 chunk_flags, __u32 length)
{
	__u64 kind = (type | -sctp_any(type >> 4)) & SCTP_TYPE_OTHER, bit = 1ULL << kind,
	      judged = pkt->judged, present = pkt->present | bit, room = judged - SCTP_JUDGED, counts;

	pkt->present = present;
	pkt->is_broken |=
		(sctp_any(length) ^ 1) |
		sctp_any((present & SCTP_TYPES_SOLE) | (bit & SCTP_TYPES_FIRST)) * sctp_any(pkt->count);
	pkt->count += 1;
	pkt->is_reflected |= sctp_any(bit & (1 << SCTP_ABORT | 1 << SCTP_SHUTDOWN_COMPLETE)) & chunk_flags &
			     SCTP_CHUNK_REFLECTED;
	hide(room);
	counts = sctp_any(bit & SCTP_TYPES_STATE) & room >> 63;
	pkt->kinds |= (kind & -counts) << (judged * 4 & 0xf);
	pkt->judged = judged + counts;
}

/*
 * The transition table, a row for each chunk type and direction, a digit for each state: the next state, f
 * where there is none. Columns from the right: NONE CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED
 * SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT.
 */
#define SCTP_ROW_SAME		 0xfffffff876543210ULL
#define SCTP_ROW_KEEP		 0xfffffff176543211ULL /* original: keeps, and begins or ends CLOSED */
#define SCTP_ROW_INIT		 0xfffffff271143211ULL
#define SCTP_ROW_ABORT		 0xfffffff111111111ULL
#define SCTP_ROW_SHUTDOWN	 0xfffffff176553211ULL
#define SCTP_ROW_SHUTDOWN_ACK	 0xfffffff777743217ULL
#define SCTP_ROW_COOKIE_ECHO	 0xfffffff176543311ULL
#define SCTP_ROW_COOKIE_ACK	 0xfffffff176544211ULL
#define SCTP_ROW_COMPLETE	 0xfffffff116543211ULL
#define SCTP_ROW_HEARTBEAT	 0xfffffff876543218ULL
#define SCTP_ROW_HEARTBEAT_ACK	 0xfffffff876543211ULL
#define SCTP_ROW_R_KEEP		 0xffffffff7654321fULL
#define SCTP_ROW_R_INIT_ACK	 0xffffffff7654322fULL
#define SCTP_ROW_R_ABORT	 0xffffffff1111111fULL
#define SCTP_ROW_R_SHUTDOWN	 0xffffffff7656321fULL
#define SCTP_ROW_R_SHUTDOWN_ACK	 0xffffffff7774321fULL
#define SCTP_ROW_R_ERROR	 0xffffffff7654121fULL
#define SCTP_ROW_R_COOKIE_ECHO	 0xffffffff7654331fULL
#define SCTP_ROW_R_COOKIE_ACK	 0xffffffff7654421fULL
#define SCTP_ROW_R_COMPLETE	 0xffffffff1654321fULL
#define SCTP_ROW_R_HEARTBEAT	 0xfffffff87654321fULL
#define SCTP_ROW_R_HEARTBEAT_ACK 0xfffffff47654321fULL

enum { SCTP_NEXT_INVALID = 0xf };

inline_ __u32 sctp_next_state(__u32 state, __u32 type, __u64 reply)
{
	__u64 row = SCTP_ROW_SAME;

	switch (type) {
	case SCTP_INIT:
		row = reply ? SCTP_ROW_R_KEEP : SCTP_ROW_INIT;
		break;
	case SCTP_INIT_ACK:
		row = reply ? SCTP_ROW_R_INIT_ACK : SCTP_ROW_KEEP;
		break;
	case SCTP_ABORT:
		row = reply ? SCTP_ROW_R_ABORT : SCTP_ROW_ABORT;
		break;
	case SCTP_SHUTDOWN:
		row = reply ? SCTP_ROW_R_SHUTDOWN : SCTP_ROW_SHUTDOWN;
		break;
	case SCTP_SHUTDOWN_ACK:
		row = reply ? SCTP_ROW_R_SHUTDOWN_ACK : SCTP_ROW_SHUTDOWN_ACK;
		break;
	case SCTP_ERROR:
		row = reply ? SCTP_ROW_R_ERROR : SCTP_ROW_KEEP;
		break;
	case SCTP_COOKIE_ECHO:
		row = reply ? SCTP_ROW_R_COOKIE_ECHO : SCTP_ROW_COOKIE_ECHO;
		break;
	case SCTP_COOKIE_ACK:
		row = reply ? SCTP_ROW_R_COOKIE_ACK : SCTP_ROW_COOKIE_ACK;
		break;
	case SCTP_SHUTDOWN_COMPLETE:
		row = reply ? SCTP_ROW_R_COMPLETE : SCTP_ROW_COMPLETE;
		break;
	case SCTP_HEARTBEAT:
		row = reply ? SCTP_ROW_R_HEARTBEAT : SCTP_ROW_HEARTBEAT;
		break;
	case SCTP_HEARTBEAT_ACK:
		row = reply ? SCTP_ROW_R_HEARTBEAT_ACK : SCTP_ROW_HEARTBEAT_ACK;
		break;
	}
	hide(row); /* verifier: which row it is must not be known from here on */
	return row >> (state & 0xf) * 4 & 0xf;
}

/* What the packet that a flow begins with leaves in its track. */
enum sctp_begun {
	SCTP_BEGUN_OWN = 1 << 0,      /* its tag is the original direction's */
	SCTP_BEGUN_PEER = 1 << 1,     /* its tag is the reply's */
	SCTP_BEGUN_ANNOUNCE = 1 << 2, /* the reply's is the one that it announces */
	SCTP_BEGUN_INIT = 1 << 3,     /* it is an INIT, which stands alone: never all four */
};

/*
 * What begins with this packet: enum ct_sctp_state in the low nibble, enum sctp_begun in the high one; 0
 * where nothing may. A packet from a flow that is not known (out of the blue) begins one only where an answer
 * will follow.
 */
inline_ __u32 sctp_begin(const volatile struct sctp_packet *pkt, __u32 zero)
{
	const __u32 beats = 1 << SCTP_HEARTBEAT | 1 << SCTP_HEARTBEAT_ACK;
	__u32 present = pkt->present, kinds = pkt->kinds, begun = 0;
	volatile __u32 state = CT_SCTP_NONE;

	if (pkt->is_broken || !pkt->count || present & ~SCTP_TYPES_BEGIN)
		return 0;
	/* section 8.5: the receiver's tag is not known, so only those can be right whose tag has a rule, and
	 * a COOKIE ECHO's is known only by the HEARTBEAT beside it */
	if (pkt->vtag && (!(present & (1 << SCTP_SHUTDOWN_ACK | beats)) ||
			  (present & (1 << SCTP_COOKIE_ECHO | 1 << SCTP_HEARTBEAT)) == 1 << SCTP_COOKIE_ECHO))
		return 0;
	UNROLL
	for (int i = 0; i < SCTP_JUDGED; i++) {
		if (i >= pkt->judged)
			break;
		state = sctp_next_state(state, kinds & 0xf, CT_DIR_ORIGINAL);
		blur(state, zero);
		kinds >>= 4;
	}
	if (present & beats)
		begun |= SCTP_BEGUN_OWN;
	if (present & 1 << SCTP_SHUTDOWN_ACK) /* section 8.4: a SHUTDOWN COMPLETE will reflect it */
		begun |= SCTP_BEGUN_PEER;
	if (present & (1 << SCTP_INIT | 1 << SCTP_INIT_ACK))
		begun |= SCTP_BEGUN_ANNOUNCE;
	if (present & 1 << SCTP_INIT)
		begun |= SCTP_BEGUN_INIT;
	return begun << 4 | (state & 0xf);
}

/* The track of that flow. `begun`: enum sctp_begun. */
inline_ void sctp_begin_track(struct sctp_track *track, __u32 begun, __u32 vtag, __u32 init_tag)
{
	track->vtag[CT_DIR_ORIGINAL] = begun & SCTP_BEGUN_OWN ? vtag : 0;
	track->vtag[CT_DIR_REPLY] = begun & SCTP_BEGUN_PEER	  ? vtag
				    : begun & SCTP_BEGUN_ANNOUNCE ? init_tag
								  : 0;
	track->notes = begun & SCTP_BEGUN_INIT ? SCTP_ORIGINAL_INIT : 0;
}

/* One chunk's view of the flow; pointers, which keep their bounds when they are spilled. */
struct sctp_view {
	struct sctp_track *track;
	__u32 *own; /* the tag that this side's packets carry */
	__u32 *other;
	__u64 reply;
	__u8 init_own; /* bits of notes */
	__u8 init_other;
};

/* A HEARTBEAT with a strange tag may be the right one: of an association whose handshake took another path
 * (section 6.4). The answer that carries the peer's tag settles it. */
inline_ enum sctp_verdict sctp_judge_heartbeat(const struct sctp_view *view, __u32 vtag, __u32 type,
					       bool alone)
{
	__u8 notes = view->track->notes;

	if (!*view->own) {
		*view->own = vtag;
		return SCTP_VERDICT_ACCEPT;
	}
	if (vtag == *view->own) {
		if (notes & SCTP_HEARTBEAT_STRANGE)
			view->track->notes = notes & ~SCTP_HEARTBEAT_STRANGE;
		return SCTP_VERDICT_ACCEPT;
	}
	if (!alone)
		return SCTP_VERDICT_INVALID;
	if (type == SCTP_HEARTBEAT) {
		notes &= ~SCTP_STRANGE_REPLY;
		view->track->notes = notes | SCTP_HEARTBEAT_STRANGE | (view->reply ? SCTP_STRANGE_REPLY : 0);
		return SCTP_VERDICT_IGNORE;
	}
	if (!(notes & SCTP_HEARTBEAT_STRANGE) || !!(notes & SCTP_STRANGE_REPLY) == view->reply)
		return SCTP_VERDICT_INVALID;
	view->track->notes = notes & ~SCTP_HEARTBEAT_STRANGE;
	*view->own = vtag;
	*view->other = 0;
	return SCTP_VERDICT_ACCEPT;
}

/* The tag of a chunk that has a rule of its own for it (section 8.5.1). */
inline_ bool sctp_tag_fits(const struct sctp_view *view, const volatile struct sctp_packet *pkt, __u32 bit)
{
	if (bit & 1 << SCTP_INIT)
		return !pkt->vtag;
	if (bit & 1 << SCTP_COOKIE_ECHO)
		return pkt->vtag == *view->own;
	if (bit & (1 << SCTP_ABORT | 1 << SCTP_SHUTDOWN_COMPLETE))
		return pkt->vtag == (pkt->is_reflected ? *view->other : *view->own);
	return true;
}

/* What INIT, INIT ACK and COOKIE ACK teach. False: an INIT ACK that answers another INIT than the flow's. */
inline_ bool sctp_learn(const struct sctp_view *view, const volatile struct sctp_packet *pkt, __u32 bit)
{
	__u8 notes = view->track->notes, both = view->init_own | view->init_other;

	if (bit & 1 << SCTP_COOKIE_ACK) {
		view->track->notes = notes & ~both;
	} else if (bit & 1 << SCTP_INIT) {
		if (*view->other == pkt->init_tag)
			return true;	    /* the same one again */
		if ((notes & both) == both) /* both sides begin (section 5.2.1), and this one again */
			notes &= ~view->init_other;
		view->track->notes = notes | view->init_own;
		*view->other = pkt->init_tag;
	} else if (bit & 1 << SCTP_INIT_ACK) {
		if (*view->other != pkt->init_tag) {
			if (!(notes & view->init_other) && *view->other)
				return false;
			if ((notes & both) == both)
				return false;
		}
		*view->other = pkt->init_tag;
	}
	return true;
}

/*
 * Judges a packet of a flow and brings the flow's track up to date. The caller stores state, status and
 * deadline, in any order. Any value of state and track is safe.
 */
inline_ void sctp_track_packet(struct sctp_track *track, const volatile struct sctp_packet *pkt, __u32 from,
			       __u64 reply, __u32 zero, volatile struct sctp_result *result)
{
	__u64 own = reply, other = reply ^ 1;
	volatile __u32 state = from, kinds = pkt->kinds;
	volatile bool ignore = false;
	struct sctp_view view;

	result->verdict = SCTP_VERDICT_INVALID;
	result->state = from;
	result->assures = 0;
	hide(own);
	own &= 1;
	hide(other);
	other &= 1;
	view.track = track;
	view.own = &track->vtag[own];
	view.other = &track->vtag[other];
	view.reply = reply & 1;
	view.init_own = reply ? SCTP_REPLY_INIT : SCTP_ORIGINAL_INIT;
	view.init_other = view.init_own ^ (SCTP_ORIGINAL_INIT | SCTP_REPLY_INIT);
	blur(view.init_own, zero);
	blur(view.init_other, zero);
	if (pkt->is_broken || !pkt->count)
		return;
	if (!(pkt->present & SCTP_TYPES_TAGGED) && pkt->vtag != *view.own)
		return;
	UNROLL
	for (int i = 0; i < SCTP_JUDGED; i++) {
		__u32 type = kinds & 0xf, bit = 1 << type, next;

		if (i >= pkt->judged)
			break;
		kinds >>= 4;
		if (!sctp_tag_fits(&view, pkt, bit))
			return;
		if (bit & (1 << SCTP_HEARTBEAT | 1 << SCTP_HEARTBEAT_ACK)) {
			enum sctp_verdict verdict = sctp_judge_heartbeat(
				&view, pkt->vtag, type, !(pkt->present & 1 << SCTP_DATA) && !ignore);

			if (verdict == SCTP_VERDICT_INVALID)
				return;
			if (verdict == SCTP_VERDICT_IGNORE) {
				ignore = true;
				continue;
			}
		}
		next = sctp_next_state(state, type, view.reply);
		if (next == SCTP_NEXT_INVALID || !sctp_learn(&view, pkt, bit))
			return;
		/* A repeated INIT does not prolong: a client that uses its port again would keep a dead flow.
		 */
		if (bit & 1 << SCTP_INIT && next == CT_SCTP_CLOSED && state == CT_SCTP_CLOSED)
			ignore = true;
		result->assures |=
			(sctp_any(next ^ CT_SCTP_ESTABLISHED) ^ 1) & sctp_any(state ^ CT_SCTP_ESTABLISHED);
		state = next;
		blur(state, zero);
		result->state = next;
	}
	result->verdict = ignore ? SCTP_VERDICT_IGNORE : SCTP_VERDICT_ACCEPT;
}

#endif
