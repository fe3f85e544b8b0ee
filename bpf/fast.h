/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way through a hook, for what nearly every packet is: IPv4 without options or IPv6 without
 * extension headers and not a fragment, UDP, or TCP's plain acknowledgements and data; of a flow that is
 * known and needs nothing but its translation. It reads the headers once, where they lie, and keeps
 * everything in registers.
 *
 * Whatever is not so goes the long way (hook.h), and nothing has been changed by then: here stands no rule of
 * its own. What both ways do is the same function, but for parsing and writing, which test/prog/fast.test.ts
 * compares packet by packet. A packet that changes a flow's state or status goes the long way too, so that
 * there are no events to be told of here. While there are rules for tracking no packet goes it (track.h).
 */
#ifndef CTNAT_FAST_H
#define CTNAT_FAST_H

#include "conntrack.h"
#include "fast_packet.h"
#include "hint.h"
#include "redirect.h"
#include "rewrite_direct.h"
#include "translate.h"
#include "verdict.h"

enum { FAST_NOT = 0x7fff }; /* no verdict: the packet is to go the long way */

/* Where the L4 header's words are. */
enum {
	WORD_PORTS = 0,
	WORD_SEQ = 1,
	WORD_ACK = 2,
	WORD_TCP_FLAGS = 3, /* header length, flags, window */
	WORD_UDP_LENGTH = 1,
	WORD_TCP_OPTIONS = 5,
};

/* The IP header's part, of a packet whose first 28 or 48 bytes are there. */
inline_ bool fast_parse_ip(const struct __sk_buff *skb, const __u32 l2, const __u32 *w, struct fast_packet *p,
			   const bool v6)
{
	if (v6) {
		address_copy(p->saddr, w + WORD_SADDR6, true);
		address_copy(p->daddr, w + WORD_DADDR6, true);
		if ((w[0] & 0xf0) != 0x60 || ipv6_is_untracked(p->saddr, p->daddr))
			return false;
		p->proto = w[1] >> 16 & 0xff;
		p->length = bpf_ntohl(w[1]) >> 16; /* 0: a jumbogram */
		if (!p->length)
			return false;
		p->length += IP6_HEADER_WORDS * 4;
		p->hops = w[1] >> 24;
		p->traffic = w[0] & bpf_htonl(0x0fffffff);
	} else {
		if ((w[0] & 0xff) != 0x45 || w[1] & bpf_htonl(0x3fff))
			return false;
		p->saddr[0] = w[WORD_SADDR4];
		p->daddr[0] = w[WORD_DADDR4];
		p->traffic = w[0] >> 8 & 0xff;
		p->hops = w[2] & 0xff;
		/* multicast, and what lies above */
		if (!p->saddr[0] || (p->daddr[0] & 0xe0) == 0xe0)
			return false;
		p->length = bpf_ntohl(w[0]) & 0xffff;
		p->proto = ((const __u8 *)w)[9];
	}
	return p->length <= skb->len - l2;
}

/* False: the packet goes the long way. */
inline_ bool fast_parse(struct __sk_buff *skb, const __u32 l2, struct fast_packet *p, const bool v6)
{
	const __u32 words = v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS;
	void *data = packet_begin(skb), *end = packet_end(skb);
	const __u32 *w = data + l2, *l4 = w + words;
	__u32 left, header;

	if ((void *)(l4 + 2) > end || !fast_parse_ip(skb, l2, w, p, v6))
		return false;
	p->ports = l4[WORD_PORTS];
	left = p->length - words * 4;
	if (p->proto == IPPROTO_TCP) {
		if ((void *)(l4 + 5) > end)
			return false;
		header = bpf_ntohl(l4[WORD_TCP_FLAGS]) >> 28 << 2;
		if (header != 20) {
			if ((void *)(l4 + 8) > end || !header ||
			    !tcp_options_are_plain(header - 20, l4[WORD_TCP_OPTIONS]))
				return false;
		}
		if (p->length < words * 4 + header)
			return false;
		p->tcp_flags = l4[WORD_TCP_FLAGS] >> 8 & 0xff;
		p->seg.seq = bpf_ntohl(l4[WORD_SEQ]);
		p->seg.ack = bpf_ntohl(l4[WORD_ACK]);
		p->seg.sack = p->seg.ack;
		p->seg.end = p->seg.seq + left - header; /* neither SYN nor FIN */
		p->seg.window = bpf_ntohs((__be16)(l4[WORD_TCP_FLAGS] >> 16));
		p->header = header;
		return true;
	}
	if (p->proto != IPPROTO_UDP || p->length < words * 4 + 8)
		return false;
	/* verifier: it may take a datagram for a segment */
	p->seg = (struct tcp_ack){};
	p->tcp_flags = 0;
	p->header = 8;
	header = bpf_ntohs((__be16)l4[WORD_UDP_LENGTH]);
	return header >= 8 && header <= left;
}

/* The packet's key, as tuple_key() makes it, without a branch; returns 1 if the source is endpoint 1. */
inline_ __u64 fast_key(union paired_key *key, const struct fast_packet *p, __u32 zone, const bool v6)
{
	__u64 from = p->ports & 0xffff, to = p->ports >> 16, high, change,
	      rest = (__u64)p->proto << 32 | (__u64)zone << 48;

	if (v6) {
		high = address_above(p->saddr, p->daddr, from, to, true);
		change = -high;
		hide(change);
		key_ends(key->tuple.v6.addr[0], key->tuple.v6.addr[1], p->saddr, p->daddr, change, 4);
		change &= from ^ to;
		key->pairs[4] = (from ^ change) | (to ^ change) << 16 | rest;
		return high;
	}
	from |= (__u64)p->saddr[0] << 16;
	to |= (__u64)p->daddr[0] << 16;
	high = (to - from) >> 63;
	change = (from ^ to) & -high;
	from ^= change;
	to ^= change;
	key->pairs[0] = from >> 16 | to >> 16 << 32;
	key->pairs[1] = (from & 0xffff) | (to & 0xffff) << 16 | rest;
	return high;
}

/* What this hook changes of a packet that goes against the tuple `back`: the reverse of that is how it
 * leaves. */
inline_ void fast_change(struct rewrite_side *change, const struct fast_packet *p, const struct flow *f,
			 __u64 back, const enum hook_dir at, const bool v6)
{
	const struct tuple4 *other4 = ((const struct flow4 *)f)->tuple;
	const struct tuple6 *other6 = ((const struct flow6 *)f)->tuple;

	hide(back);
	back &= 1;
	if (v6)
		other6 += back;
	else
		other4 += back;
	if (at == HOOK_INGRESS) {
		address_copy(change->from, p->daddr, v6);
		address_copy(change->to, v6 ? other6->saddr : &other4->saddr, v6);
		change->from_port = p->ports >> 16;
		change->to_port = v6 ? other6->sport : other4->sport;
	} else {
		address_copy(change->from, p->saddr, v6);
		address_copy(change->to, v6 ? other6->daddr : &other4->daddr, v6);
		change->from_port = p->ports & 0xffff;
		change->to_port = v6 ? other6->dport : other4->dport;
	}
}

/* Ingress: whether a flow may begin with the packet, and it is egress that begins it. */
inline_ bool fast_is_deferred(struct __sk_buff *skb, const struct fast_packet *p, const struct settings *s,
			      const bool v6)
{
	if (s->rule_count || (p->proto == IPPROTO_TCP && !tcp_can_begin(p->tcp_flags, s->flags)))
		return false;
	return egress_will_see(skb, p->proto, p->saddr, p->daddr, v6);
}

/* `redirect`: at ingress, packets that have a way past the stack take it. */
inline_ int fast(struct __sk_buff *skb, struct settings *s, const enum hook_dir at, const __u32 l2,
		 const bool upper, const bool redirect, const bool v6)
{
	__u32 tag = at == HOOK_EGRESS || upper ? skb->tc_index : 0, now = clock_now(), slot, which, timeout;
	struct fast_packet p;
	union paired_key key;
	struct fast_match m;
	enum fast_found found;
	struct rewrite_side change;
	const struct way *way = NULL;
	struct fast_leaving to;
	struct flow *f;
	__u64 high, dir, seen, counts;
	bool due = false;
	__u16 gen, gains;

	if (!s || tag_is_middle(tag) || !fast_parse(skb, l2, &p, v6))
		return FAST_NOT;
	high = fast_key(&key, &p, tag_zone(tag, zones_read(skb, at, s)), v6);
	found = fast_find(&m, s, &key, &p, high, at == HOOK_EGRESS || home_is_likely(s, skb->ifindex), now,
			  v6);
	if (unlikely(found != FAST_FOUND)) {
		if (found == FAST_UNSURE || upper || tag || !settings_are_plain(s))
			return FAST_NOT;
		if (at == HOOK_INGRESS && fast_is_deferred(skb, &p, s, v6))
			return verdict_pass(skb, at, REASON_DEFERRED);
		if (at == HOOK_EGRESS) {
			hop_begin(skb, l2, 0, false);
			skb->cb[4] = home_word(s, &key, v6);
			hop_go(skb, CALL_BIRTH, v6);
		}
		return FAST_NOT;
	}
	f = m.flow;
	slot = m.slot;
	gen = m.gen;
	dir = m.dir & 1;
	seen = tag_matches(tag, slot);
	/* before all: its source is to be judged, also when to the flow as it is the packet is done */
	if (at == HOOK_EGRESS && dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS)
		return FAST_NOT;
	if (m.turned & ~m.plain & 1) { /* STAGE_DONE */
		if (!seen)
			return FAST_NOT;
		goto done;
	}
	if (redirect && likely(!(s->flags & SETTING_ZONES))) /* the zone that it leaves by: egress */
		way = redirect_find(skb, &p, f, slot, gen, dir, now, &to, v6);
	if (!seen) {
		if (p.proto == IPPROTO_TCP) {
			timeout = tcp_track_usual(f, &p.seg, p.tcp_flags, dir, s);
			if (!timeout)
				return FAST_NOT;
		} else {
			which = talk_judge(f, IPPROTO_UDP, CT_TIMEOUT_UDP, dir, now, &gains);
			if (gains & ~f->status) /* worth an event */
				return FAST_NOT;
			timeout = timeout_of(s, which);
		}
		due = endpoint_is_due(f, f->deadline, now + timeout, 0);
		flow_prolong(f, now + timeout);
		counts = counts_of(dir);
		hide(counts);
		counts &= 1;
		f->counts[counts].packets += 1;
		f->counts[counts].bytes += p.length;
	}
	if (redirect && way) {
		if (!redirect_rewrite(skb, &p, &to, way, v6))
			goto drop;
		return redirect_send(skb, f, dir, way);
	}
	if (m.plain & 1)
		goto done; /* not translated */
	fast_change(&change, &p, f, dir ^ 1, at, v6);
	barrier_compiler();
	if (read_once(f->gen) != gen) /* the copy may be half another flow's (slot.h) */
		goto drop;
	if (rewrite_changes(&change, v6) &&
	    rewrite_direct(skb, l2, checksum_by(skb), at == HOOK_INGRESS ? SIDE_DESTINATION : SIDE_SOURCE,
			   p.proto == IPPROTO_TCP, p.length - (v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS) * 4,
			   &change, v6))
		goto drop;
done:
	/* a reply that is the first has gone the long way */
	flow_count_class(skb, f, CT_DIR_ORIGINAL, at);
	tag_packet(skb, f, slot, dir, at, upper);
	if (unlikely(due)) {
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, false);
		hop_touch(skb, EVENT_NEW, slot, gen, REASON_FORWARDED, at, v6);
	}
	return verdict_pass(skb, at, REASON_FORWARDED);
drop:
	hop_begin(skb, l2, upper ? HOP_UPPER : 0, false); /* for whom drops are told */
	return verdict_drop(skb, at, REASON_DROP_REWRITE);
}

#endif
