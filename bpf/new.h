/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet that no flow knows: may a flow begin with it, at which hook is it to be born, and which rule
 * speaks for it. Then the flow is created (create.h) and the packet goes on as its first.
 */
#ifndef CTNAT_NEW_H
#define CTNAT_NEW_H

#include "create.h"

/* Whether a flow may begin with the packet, TCP's in-the-middle rule aside (tcp_begin decides when it is
 * created). */
inline_ bool may_begin(const struct __sk_buff *skb, const struct packet *p, const struct settings *s)
{
	__u32 word = sctp_word(skb);

	if (p->flags & PACKET_FOLLOWER)
		return false;
	if (p->proto == IPPROTO_TCP)
		return tcp_can_begin(p->tcp_flags, s->flags);
	if (p->proto == IPPROTO_SCTP)
		return word && word < SCTP_WORD_TRACKED;
	return !(p->flags & PACKET_ICMP_REPLY);
}

inline_ int new_flow(struct __sk_buff *skb, const enum hook_dir at, const bool v6)
{
	__u32 now = clock_now(), l2 = hop_l2(skb), flags = hop_flags(skb), index, ifindex = skb->ifindex;
	bool local = flags & HOP_LOCAL, upper = flags & HOP_UPPER, judge = false;
	struct settings *s = settings_get();
	union paired_key key;
	struct tuple_ref *ref, copy;
	struct iface *iface;
	struct packet p;
	__u32 tag = 0, zones = 0;
	int verdict;

	if (s)
		zones = zones_read(skb, at, s);
	if (!s || !hook_parse(skb, at, &p, l2, zones_in(zones), now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, at, REASON_DROP_INTERNAL);
	if (at == HOOK_EGRESS || upper)
		tag = skb->tc_index;
	packet_key(&key.tuple, &p, tag, local, zones, v6);
	ref = tuple_find(&key.tuple, &copy, v6);
	if (ref) {
		__u32 slot = ref->slot;
		__u16 gen = ref->gen;
		struct flow *f = flow_at(slot, v6);
		bool live = f && flow_is_live(f, gen, now);

		judge = live && at == HOOK_EGRESS && (f->flags & FLOW_AT_INGRESS);
		if (judge && !(f->status & CT_SEEN_REPLY)) {
			/* below: judged like a new one */
		} else if (judge) {
			f->flags &= ~FLOW_AT_INGRESS;
			goto again;
		} else if (live || !f || read_once(f->gen) != gen || !(read_once(f->status) & CT_CONFIRMED)) {
			goto again; /* alive, or in teardown on another CPU */
		} else {
			if (hop_retry(skb, RACE_RETRIES))
				hop_reap(skb, slot, at == HOOK_INGRESS ? CALL_NEW_INGRESS : CALL_NEW_EGRESS,
					 v6);
			return verdict_drop(skb, at, REASON_DROP_RACE);
		}
	}
	if (!judge && !may_begin(skb, &p, s))
		return verdict_unjudged(skb, at, &p, REASON_DROP_INVALID, REASON_PASSED_INVALID, v6);

	index = RULE_NONE;
	if (!local && !(at == HOOK_EGRESS && destination_is_exempt(&p, v6))) {
		index = rule_search(s, &p, ifindex, skb->mark, hop_rule(skb), at, v6);
		if (index == RULE_UNFINISHED) {
			skb->cb[1] = hop_rule(skb) + RULE_SCAN_STEP;
			hop_go(skb, at == HOOK_INGRESS ? CALL_NEW_INGRESS : CALL_NEW_EGRESS, v6);
			return verdict_drop(skb, at, REASON_DROP_INTERNAL);
		}
		if (at == HOOK_EGRESS && index == RULE_NONE) {
			iface = bpf_map_lookup_elem(&ifaces, &ifindex);
			if (iface && (iface->flags & (v6 ? IFACE_MASQUERADE6 : IFACE_MASQUERADE4)) &&
			    !address_equal(p.tuple.saddr, v6 ? iface->addr6 : &iface->addr4, v6))
				flags |= HOP_MASQUERADE;
		}
	}
	if (unlikely(!zones_meet(zones)))
		return verdict_drop(skb, at, REASON_DROP_ZONE);
	if (judge && index == RULE_NONE && !(flags & HOP_MASQUERADE) && zones_in(zones) == zones_out(zones)) {
		ref = tuple_find(&key.tuple, &copy, v6);
		if (ref) {
			struct flow *f = flow_at(ref->slot, v6);

			if (f && f->gen == ref->gen)
				f->flags &= ~FLOW_AT_INGRESS;
		}
		goto again;
	}
	skb->cb[4] = 0;
	if (at == HOOK_INGRESS && index == RULE_NONE) {
		if (s->flags & SETTING_EIM) {
			hop_go(skb, CALL_ENDPOINT_FIND, v6);
			return verdict_drop(skb, at, REASON_DROP_INTERNAL);
		}
		if (egress_will_see(skb, p.proto, p.tuple.saddr, p.tuple.daddr, v6))
			return verdict_pass(skb, at, REASON_DEFERRED);
	}
	if (HOMES)
		skb->cb[3] = slot_take_home(home_word(s, &key, v6), v6) + 1; /* 0: it is not free */
	skb->cb[0] |= (flags | (at == HOOK_INGRESS ? HOP_AT_INGRESS : 0) | (judge ? HOP_JUDGE : 0)) << 16;
	skb->cb[1] = index == RULE_NONE ? 0 : index + 1;
	hop_go(skb, at == HOOK_INGRESS ? CALL_CREATE_INGRESS : CALL_CREATE_EGRESS, v6);
	if (HOMES)
		slot_give_back(skb->cb[3], v6);
	return verdict_drop(skb, at, hop_failed(skb));
again:
	if (hop_retry(skb, RACE_RETRIES))
		hop_go(skb, call_again(at, local), v6);
	return verdict_drop(skb, at, REASON_DROP_RACE);
}

#endif
