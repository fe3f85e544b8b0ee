/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The short way through a hook, for what nearly every packet is: IPv4 without options and not a fragment,
 * UDP, or TCP's plain acknowledgements and data; of a flow that is known and needs nothing but its
 * translation. It reads the headers once, where they lie, and keeps everything in registers.
 *
 * Whatever is not so goes the long way (hook.h), and nothing has been changed by then: here stands no rule of
 * its own. What both ways do is the same function, but for parsing and writing, which test/prog/fast.test.ts
 * compares packet by packet. A packet that changes a flow's state or status goes the long way too, so that
 * there are no events to be told of here.
 */
#ifndef CTNAT_FAST_H
#define CTNAT_FAST_H

#include "conntrack.h"
#include "fast_packet.h"
#include "redirect.h"
#include "rewrite_direct.h"
#include "translate.h"
#include "verdict.h"

enum { FAST_NOT = 0x7fff }; /* no verdict: the packet is to go the long way */

/* Where the L4 header's words are, counted from the IP header. */
enum {
	WORD_PORTS = 5,
	WORD_SEQ = 6,
	WORD_ACK = 7,
	WORD_TCP_FLAGS = 8, /* header length, flags, window */
	WORD_UDP_LENGTH = 6,
	WORD_TCP_OPTIONS = 10,
};

/* False: the packet goes the long way. */
inline_ bool fast_parse(struct __sk_buff *skb, const __u32 l2, struct fast_packet *p)
{
	void *data = packet_begin(skb), *end = packet_end(skb);
	const __u32 *w = data + l2;
	__u32 left, header;

	if ((void *)(w + 7) > end)
		return false;
	if ((w[0] & 0xff) != 0x45 || w[1] & bpf_htonl(0x3fff))
		return false;
	p->saddr = w[3];
	p->daddr = w[4];
	p->tos = w[0] >> 8 & 0xff;
	if (!p->saddr || (p->daddr & 0xe0) == 0xe0) /* multicast, and what lies above */
		return false;
	p->ports = w[WORD_PORTS];
	p->length = bpf_ntohl(w[0]) & 0xffff;
	p->proto = ((const __u8 *)w)[9];
	if (p->length > skb->len - l2)
		return false;
	left = p->length - 20;
	if (p->proto == IPPROTO_TCP) {
		if ((void *)(w + 10) > end)
			return false;
		header = bpf_ntohl(w[WORD_TCP_FLAGS]) >> 28 << 2;
		if (header != 20) {
			if ((void *)(w + 13) > end || !header ||
			    !tcp_options_are_plain(header - 20, w[WORD_TCP_OPTIONS]))
				return false;
		}
		if (p->length < 20 + header)
			return false;
		p->tcp_flags = w[WORD_TCP_FLAGS] >> 8 & 0xff;
		p->seg.seq = bpf_ntohl(w[WORD_SEQ]);
		p->seg.ack = bpf_ntohl(w[WORD_ACK]);
		p->seg.sack = p->seg.ack;
		p->seg.end = p->seg.seq + left - header; /* neither SYN nor FIN */
		p->seg.window = bpf_ntohs((__be16)(w[WORD_TCP_FLAGS] >> 16));
		p->header = header;
		return true;
	}
	if (p->proto != IPPROTO_UDP || p->length < 28)
		return false;
	p->header = 8;
	header = bpf_ntohs((__be16)w[WORD_UDP_LENGTH]);
	return header >= 8 && header <= left;
}

/* Written in two pieces: the hash is fed from the very bytes, and small stores would have to be finished
 * first. */
union fast_key {
	struct tuple4_key tuple;
	__u64 words[2];
};

/* The packet's key, as tuple_key() makes it, without a branch; returns 1 if the source is endpoint 1. */
inline_ __u64 fast_key(union fast_key *key, const struct fast_packet *p, __u32 zone)
{
	__u64 from = (__u64)p->saddr << 16 | (p->ports & 0xffff), to = (__u64)p->daddr << 16 | p->ports >> 16;
	__u64 high = (to - from) >> 63, change = (from ^ to) & -high;

	from ^= change;
	to ^= change;
	key->words[0] = from >> 16 | to >> 16 << 32;
	key->words[1] = (from & 0xffff) | (to & 0xffff) << 16 | (__u64)p->proto << 32 | (__u64)zone << 48;
	return high;
}

/* `redirect`: at ingress, packets that have a way past the stack take it. */
inline_ int fast4(struct __sk_buff *skb, const enum hook_dir at, const __u32 l2, const bool upper,
		  const bool redirect)
{
	__u32 tag = at == HOOK_EGRESS || upper ? skb->tc_index : 0, now = clock_now(), slot, which, timeout;
	struct settings *s = settings_get();
	const struct tuple4 *other;
	struct fast_packet p;
	union fast_key key;
	struct tuple_ref *ref;
	struct rewrite_side4 change;
	struct redirect_way way;
	bool sends = false;
	struct flow *f;
	__u64 high, turned, dir, back, form, seen;
	bool due = false;
	__u16 gen, gains;

	if (!s || tag_is_middle(tag) || !fast_parse(skb, l2, &p))
		return FAST_NOT;
	high = fast_key(&key, &p, tag_zone(tag, zones_read(skb, at, s)));
	ref = bpf_map_lookup_elem(&tuples4, &key.tuple);
	if (!ref)
		return FAST_NOT;
	slot = ref->slot;
	gen = ref->gen;
	form = ref->form;
	f = bpf_map_lookup_elem(&flows4, &slot);
	if (!f || !flow_is_live(f, gen, now))
		return FAST_NOT;
	/* form_dir() and form_stage() without a branch; there is no FORM_MIDDLE without TAG_MIDDLE */
	turned = (high ^ form) & 1;
	dir = (turned ^ (form >> 1 & 1) ^ 1) & 1;
	seen = tag_matches(tag, slot);
	/* before all: its source is to be judged, also when to the flow as it is the packet is done */
	if (at == HOOK_EGRESS && dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS)
		return FAST_NOT;
	if (turned & ~(form >> 1 & form >> 2)) { /* STAGE_DONE */
		if (!seen)
			return FAST_NOT;
		goto done;
	}
	if (redirect && likely(!(s->flags & SETTING_ZONES))) /* the zone that it leaves by: egress */
		sends = redirect_find4(skb, &p, f, gen, dir, now, &way);
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
		hide(dir);
		dir &= 1;
		f->packets[dir] += 1;
		f->bytes[dir] += p.length;
	}
	if (redirect && sends) {
		if (!redirect_rewrite4(skb, &p, &way))
			goto drop;
		return redirect_send(skb, f, dir, &way);
	}
	if ((form & (FORM_ORIGINAL | FORM_REPLY)) == (FORM_ORIGINAL | FORM_REPLY))
		goto done; /* not translated, as the key says already */
	other = ((struct flow4 *)f)->tuple;
	back = dir ^ 1;
	hide(back);
	back &= 1;
	other += back;
	if (at == HOOK_INGRESS) {
		change = (struct rewrite_side4){p.daddr, other->saddr, p.ports >> 16, other->sport};
	} else {
		change = (struct rewrite_side4){p.saddr, other->daddr, p.ports & 0xffff, other->dport};
	}
	barrier_compiler();
	if (read_once(f->gen) != gen) /* the copy may be half another flow's (slot.h) */
		goto drop;
	if (change.from != change.to || change.from_port != change.to_port) {
		if (rewrite_direct4(skb, l2, at == HOOK_INGRESS ? SIDE_DESTINATION : SIDE_SOURCE,
				    p.proto == IPPROTO_TCP, p.length - 20, &change))
			goto drop;
	}
done:
	/* a reply that is the first has gone the long way */
	flow_count_class(skb, f, CT_DIR_ORIGINAL, at);
	tag_packet(skb, f, slot, dir, at, upper);
	if (unlikely(due)) {
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, false);
		hop_touch(skb, EVENT_NEW, slot, gen, REASON_FORWARDED, at, false);
	}
	return verdict_pass(skb, at, REASON_FORWARDED);
drop:
	hop_begin(skb, l2, upper ? HOP_UPPER : 0, false); /* for whom drops are told */
	return verdict_drop(skb, at, REASON_DROP_REWRITE);
}

#endif
