/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What a packet does to its flow: state, status, deadline, counters. And which packets may begin one.
 * The fields are shared with every other CPU that has a packet of the flow; nothing is locked. Two packets
 * that race may lose one of two counts, or set the deadline to the earlier of two ticks that are one apart;
 * status bits are only ever set, and a bit that a race loses is set again by the next packet.
 */
#ifndef CTNAT_CONNTRACK_H
#define CTNAT_CONNTRACK_H

#include "flow_sctp.h"
#include "flow_tcp.h"
#include "slot.h"

/* A UDP flow is a stream when it still talks both ways 2 s after its first packet (nf_conntrack_proto_udp).
 */
enum { UDP_STREAM_TICKS = 120 };

_Static_assert(CT_TIMEOUT_UDP_STREAM == CT_TIMEOUT_UDP + 1 && CT_TIMEOUT_GRE_STREAM == CT_TIMEOUT_GRE + 1,
	       "a stream's timeout stands behind its protocol's");

/* The timeout of a flow without states that nobody has answered. Netfilter gives UDP-Lite UDP's. */
inline_ enum ct_timeout proto_timeout(__u8 proto)
{
	switch (proto) {
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return CT_TIMEOUT_UDP;
	case IPPROTO_ICMP:
		return CT_TIMEOUT_ICMP;
	case IPPROTO_ICMPV6:
		return CT_TIMEOUT_ICMPV6;
	case IPPROTO_GRE:
		return CT_TIMEOUT_GRE;
	default:
		return CT_TIMEOUT_GENERIC;
	}
}

inline_ void flow_count(struct flow *f, enum ct_dir dir, __u32 bytes)
{
	struct flow_count *count = dir == CT_DIR_ORIGINAL ? &f->counts[counts_of(CT_DIR_ORIGINAL)]
							  : &f->counts[counts_of(CT_DIR_REPLY)];

	count->packets += 1;
	count->bytes += bytes;
}

/*
 * The timeout (enum ct_timeout) that a packet of a protocol without states gives, and in *gains the status
 * bits that the flow has then. `which`: the protocol's, as proto_timeout() has it.
 */
inline_ __u32 talk_judge(const struct flow *f, __u8 proto, __u32 which, enum ct_dir dir, __u32 now,
			 __u16 *gains)
{
	*gains = 0;
	if (!(f->status & CT_SEEN_REPLY)) {
		if (dir == CT_DIR_REPLY)
			*gains = CT_SEEN_REPLY;
	} else if (proto == IPPROTO_GRE || proto == IPPROTO_UDPLITE ||
		   (which == CT_TIMEOUT_UDP && !tick_before(now, f->created + UDP_STREAM_TICKS))) {
		*gains = CT_ASSURED;
		which += 1; /* the stream's stands behind */
	}
	return which;
}

/*
 * Lets the flow see the packet. TRACK_OK: state, status, deadline and counters are up to date. Followers
 * are counted and prolong; what their headers would say of TCP nobody knows.
 */
inline_ enum track flow_track(struct __sk_buff *skb, struct flow *f, const struct packet *p, enum ct_dir dir,
			      __u32 now, const struct settings *s)
{
	__u32 which;
	__u16 gains;

	if (p->proto == IPPROTO_TCP) {
		if (!(p->flags & PACKET_FOLLOWER)) {
			enum track track = tcp_flow_track(skb, f, p, dir, now, s);

			if (track == TRACK_LAST)
				counter_add(COUNTER_CLOSED, 1);
			else if (track != TRACK_OK)
				return track;
		}
	} else if (p->proto == IPPROTO_SCTP) {
		if ((sctp_word(skb) & ~SCTP_WORD_CHANGED) == (SCTP_WORD_TRACKED | SCTP_VERDICT_INVALID))
			return TRACK_INVALID; /* a follower's word is 0 */
	} else {
		which = proto_timeout(p->proto);
		blur(which, s->zero);
		which = talk_judge(f, p->proto, which, dir, now, &gains);
		flow_set_status(f, gains);
		blur(which, s->zero);
		flow_prolong(f, now + timeout_of(s, which));
	}
	flow_count(f, dir, p->length);
	return TRACK_OK;
}

/*
 * Counts a packet that its flow has seen, if it is of class NEW: of the original direction while nobody has
 * answered. A reply is ESTABLISHED, the first one too (nf_conntrack_core's resolve_normal_ct()).
 */
inline_ void flow_count_class(const struct __sk_buff *skb, const struct flow *f, enum ct_dir dir,
			      const enum hook_dir at)
{
	if (dir == CT_DIR_ORIGINAL && unlikely(!(read_once(f->status) & CT_SEEN_REPLY)))
		metric_count(METRIC_NEW, at, skb->len);
}

/* A new flow's protocol part: state and deadline. False: no flow begins with this packet. */
inline_ bool flow_begin(struct __sk_buff *skb, struct flow *f, const struct packet *p, __u32 now,
			const struct settings *s)
{
	if (p->proto == IPPROTO_TCP)
		return tcp_flow_begin(skb, f, p, now, s);
	if (p->proto == IPPROTO_SCTP)
		return sctp_flow_begin(skb, f, p, now, s);
	f->state = p->icmp_type; /* 0 for the others */
	f->deadline = now + timeout_of(s, proto_timeout(p->proto));
	return true;
}

#endif
