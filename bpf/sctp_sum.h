/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * SUM: a translation has changed a port of an SCTP packet, and the CRC32c that covers it changes with it
 * (RFC 9260 section 6.8). Nobody but whoever changed the ports knows by what, so it is handed on.
 *
 * A sum of 0 stays 0. It is none (RFC 9653), or is yet to be made, by the device or whoever segments the
 * packet: the sender's kernel has left 0 there (sctp_packet_pack(), CHECKSUM_PARTIAL, with GSO always), and
 * whoever fills it in does so over the new ports. One real sum in 2^32 is 0, too; that packet is lost.
 *
 * Of a fragmented packet the first fragment shows neither the length nor all that the sum is made over: it is
 * dropped where a port changes.
 */
#ifndef CTNAT_SCTP_SUM_H
#define CTNAT_SCTP_SUM_H

#include "crc32c.h"
#include "hook.h"
#include "icmp_error.h"

enum { SCTP_SUM_OFFSET = 8 };

/* The packet's sum, by what its ports have changed; 0, or a negative number when it can't be written. */
inline_ long sctp_sum_mend(struct __sk_buff *skb, __u32 l4, __u32 length, __u32 change)
{
	__u32 sum;

	if (!packet_words(skb, l4 + SCTP_SUM_OFFSET, &sum, 1))
		return -1;
	if (!sum)
		return 0;
	sum ^= crc32c_change(change, length);
	return bpf_skb_store_bytes(skb, l4 + SCTP_SUM_OFFSET, &sum, 4, BPF_F_RECOMPUTE_CSUM);
}

/* CALL_SUM: ends the packet as the hook would have. */
inline_ int sctp_sum(struct __sk_buff *skb, const bool v6)
{
	__u32 word = skb->cb[3], at = word >> 8 & 1, reason = word & 0xff;
	struct settings *s = settings_get();
	struct packet p;

	if (!s || packet_parse(skb, v6, hop_l2(skb), &p))
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	packet_blur(&p, s->zero);
	if (p.flags & PACKET_FIRST)
		reason = REASON_DROP_PORT_FIXED;
	else if (sctp_sum_mend(skb, p.l4, p.length - (p.l4 - p.l3), skb->cb[4]))
		reason = REASON_DROP_REWRITE;
	blur(reason, s->zero);
	if (word & HOP_TELL) {
		skb->cb[3] = (word & ~0xff) | (reason & 0xff);
		hop_go(skb, CALL_EVENT, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	return verdict_end(skb, at, reason & 0xff);
}

/* Bytes of the quoted packet from its L4 header on, by its IP header. */
inline_ __u32 quote_length(const struct quote *q, __u32 word, const bool v6)
{
	__u32 header = q->l4 - q->l3;

	return v6 ? bpf_ntohs((__be16)word) + 40 - header : bpf_ntohs((__be16)(word >> 16)) - header;
}

/*
 * CALL_SUM_QUOTE: the same of an SCTP packet that an ICMP error quotes, as much of it as there is: what its
 * sum was made over is as long as the quoted header says. The ICMP message's own sum changes with it.
 */
inline_ int sctp_sum_quote(struct __sk_buff *skb, const bool v6)
{
	__u32 at = skb->cb[3] >> 8 & 1, word, had, sum;
	struct settings *s = settings_get();
	struct quote q = {};
	struct packet p;

	if (!s || packet_parse(skb, v6, hop_l2(skb), &p))
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	packet_blur(&p, s->zero);
	if (!(v6 ? quote_parse6(skb, &p, &q) : quote_parse4(skb, &p, &q)))
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	blur(q.l4, s->zero);
	if (!packet_words(skb, q.l3 + (v6 ? 4 : 0), &word, 1) ||
	    !packet_words(skb, q.l4 + SCTP_SUM_OFFSET, &had, 1))
		return verdict_drop(skb, at, REASON_DROP_REWRITE);
	sum = had ? had ^ crc32c_change(skb->cb[4], quote_length(&q, word, v6)) : 0;
	if (error_store(skb, p.l4 + 2, q.l4 + SCTP_SUM_OFFSET, had, sum, 4))
		return verdict_drop(skb, at, REASON_DROP_REWRITE);
	return verdict_pass(skb, at, REASON_RELATED);
}

#endif
