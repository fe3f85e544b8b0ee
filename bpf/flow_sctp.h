/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Between a packet and the SCTP machine (sctp.h): reads the chunks, takes the machine's word into the flow.
 * The hook hands an SCTP packet to this program and gets it back judged: a walk over chunks has too many ways
 * through it to stand in the hook. What was found out travels in the highest byte of skb->cb[0].
 */
#ifndef CTNAT_FLOW_SCTP_H
#define CTNAT_FLOW_SCTP_H

#include "calls.h"
#include "clock.h"
#include "flow.h"
#include "sctp.h"

/* The highest byte of skb->cb[0] of an SCTP packet whose chunks have been read. */
enum sctp_word {
	/* what a flow that begins with the packet is (sctp_begin()), 0 if none may, or this: the packet's
	 * flow has seen it (low nibble: enum sctp_verdict) */
	SCTP_WORD_TRACKED = 0xf0,
	SCTP_WORD_CHANGED = 0x08, /* and has changed: an event is due */
};

/* Chunks looked at in one packet. Control chunks stand before DATA (RFC 9260 section 6.10). */
enum { SCTP_CHUNKS_MAX = 12 };

_Static_assert(sizeof(struct sctp_track) <= sizeof(struct tcp_track), "both lie in the same place");

inline_ struct sctp_track *flow_sctp(struct flow *f)
{
	return (struct sctp_track *)&f->tcp;
}

inline_ __u32 sctp_word(const struct __sk_buff *skb)
{
	return skb->cb[0] >> 24;
}

inline_ void sctp_set_word(struct __sk_buff *skb, __u32 word)
{
	skb->cb[0] = (skb->cb[0] & 0x00ffffff) | word << 24;
}

inline_ bool sctp_has_changed(const struct __sk_buff *skb, const struct packet *p)
{
	return p->proto == IPPROTO_SCTP && (sctp_word(skb) & ~3) == (SCTP_WORD_TRACKED | SCTP_WORD_CHANGED);
}

/* Whether the packet is one of SCTP that shows its chunks. */
inline_ bool packet_has_chunks(const struct packet *p)
{
	return p->proto == IPPROTO_SCTP && !(p->flags & PACKET_FOLLOWER);
}

/* A first fragment's chunks may end behind it: what of them is there counts. */
inline_ void sctp_read(struct __sk_buff *skb, const struct packet *p, volatile struct sctp_packet *pkt,
		       __u32 zero)
{
	__u32 end = p->l3 + p->length, offset = p->l4 + SCTP_HEADER, word;

	__builtin_memset((void *)pkt, 0, sizeof(*pkt));
	pkt->vtag = p->seq;
	if (packet_words(skb, offset + SCTP_CHUNK_HEADER, &word, 1))
		pkt->init_tag = word;
	UNROLL
	for (int i = 0; i < SCTP_CHUNKS_MAX; i++) {
		__u32 length;

		hide(offset); /* keeps the end of the walk apart from the end of the packet: unrolled by that
			       */
		if (offset + SCTP_CHUNK_HEADER > end || bpf_skb_load_bytes(skb, offset, &word, sizeof(word)))
			break;
		length = bpf_ntohs((__be16)(word >> 16));
		sctp_packet_add(pkt, word & 0xff, word >> 8 & 0xff, length);
		offset += (length + 3) & ~3U; /* without a length: the same again, which is broken already */
	}
	/* an INIT without its first word has no tag to go by */
	if (pkt->present & (1 << SCTP_INIT | 1 << SCTP_INIT_ACK) &&
	    p->l4 + SCTP_HEADER + 2 * SCTP_CHUNK_HEADER > end)
		pkt->is_broken = 1;
	blur(pkt->kinds, zero);
	blur(pkt->present, zero);
	blur(pkt->count, zero);
	blur(pkt->judged, zero);
	blur(pkt->is_broken, zero);
	blur(pkt->is_reflected, zero);
}

/* Lets the flow see the packet; returns the word for the hook. */
inline_ __u32 sctp_flow_track(struct flow *f, const volatile struct sctp_packet *pkt, enum ct_dir dir,
			      __u32 now, const struct settings *s)
{
	__u32 state = read_once(f->state);
	struct sctp_result result;

	sctp_track_packet(flow_sctp(f), pkt, state, dir, s->zero, &result);
	if (result.state != state)
		write_once(f->state, result.state);
	if (result.assures)
		flow_set_status(f, CT_ASSURED);
	if (result.verdict != SCTP_VERDICT_INVALID) {
		if (dir == CT_DIR_REPLY)
			flow_set_status(f, CT_SEEN_REPLY);
		if (result.verdict == SCTP_VERDICT_ACCEPT)
			flow_prolong(f, now + timeout_of(s, CT_TIMEOUT_SCTP_CLOSED - CT_SCTP_CLOSED +
								    result.state));
	}
	return SCTP_WORD_TRACKED | result.verdict;
}

/* False: no association begins with this packet. */
inline_ bool sctp_flow_begin(struct __sk_buff *skb, struct flow *f, const struct packet *p, __u32 now,
			     const struct settings *s)
{
	__u32 word = sctp_word(skb), init_tag = 0, state = word & 0xf;

	if (hop_flags(skb) & HOP_JUDGE)
		return true; /* the flow that this one succeeds has seen the packet; it inherits all of it */
	if (!word || word >= SCTP_WORD_TRACKED)
		return false;
	packet_words(skb, p->l4 + SCTP_HEADER + SCTP_CHUNK_HEADER, &init_tag, 1);
	sctp_begin_track(flow_sctp(f), word >> 4, p->seq, init_tag);
	f->state = state;
	f->deadline = now + timeout_of(s, CT_TIMEOUT_SCTP_CLOSED - CT_SCTP_CLOSED + state);
	return true;
}

#endif
