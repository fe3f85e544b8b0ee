/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Rules for tracking: which packets it passes by (notrack), and what becomes of marks. A flow's mark is set
 * or saved from a packet's, a packet's restored from its flow's. Of each of these three kinds the first rule
 * that matches acts; set and save are one kind. A mark is matched as it was when the packet came to the hook.
 *
 * A packet is asked about where ctnat meets it first, as the tuple that it came as: at ingress, or at egress
 * if it is the host's own or came in elsewhere. Rules with an outgoing interface are asked at egress, of
 * every packet; but nothing is untracked that a flow has seen. A flow is known at its second packet; its
 * first one is asked about when the flow is complete but for its mark (track_new), so that nobody sees it
 * without.
 *
 * While there are rules every packet comes by here, then goes the long way. Otherwise nothing of this is run.
 */
#ifndef CTNAT_TRACK_H
#define CTNAT_TRACK_H

#include "event.h"
#include "hook.h"

/* What the rules are asked about: a packet's words as struct track_rule has them. */
struct track_view {
	__u64 source[2]; /* IPv4: the low half of the first */
	__u64 destination[2];
	__u64 interfaces; /* in, out */
	__u64 rest;	  /* mark, protocol */
	__u64 sport;	  /* host order */
	__u64 dport;
};

inline_ struct track_rules *track_rules_get(const struct settings *s)
{
	__u32 bank = s->track_bank & 1;

	return bpf_map_lookup_elem(&track_rules, &bank);
}

inline_ __u64 address_half(const __be32 *words)
{
	return words[0] | (__u64)words[1] << 32;
}

inline_ void track_view(struct track_view *view, const struct __sk_buff *skb, const struct tuple6 *t,
			__u8 proto, enum hook_dir at, const bool v6)
{
	__u32 ifindex = skb->ifindex, came = skb->ingress_ifindex;

	hide(ifindex); /* verifier: one load of two places would be by a changed pointer to the context */
	hide(came);
	view->source[0] = v6 ? address_half(t->saddr) : t->saddr[0];
	view->destination[0] = v6 ? address_half(t->daddr) : t->daddr[0];
	if (v6) {
		view->source[1] = address_half(t->saddr + 2);
		view->destination[1] = address_half(t->daddr + 2);
	}
	view->sport = bpf_ntohs(t->sport);
	view->dport = bpf_ntohs(t->dport);
	view->interfaces = at == HOOK_INGRESS ? ifindex : came | (__u64)ifindex << 32;
	view->rest = skb->mark | (__u64)proto << 32;
}

/* Not 0 where a number is outside of min..max. verifier: arithmetic, as all of a rule's comparison */
inline_ __u64 outside(__u64 number, __u64 min, __u64 max)
{
	return ((number - min) | (max - number)) >> 63;
}

enum {
	TRACK_WORD_SOURCE = offsetof(struct track_rule, saddr) / 8,
	TRACK_WORD_SOURCE_MASK = offsetof(struct track_rule, smask) / 8,
	TRACK_WORD_DESTINATION = offsetof(struct track_rule, daddr) / 8,
	TRACK_WORD_DESTINATION_MASK = offsetof(struct track_rule, dmask) / 8,
	TRACK_WORD_INTERFACES = offsetof(struct track_rule, in) / 8,
	TRACK_WORD_INTERFACES_MASK = offsetof(struct track_rule, in_mask) / 8,
	TRACK_WORD_REST = offsetof(struct track_rule, mark) / 8,
	TRACK_WORD_REST_MASK = offsetof(struct track_rule, mark_mask) / 8,
};

_Static_assert(sizeof(struct track_rule) % 8 == 0 && offsetof(struct track_rules, rule) % 8 == 0,
	       "rules are compared by words of 64 bits");

/* 0 if the rule matches. */
inline_ __u64 track_differs(const struct track_rule *r, const struct track_view *view, const bool v6)
{
	const __u64 *w = (const void *)r;
	__u64 differs;

	differs = (view->source[0] & w[TRACK_WORD_SOURCE_MASK]) ^ w[TRACK_WORD_SOURCE];
	differs |= (view->destination[0] & w[TRACK_WORD_DESTINATION_MASK]) ^ w[TRACK_WORD_DESTINATION];
	if (v6) {
		differs |= (view->source[1] & w[TRACK_WORD_SOURCE_MASK + 1]) ^ w[TRACK_WORD_SOURCE + 1];
		differs |= (view->destination[1] & w[TRACK_WORD_DESTINATION_MASK + 1]) ^
			   w[TRACK_WORD_DESTINATION + 1];
	}
	differs |= (view->interfaces & w[TRACK_WORD_INTERFACES_MASK]) ^ w[TRACK_WORD_INTERFACES];
	differs |= (view->rest & w[TRACK_WORD_REST_MASK]) ^ w[TRACK_WORD_REST];
	differs |= outside(view->sport, r->sport_min, r->sport_max);
	differs |= outside(view->dport, r->dport_min, r->dport_max);
	return differs;
}

enum { TRACK_STEP = 8 /* rules looked at before it is asked whether there are more */ };

/* The rules that match, a bit each. What stands behind the last rule is of no family. */
inline_ __u32 track_match(const struct track_rules *rules, const struct track_view *view, __u32 zero,
			  const bool v6)
{
	__u64 hits = 0, differs;
	__u32 count = rules->count;

	UNROLL_LONG
	for (__u32 first = 0; first < TRACK_RULES_MAX; first += TRACK_STEP) {
		hide(count); /* or it becomes a bound of the loop, which can't be unrolled then */
		if (first >= count)
			break;
		UNROLL
		for (__u32 i = 0; i < TRACK_STEP; i++) {
			differs = track_differs(&rules->rule[first + i], view, v6);
			differs |= -differs;
			hide(differs);
			hits |= (~differs >> 63) << (first + i);
		}
		blur(hits, zero);
	}
	return hits & (v6 ? rules->ipv6 : rules->ipv4);
}

/* The lowest bit, the first rule's. */
inline_ __u32 track_first(__u32 hits)
{
	return hits & -hits;
}

/* Which bit that is. verifier: arithmetic */
inline_ __u32 track_index(__u32 bit)
{
	__u32 index = !!(bit & 0xffff0000) << 4;

	index |= !!(bit & 0xff00ff00) << 3;
	index |= !!(bit & 0xf0f0f0f0) << 2;
	index |= !!(bit & 0xcccccccc) << 1;
	index |= !!(bit & 0xaaaaaaaa);
	return index;
}

/* Does to the marks what the rules say, in their order. True: the flow's is another one now. */
inline_ bool track_marks(struct __sk_buff *skb, struct flow_extra *extra, const struct track_rules *rules,
			 __u32 hits, __u32 zero)
{
	__u32 change = track_first(hits & rules->change), restore = track_first(hits & rules->restore);
	__u32 before = read_once(extra->mark), after = before, bits = skb->mark, index;
	bool first = restore && restore - 1 < change - 1; /* also where there is no change */
	const struct track_rule *r;

	if (change) {
		index = track_index(change);
		blur(index, zero);
		hide(index);
		index &= TRACK_RULES_MAX - 1;
		r = &rules->rule[index];
		if (r->kind == TRACK_RULE_SET)
			bits = r->value;
		else if (first)
			bits = before;
		after = (before & ~r->value_mask) | (bits & r->value_mask);
		if (after != before)
			write_once(extra->mark, after);
	}
	if (restore)
		skb->mark = first ? before : after;
	return after != before;
}

/*
 * What ingress leaves with a packet that it has untracked: no kind, so no flow's. Made of the packet's tuple,
 * so that one that was wrapped in between is not taken for it.
 */
inline_ __u32 track_tag(const struct packet *p, const bool v6)
{
	__u64 sum = (__u64)p->tuple.saddr[0] * 3 + p->tuple.daddr[0] + p->proto;
	__u32 tag;

	if (v6)
		sum += (__u64)p->tuple.saddr[1] * 5 + (__u64)p->tuple.saddr[2] * 7 +
		       (__u64)p->tuple.saddr[3] * 11 + (__u64)p->tuple.daddr[1] * 13 +
		       (__u64)p->tuple.daddr[2] * 17 + (__u64)p->tuple.daddr[3] * 19;
	tag = sum * 0x9e3779b97f4a7c15ULL >> 51; /* 13 bits */
	return tag + 1;
}

_Static_assert((1 << 13) < TAG_SENT, "track_tag() is never TAG_SENT");

/* The packet's flow, where it has one. `seen`: a hook below or before has tracked it. */
struct track_found {
	__u32 slot;
	__u16 gen;
	enum ct_dir dir;
	bool seen;
	bool other; /* it looks like a translated packet of the flow, and is none */
};

inline_ struct flow *track_find(struct track_found *found, const struct packet *p, __u32 tag, bool local,
				__u32 zones, __u32 now, __u32 zero, const bool v6)
{
	union tuple_key key;
	struct tuple_ref *ref, copy;
	struct flow *f;
	__u32 high, form;

	high = packet_key(&key, p, tag, local, zones, v6);
	blur(high, zero);
	ref = tuple_find(&key, &copy, v6);
	if (!ref)
		return NULL;
	found->slot = ref->slot;
	found->gen = ref->gen;
	form = ref->form;
	f = flow_at(found->slot, v6);
	if (!f || !flow_is_live(f, found->gen, now))
		return NULL;
	found->dir = form_dir(form, high);
	found->seen = tag_matches(tag, found->slot);
	found->other = form_stage(form, high) == STAGE_DONE && !found->seen;
	return f;
}

/* Untracks the packet. */
inline_ int track_not(struct __sk_buff *skb, const struct packet *p, const enum hook_dir at, __u32 tag,
		      __u32 zones, __u32 now, const bool v6)
{
	if (p->flags & PACKET_FIRST) /* for rules with ports */
		fragment_remember(p, at, zones_in(zones), now, v6);
	if (at == HOOK_INGRESS || hop_upper(skb))
		skb->tc_index = tag;
	else
		skb->tc_index = 0; /* as tag_packet() */
	return verdict_pass(skb, at, REASON_UNTRACKED_RULE);
}

/* Before the hook. */
inline_ int track_packet(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), tag = 0, zones, hits, own, l2 = hop_l2(skb);
	struct settings *s = settings_get();
	struct track_found found = {};
	struct flow_extra *extra;
	struct track_rules *rules;
	struct track_view view;
	struct flow *f = NULL;
	struct tuple6 arrived;
	struct packet p;
	bool known = true;

	if (!s)
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	rules = track_rules_get(s);
	if (!rules || packet_parse(skb, v6, l2, &p))
		goto on; /* the hook's to judge */
	packet_blur(&p, s->zero);
	zones = zones_read(skb, at, s);
	if (at == HOOK_EGRESS || hop_upper(skb))
		tag = skb->tc_index;
	if (p.flags & PACKET_FOLLOWER)
		known = fragment_recall(&p, at, zones_in(zones), now, v6);
	blur(p.tuple.sport, s->zero);
	blur(p.tuple.dport, s->zero);
	blur(p.kind, s->zero);
	own = track_tag(&p, v6);
	if (tag == own)
		return track_not(skb, &p, at, own, zones, now, v6);
	if (known && !(p.flags & PACKET_ICMP_ERROR)) {
		f = track_find(&found, &p, tag, false, zones, now, s->zero, v6);
		/* a local socket's flow may have a key of its own (hook.h) */
		if (at == HOOK_EGRESS && f && found.other && !skb->ingress_ifindex)
			f = track_find(&found, &p, tag, true, zones, now, s->zero, v6);
		if (found.other)
			f = NULL;
	}
	if (f) {
		flow_tuple(f, found.dir, &arrived, v6);
		track_view(&view, skb, &arrived, p.proto, at, v6);
	} else {
		track_view(&view, skb, &p.tuple, p.proto, at, v6);
	}
	hits = track_match(rules, &view, s->zero, v6);
	blur(hits, s->zero);
	if (at == HOOK_INGRESS)
		hits &= ~rules->out;
	else if (f && found.seen)
		hits &= rules->out;
	if (f && found.seen)
		hits &= ~rules->notrack;
	if (hits & rules->notrack)
		return track_not(skb, &p, at, own, zones, now, v6);
	if (p.flags & PACKET_ICMP_ERROR && hits & rules->restore)
		skb->cb[0] |= HOP_RESTORE << 16;
	extra = f ? extra_at(found.slot, v6) : NULL;
	if (extra && track_marks(skb, extra, rules, hits, s->zero) && s->events[EVENT_UPDATE])
		hop_event(skb, EVENT_UPDATE, found.slot, found.gen, EVENT_GO_ON, at, v6);
on:
	hop_go(skb, call_again(at, false), v6);
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
}

/*
 * A new flow, by what hop_track_new() says: asked about by its original tuple, as its first packet has been
 * translated. At egress the packet's mark is the stack's by now: rules without an outgoing interface leave
 * it.
 */
inline_ int track_new(struct __sk_buff *skb, const bool v6)
{
	__u32 slot = skb->cb[1], word = skb->cb[3], reason = word & 0xff, at = word >> 8 & 1, hits, told = 0;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct track_rules *rules;
	struct flow_extra *extra;
	struct track_view view;
	struct tuple6 original;

	if (f && s) {
		rules = track_rules_get(s);
		extra = extra_at(slot, v6);
		if (rules && extra) {
			flow_tuple(f, CT_DIR_ORIGINAL, &original, v6);
			track_view(&view, skb, &original, f->proto, at, v6);
			hits = track_match(rules, &view, s->zero, v6);
			blur(hits, s->zero);
			hits &= at == HOOK_INGRESS ? ~rules->out : rules->out | ~rules->restore;
			track_marks(skb, extra, rules, hits, s->zero);
		}
		told = s->events[EVENT_NEW] ? HOP_TELL : 0;
	}
	if (told && !(word & HOP_OWES_SUM))
		hop_go(skb, CALL_EVENT, v6);
	if (f && !(told && word & HOP_OWES_SUM))
		slot_publish(f);
	if (word & HOP_OWES_SUM) {
		skb->cb[3] = reason | at << 8 | told;
		hop_go(skb, CALL_SUM, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	return verdict_end(skb, at, reason);
}

#endif
