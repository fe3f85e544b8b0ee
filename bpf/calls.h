/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Which programs exist and what one hands to the next. A tail call keeps nothing but skb->cb, which
 * belongs to the packet: what is in it survives preemption, migration and nested packets, as a per-CPU
 * scratch map would not. Everything else is read from the packet again.
 */
#ifndef CTNAT_CALLS_H
#define CTNAT_CALLS_H

#include "maps.h"

/* Index into the calls map; + 1 for IPv6. */
enum call {
	CALL_INGRESS = 0, /* the hook again: a flow has appeared meanwhile */
	CALL_EGRESS = 2,
	CALL_EGRESS_LOCAL = 4, /* the hook again, under KEY_LOCAL */
	CALL_NEW_INGRESS = 6,  /* no flow: may one begin, and with which translation */
	CALL_NEW_EGRESS = 8,
	CALL_CREATE_INGRESS = 10, /* a slot; an untranslated flow is complete with it */
	CALL_CREATE_EGRESS = 12,
	CALL_JUDGE_EGRESS =
		14, /* a flow born at ingress met its outgoing interface: its successor is ready */
	CALL_ERROR_INGRESS = 16, /* ICMP errors */
	CALL_ERROR_EGRESS = 18,
	CALL_CLAIM_INGRESS = 20, /* what the rule asks for, and the port that is free as a rule */
	CALL_CLAIM_EGRESS = 22,
	CALL_ENDPOINT_INGRESS = 24, /* a flow from outside to an endpoint-independent mapping */
	CALL_ENDPOINT_EGRESS = 26,  /* a flow out through one, or first a new one */
	CALL_REAP = 28,		    /* ends one flow, then back to the program that met it */
	CALL_SEARCH = 30,	    /* the port that was asked for is taken: another one */
	CALL_EVENT = 32,	  /* tells of a flow that is new or has changed; the packet's last program */
	CALL_DROP = 34,		  /* tells of a dropped packet; its last program */
	CALL_COMMIT_INGRESS = 36, /* the other keys of the flow whose port is claimed */
	CALL_COMMIT_EGRESS = 38,
	CALL_REFUSE = 40,	/* no port is left: the packet's sender is told */
	CALL_SCTP_INGRESS = 42, /* SCTP's chunks and its tracking; then the hook again */
	CALL_SCTP_EGRESS = 44,
	CALL_MSS = 46,		   /* a SYN's MSS is lowered; then the hook again */
	CALL_OPTIONS_INGRESS = 48, /* TCP options that say something; then the hook again */
	CALL_OPTIONS_EGRESS = 50,
	CALL_ENDPOINT_FIND = 52, /* ingress: is it for an endpoint-independent mapping, and may it come in */
	CALL_ENDPOINT_OPEN = 54, /* an endpoint has its outside port: it is opened, then CREATE */
	CALL_ENDPOINT_FINISH = 56, /* an endpoint's flow is complete: its first packet goes on */
	CALL_ENDPOINT_TOUCH = 58,  /* a flow's packet keeps its endpoint open; the packet's last but EVENT */
	CALL_ENDPOINT_REAP = 60,   /* REAP for endpoints and their flows */
	CALL_ENDPOINT_JOIN = 62,   /* egress: the source has an endpoint, and gets a flow more */
	CALL_PICK = 64,	     /* the port that was asked for is taken: one that the port map takes for free */
	CALL_SUM = 66,	     /* an SCTP packet whose port was changed: its sum; its last program but EVENT */
	CALL_SUM_QUOTE = 68, /* the same of one that an ICMP error quotes */
	CALL_LIMIT = 70, /* whether the subscriber may begin one more translated flow; then on from CREATE */
	CALL_TRACK_INGRESS = 72, /* rules for tracking; then the hook */
	CALL_TRACK_EGRESS = 74,
	CALL_TRACK_NEW = 76, /* the same for a flow that is complete but for its mark; then as EVENT */
	CALL_BIRTH = 90,     /* egress: no flow has the packet's key; NEW to COMMIT at once */
};

enum hop_flags {
	HOP_LOCAL = 1 << 0,	 /* the original tuple's key carries KEY_LOCAL */
	HOP_MASQUERADE = 1 << 1, /* source: the interface's own address */
	HOP_UPPER = 1 << 2,	 /* the hook is on an interface whose lower ones are attached too */
	HOP_OPTIONS = 1 << 3,	 /* the TCP options or SCTP chunks have been read */
	HOP_RESTORE = 1 << 3,	 /* of an ICMP error: it gets the mark of the flow that it is about */
	HOP_EVICT = 1 << 4,	 /* REAP may end a flow that has seen no reply; for SEARCH: that is closed */
	HOP_AT_INGRESS = 1 << 5, /* for programs that serve both hooks */
	HOP_EVICT_REPLIED = 1 << 6, /* REAP may end any flow that is not assured */
	HOP_JUDGE = 1 << 7,	    /* the flow is there, and gets a successor */
};

/* skb->cb, word by word. */
struct hop {
	__u32 word0; /* l2 length (4 bits), half the call behind REAP (4), retries (8), flags (8); TCP options
			(8): scale, enum tcp_option_flags, or SCTP chunks (8): enum sctp_word */
	__u32 rule;  /* low half: 1 + index into nat_rules of the rule that decided; 0: none. In NEW: where
			the search goes on. High half: low half of the slot that REAP is for */
	__u32 attempt; /* which of a pool's entries is asked (14 bits), how many may be (14), how many were
			  (4); where no rule speaks at ingress: HOP_ENDPOINT */
	__u32 slot;    /* 1 + slot claimed already */
	__u32 tries; /* low half: of the port search so far, before it enum hop_limit. High half: high half of
			the slot that REAP is for. In a hook the whole word: the TCP options' highest SACK
			edge. To BIRTH: home_word() */
};

/* The flow comes in by an endpoint-independent mapping. As an attempt it says that no other may follow. */
enum { HOP_ENDPOINT = 1 };

inline_ __u32 hop_l2(const struct __sk_buff *skb)
{
#ifdef CTNAT_XDP
	(void)skb;
	return 14; /* XDP mode is for interfaces with an Ethernet header */
#else
	return skb->cb[0] & 0xf;
#endif
}

inline_ __u32 hop_flags(const struct __sk_buff *skb)
{
	return (skb->cb[0] >> 16) & 0xff;
}

inline_ __u32 hop_rule(const struct __sk_buff *skb)
{
	return skb->cb[1] & 0xffff;
}

inline_ __u32 hop_tries(const struct __sk_buff *skb)
{
	return skb->cb[4] & 0xffff;
}

enum { HOP_ATTEMPT_BITS = 14, HOP_ATTEMPT_MASK = (1 << HOP_ATTEMPT_BITS) - 1, HOP_ATTEMPTS_MAX = 8 };

/* Which of a pool's entries CLAIM asks, counted from the host's own. */
inline_ __u32 hop_attempt(const struct __sk_buff *skb)
{
	return skb->cb[2] & HOP_ATTEMPT_MASK;
}

inline_ void hop_allow_attempts(struct __sk_buff *skb, __u32 most)
{
	skb->cb[2] = (skb->cb[2] & ~(HOP_ATTEMPT_MASK << HOP_ATTEMPT_BITS)) | (most & HOP_ATTEMPT_MASK)
										      << HOP_ATTEMPT_BITS;
}

/*
 * The next of a pool's entries; false: all that may be asked were. Of many a packet asks so many, from a
 * random place on: each may cost several tail calls.
 */
inline_ bool hop_next_attempt(struct __sk_buff *skb)
{
	__u32 word = skb->cb[2], attempt = word & HOP_ATTEMPT_MASK, tried = word >> 2 * HOP_ATTEMPT_BITS,
	      most = word >> HOP_ATTEMPT_BITS & HOP_ATTEMPT_MASK;

	if (tried + 1 >= HOP_ATTEMPTS_MAX || tried + 1 >= most)
		return false;
	if (!tried && most > HOP_ATTEMPTS_MAX)
		attempt = bpf_get_prandom_u32();
	attempt = 1 + attempt % (most - 1);
	skb->cb[2] = attempt | most << HOP_ATTEMPT_BITS | (tried + 1) << 2 * HOP_ATTEMPT_BITS;
	return true;
}

/* What LIMIT has done for the packet. */
enum hop_limit {
	HOP_RATED = 1 << 0,   /* it is not too early; its first slot has become an endpoint's since */
	HOP_LIMITED = 1 << 1, /* the flow in its slot may be looked for a mapping */
};

enum { HOP_KEPT_MASK = 0xff08ff00 }; /* retries, and what the TCP options said */

/* `again`: another program was there before, whose retries count on. */
inline_ __u32 hop_upper(const struct __sk_buff *skb)
{
	return hop_flags(skb) / HOP_UPPER & 1;
}

inline_ void hop_begin(struct __sk_buff *skb, __u32 l2, __u32 flags, bool again)
{
	skb->cb[0] = l2 | flags << 16 | (again ? skb->cb[0] & HOP_KEPT_MASK : 0);
	skb->cb[1] = 0;
	skb->cb[2] = 0;
	skb->cb[3] = 0;
	skb->cb[4] = 0;
}

/* Counts a retry; false when `most` of them have been. */
inline_ bool hop_retry(struct __sk_buff *skb, __u32 most)
{
	__u32 word = skb->cb[0];

	if (((word >> 8) & 0xff) >= most)
		return false;
	skb->cb[0] = word + (1 << 8);
	return true;
}

inline_ void hop_go(struct __sk_buff *skb, enum call call, const bool v6)
{
	bpf_tail_call(skb, &calls, call + v6);
}

/*
 * Why hop_go() came back. A packet has 33 tail calls; one that waits, by trying again, for another CPU with
 * the same flow uses them up when that one is held up meanwhile. Otherwise a program is missing.
 */
inline_ enum reason hop_failed(const struct __sk_buff *skb)
{
	return skb->cb[0] >> 8 & 0xff ? REASON_DROP_RACE : REASON_DROP_INTERNAL;
}

/* On to a program for which the packet is done with. */
inline_ void hop_done(struct __sk_buff *skb, enum call call, enum event_type type, __u32 slot, __u16 gen,
		      enum reason reason, enum hook_dir at, const bool v6)
{
	skb->cb[1] = slot;
	skb->cb[2] = gen | type << 16;
	skb->cb[3] = reason | at << 8;
	hop_go(skb, call, v6);
}

/*
 * The packet is done with, and has begun or changed the flow: EVENT tells so, counts the reason and ends the
 * packet. A new flow is published by EVENT.
 */
inline_ void hop_event(struct __sk_buff *skb, enum event_type type, __u32 slot, __u16 gen, enum reason reason,
		       enum hook_dir at, const bool v6)
{
	hop_done(skb, CALL_EVENT, type, slot, gen, reason, at, v6);
}

/* The same of a packet that keeps its flow's endpoint open; without an event where `type` is EVENT_NEW. */
inline_ void hop_touch(struct __sk_buff *skb, enum event_type type, __u32 slot, __u16 gen, enum reason reason,
		       enum hook_dir at, const bool v6)
{
	hop_done(skb, CALL_ENDPOINT_TOUCH, type, slot, gen, reason, at, v6);
}

/* In skb->cb[3]. For SUM: EVENT is next. For TRACK_NEW: SUM is. */
enum { HOP_TELL = 1 << 9, HOP_OWES_SUM = 1 << 10 };

/*
 * The packet is done with but for its sum, which covers ports that have changed by `ports`: SUM mends it and
 * ends the packet. `told`: HOP_TELL where EVENT is to, as of hop_event(), else 0.
 */
inline_ void hop_sum(struct __sk_buff *skb, __u32 ports, __u32 told, enum event_type type, __u32 slot,
		     __u16 gen, enum reason reason, enum hook_dir at, const bool v6)
{
	skb->cb[1] = slot;
	skb->cb[2] = gen | type << 16;
	skb->cb[3] = reason | at << 8 | told;
	skb->cb[4] = ports;
	hop_go(skb, CALL_SUM, v6);
}

/*
 * As hop_event() for a new flow, whose mark the rules for tracking are asked for first. `owes`: HOP_OWES_SUM
 * where SUM is to mend the packet for `ports`, as of hop_sum(), else 0.
 */
inline_ void hop_track_new(struct __sk_buff *skb, __u32 ports, __u32 owes, __u32 slot, __u16 gen,
			   enum reason reason, enum hook_dir at, const bool v6)
{
	skb->cb[1] = slot;
	skb->cb[2] = gen | EVENT_NEW << 16;
	skb->cb[3] = reason | at << 8 | owes;
	skb->cb[4] = ports;
	hop_go(skb, CALL_TRACK_NEW, v6);
}

/* What EVENT gets for a reason when a command, and no packet, has changed the flow; or when the packet goes
 * on to the hook. */
enum { EVENT_NO_PACKET = 0xff, EVENT_GO_ON = 0xfe };

/* What REAP does for a sweep, which it does not go back to. */
enum { REAP_FOR_SWEEP = CALL_INGRESS };

/* Has a flow ended; `back`: who asks, and goes on behind it: CALL_SEARCH at most. */
inline_ void hop_reap(struct __sk_buff *skb, __u32 slot, enum call back, const bool v6)
{
	skb->cb[0] = (skb->cb[0] & ~0xf0) | (__u32)back << 3;
	skb->cb[1] = (skb->cb[1] & 0xffff) | slot << 16;
	skb->cb[4] = (skb->cb[4] & 0xffff) | (slot & 0xffff0000);
	hop_go(skb, CALL_REAP, v6);
}

/* For REAP: which status bit saves the flow that it is to end (slot_saving_status). */
inline_ void hop_may_evict(struct __sk_buff *skb, __u32 saving)
{
	if (saving == CT_SEEN_REPLY)
		skb->cb[0] |= HOP_EVICT << 16;
	else if (saving == CT_ASSURED)
		skb->cb[0] |= HOP_EVICT_REPLIED << 16;
}

inline_ __u32 hop_saving_status(const struct __sk_buff *skb)
{
	__u32 flags = hop_flags(skb);

	return flags & HOP_EVICT ? CT_SEEN_REPLY : flags & HOP_EVICT_REPLIED ? CT_ASSURED : CT_CONFIRMED;
}

inline_ __u32 hop_reaped_slot(const struct __sk_buff *skb)
{
	return skb->cb[1] >> 16 | (skb->cb[4] & 0xffff0000);
}

inline_ enum call hop_reaped_for(const struct __sk_buff *skb)
{
	return (skb->cb[0] & 0xf0) >> 3;
}

#endif
