/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The packet's walk through one hook: parse, find the flow, let it see the packet, translate. Everything
 * that is not a packet of a known flow goes to another program (calls.h).
 */
#ifndef CTNAT_HOOK_H
#define CTNAT_HOOK_H

#include "calls.h"
#include "conntrack.h"
#include "endpoint.h"
#include "fast.h"
#include "fragments.h"
#include "translate.h"
#include "verdict.h"

/* Whether the frame is IP of this interface's own; if not, *verdict says how it ends. */
inline_ bool frame_is_ours(struct __sk_buff *skb, const enum hook_dir at, int *verdict)
{
	*verdict = VERDICT_PASS;
	if (at == HOOK_INGRESS && skb->pkt_type != 0) {
		/* PACKET_HOST is 0. Broadcast, multicast, or for another host (bridged, promiscuous). */
		*verdict = verdict_pass(skb, at, REASON_UNTRACKED_MULTICAST);
		return false;
	}
	/* VLAN 0 is a priority tag: the frame is this interface's (IEEE 802.1Q clause 6.9) */
	if (skb->vlan_present && (skb->vlan_tci & 0xfff)) {
		*verdict = verdict_pass(skb, at, REASON_UNTRACKED_VLAN);
		return false;
	}
	return true;
}

inline_ int frame_not_ip(struct __sk_buff *skb, const enum hook_dir at)
{
	bool vlan = skb->protocol == bpf_htons(ETH_P_8021Q) || skb->protocol == bpf_htons(ETH_P_8021AD);

	return verdict_pass(skb, at, vlan ? REASON_UNTRACKED_VLAN : REASON_UNTRACKED_ETHERTYPE);
}

/*
 * Parses, and gives a follower its ports. `zone`: that the packet came in by. True: p names a tuple. False:
 * *verdict says how the packet ends.
 */
inline_ bool hook_parse(struct __sk_buff *skb, const enum hook_dir at, struct packet *p, __u32 l2, __u16 zone,
			__u32 now, const struct settings *s, int *verdict, const bool v6)
{
	enum reason reason = packet_parse(skb, v6, l2, p);

	packet_blur(p, s->zero);

	if (unlikely(reason)) {
		*verdict = reason < REASON_DROP_FIRST
				   ? verdict_pass(skb, at, reason)
				   : verdict_unjudged(skb, at, p, reason, REASON_PASSED_INVALID, v6);
		return false;
	}
	if (unlikely(p->flags & PACKET_FOLLOWER) && !fragment_recall(p, at, zone, now, v6)) {
		*verdict = verdict_unjudged(skb, at, p, REASON_DROP_FRAGMENT, REASON_PASSED_FRAGMENT, v6);
		return false;
	}
	return true;
}

inline_ enum call call_again(const enum hook_dir at, bool local)
{
	return at == HOOK_INGRESS ? CALL_INGRESS : local ? CALL_EGRESS_LOCAL : CALL_EGRESS;
}

/* The program that reads what the hook has no room for. */
inline_ enum call call_detour(const enum hook_dir at, __u8 proto)
{
	if (proto == IPPROTO_SCTP)
		return at == HOOK_INGRESS ? CALL_SCTP_INGRESS : CALL_SCTP_EGRESS;
	return at == HOOK_INGRESS ? CALL_OPTIONS_INGRESS : CALL_OPTIONS_EGRESS;
}

/* Hook of one direction. `local`: looks under KEY_LOCAL; only for packets of the host itself. */
inline_ int hook(struct __sk_buff *skb, const enum hook_dir at, const bool local, __u32 l2, __u32 upper,
		 const bool again, const bool v6)
{
	__u32 now = clock_now(), tag = 0, slot, before, deadline, due = 0;
	struct settings *s = settings_get();
	union paired_key key;
	struct tuple_ref *ref, copy;
	struct packet p;
	struct flow *f;
	enum reason reason = REASON_FORWARDED;
	enum track track;
	enum ct_dir dir;
	enum stage stage;
	__u32 high, seen, changed;
	__u16 gen;
	__u32 zones = 0;
	int verdict;

	if (!again)
		skb->cb[0] = l2; /* what was there is another filter's, or another host's */
	if (s)
		zones = zones_read(skb, at, s);
	if (!s || !hook_parse(skb, at, &p, l2, zones_in(zones), now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (unlikely(p.flags & PACKET_ICMP_ERROR)) {
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, again);
		hop_go(skb, at == HOOK_INGRESS ? CALL_ERROR_INGRESS : CALL_ERROR_EGRESS, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	if (!(hop_flags(skb) & HOP_OPTIONS) &&
	    (unlikely(segment_has_options(skb, &p)) || unlikely(packet_has_chunks(&p)))) {
		hop_begin(skb, l2, HOP_OPTIONS | (local ? HOP_LOCAL : 0) | (upper ? HOP_UPPER : 0), again);
		hop_go(skb, call_detour(at, p.proto), v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	blur(p.proto, s->zero);
	if (unlikely(p.flags & PACKET_FIRST))
		fragment_remember(&p, at, zones_in(zones), now, v6);
	blur(p.flags, s->zero);
	tag = at == HOOK_EGRESS ? skb->tc_index : skb->tc_index & -(__u32)upper;
	high = packet_key(&key.tuple, &p, tag, local, zones, v6);
	blur(high, s->zero);
	if (HOMES && (p.tcp_flags & (TCP_SYN | TCP_ACK)) == TCP_SYN)
		home_fetch(home_slot(s, key_hash(&key, v6), v6), v6);
	ref = tuple_find(&key.tuple, &copy, v6);
	if (!ref) {
		if (at == HOOK_EGRESS && !local && !tag && settings_are_plain(s)) {
			hop_begin(skb, l2, upper ? HOP_UPPER : 0, again);
			skb->cb[4] = home_word(s, &key, v6);
			hop_go(skb, CALL_BIRTH, v6);
		}
		goto miss;
	}
	slot = ref->slot;
	gen = ref->gen;
	f = flow_at(slot, v6);
	if (!f || !flow_is_live(f, gen, now))
		goto miss;
	dir = form_dir(ref->form, high);
	stage = form_stage(ref->form, high);
	seen = tag_matches(tag, slot);
	blur(dir, s->zero);
	blur(stage, s->zero);
	blur(seen, s->zero);
	blur(upper, s->zero);
	upper &= 1;
	if (unlikely(tag_is_far(tag) & !seen)) /* routed into another flow's zone */
		return verdict_drop(skb, at, REASON_DROP_ZONE);
	if (at == HOOK_EGRESS && !local && dir == CT_DIR_ORIGINAL && unlikely(f->flags & FLOW_AT_INGRESS)) {
		/* born where the outgoing interface was not known: its source is to be judged here */
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, again);
		hop_go(skb, CALL_NEW_EGRESS, v6);
		return verdict_drop(skb, at, hop_failed(skb));
	}
	if (unlikely(stage == STAGE_DONE)) {
		if (seen) {
			flow_count_class(skb, f, dir, at);
			tag_packet(skb, f, slot, dir, at, upper);
			return verdict_pass(skb, at, REASON_FORWARDED);
		}
		/*
		 * It looks like a translated packet of that flow and is none. A local socket may have chosen
		 * the port that the translation uses: its flow gets a key and a port of its own. Anybody
		 * else's would be taken for the flow's.
		 */
		if (at == HOOK_EGRESS && !local && !skb->ingress_ifindex) {
			hop_begin(skb, l2, HOP_LOCAL | (upper ? HOP_UPPER : 0), again);
			hop_go(skb, CALL_EGRESS_LOCAL, v6);
		}
		return verdict_drop(skb, at, REASON_DROP_CLASH);
	}
	before = flow_look(f);
	if (!seen) {
		deadline = read_once(f->deadline);
		track = flow_track(skb, f, &p, dir, now, s);
		if (unlikely(track == TRACK_REPLACE)) {
			write_once(f->deadline, now - 1); /* expired from now on: NEW takes its place */
			goto miss;
		}
		if (unlikely(track == TRACK_INVALID)) {
			reason = f->nat != NAT_NONE ? REASON_DROP_INVALID : REASON_PASSED_INVALID;
			goto done;
		}
		due = endpoint_is_due(f, deadline, f->deadline, before ^ flow_look(f));
		blur(due, s->zero);
	}
	flow_count_class(skb, f, dir, at);
	if (translate(skb, &p, f, gen, dir, at, v6))
		tag_packet(skb, f, slot, dir, at, upper);
	else
		reason = REASON_DROP_REWRITE;
done:
	blur(reason, s->zero);
	changed = (flow_look(f) != before || (again && sctp_has_changed(skb, &p))) && s->events[EVENT_UPDATE];
	if (unlikely(packet_owes_sum(&p))) {
		hop_sum(skb, p.ack, changed ? HOP_TELL : 0, EVENT_UPDATE, slot, gen, reason, at, v6);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	if (unlikely(due))
		hop_touch(skb, changed ? EVENT_UPDATE : EVENT_NEW, slot, gen, reason, at, v6);
	if (unlikely(changed))
		hop_event(skb, EVENT_UPDATE, slot, gen, reason, at, v6);
	return verdict_end(skb, at, reason);
miss:
	/* its flow has ended meanwhile, or it was routed into a zone that it is not of: nobody else's flow */
	if (unlikely(tag_is_far(tag)))
		return verdict_drop(skb, at, REASON_DROP_ZONE);
	hop_begin(skb, l2, (local ? HOP_LOCAL : 0) | (upper ? HOP_UPPER : 0), again);
	hop_go(skb, at == HOOK_INGRESS ? CALL_NEW_INGRESS : CALL_NEW_EGRESS, v6);
	return verdict_drop(skb, at, hop_failed(skb));
}

/* Whether the hook's interface limits what SYNs announce (mss.h). */
inline_ bool iface_clamps(const struct __sk_buff *skb)
{
	__u32 ifindex = skb->ifindex;
	const struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);

	return iface && iface->mss;
}

/* Reads a TCP segment's options, then the hook again. */
inline_ int hook_options(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	struct settings *s = settings_get();
	struct packet p;
	int verdict;

	/* a follower shows no options: its zone does not matter */
	if (!s || !hook_parse(skb, at, &p, hop_l2(skb), 0, clock_now(), s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	segment_read_options(skb, &p, s);
	if (p.tcp_flags & TCP_SYN && iface_clamps(skb)) {
		skb->cb[0] |= (at == HOOK_INGRESS ? HOP_AT_INGRESS : 0) << 16;
		hop_go(skb, CALL_MSS, v6);
	}
	hop_go(skb, call_again(at, hop_flags(skb) & HOP_LOCAL), v6);
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
}

/*
 * Reads an SCTP packet's chunks and lets its flow see them, then the hook again. Which packets a flow sees
 * is the hook's rule: not those that it saw at the other hook, or that only look like its own.
 */
inline_ int hook_sctp(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), tag = at == HOOK_EGRESS || hop_upper(skb) ? skb->tc_index : 0, word, before;
	bool local = hop_flags(skb) & HOP_LOCAL, high;
	struct settings *s = settings_get();
	struct sctp_packet chunks;
	union tuple_key key;
	struct tuple_ref *ref, copy;
	struct packet p;
	struct flow *f;

	/* the hook has judged the headers, and keeps followers, which show no chunks */
	if (!s || packet_parse(skb, v6, hop_l2(skb), &p))
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	packet_blur(&p, s->zero);
	sctp_read(skb, &p, &chunks, s->zero);
	word = sctp_begin(&chunks, s->zero);
	blur(word, s->zero);
	high = packet_key(&key, &p, tag, local, zones_read(skb, at, s), v6);
	blur(high, s->zero);
	ref = tuple_find(&key, &copy, v6);
	if (ref) {
		f = flow_at(ref->slot, v6);
		if (f && flow_is_live(f, ref->gen, now)) {
			word = SCTP_WORD_TRACKED;
			before = flow_look(f);
			if (!tag_matches(tag, ref->slot) && form_stage(ref->form, high) != STAGE_DONE)
				word = sctp_flow_track(f, &chunks, form_dir(ref->form, high), now, s);
			if (flow_look(f) != before)
				word |= SCTP_WORD_CHANGED; /* the event is the hook's */
		}
	}
	sctp_set_word(skb, word);
	hop_go(skb, call_again(at, local), v6);
	return verdict_drop(skb, at, REASON_DROP_INTERNAL);
}

/*
 * Where a hook's walk begins: most packets end in the short way (fast.h), the others go on in a program of
 * their own. `l2` is 0 on an interface without a link header.
 */
inline_ int hook_enter(struct __sk_buff *skb, const enum hook_dir at, const __u32 l2, const bool upper,
		       const bool redirect)
{
	struct settings *s;
	int verdict;

	if (at == HOOK_EGRESS && redirect_has_sent(skb, upper))
		return VERDICT_PASS; /* and is counted */
	if (at == HOOK_INGRESS && !upper)
		skb->tc_index = 0; /* another host's, if it came over a virtual wire */
	if (!frame_is_ours(skb, at, &verdict))
		return verdict;
	/* translated below, to be looked up where it leaves, which is not known yet */
	if (at == HOOK_INGRESS && upper && tag_is_far(skb->tc_index))
		return verdict_pass(skb, at, REASON_FORWARDED);
	s = settings_get();
	if (s && unlikely(s->flags & SETTING_TRACK) &&
	    (skb->protocol == bpf_htons(ETH_P_IP) || skb->protocol == bpf_htons(ETH_P_IPV6))) {
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, false);
		hop_go(skb, at == HOOK_INGRESS ? CALL_TRACK_INGRESS : CALL_TRACK_EGRESS,
		       skb->protocol == bpf_htons(ETH_P_IPV6));
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	if (likely(skb->protocol == bpf_htons(ETH_P_IP))) {
		verdict = fast(skb, s, at, l2, upper, redirect, false);
		if (likely(verdict != FAST_NOT))
			return verdict;
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, false);
		hop_go(skb, call_again(at, false), false);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		verdict = fast(skb, s, at, l2, upper, redirect, true);
		if (likely(verdict != FAST_NOT))
			return verdict;
		hop_begin(skb, l2, upper ? HOP_UPPER : 0, false);
		hop_go(skb, call_again(at, false), true);
		return verdict_drop(skb, at, REASON_DROP_INTERNAL);
	}
	return frame_not_ip(skb, at);
}

#endif
