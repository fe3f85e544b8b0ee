/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * PICK: the port that a new flow would like is taken, as are most where many talk to one server. The port map
 * says which one seems to be free, and that is claimed: two looks at the tuple map where ports at random
 * would take as many as the range is full. What it does not find, SEARCH does.
 */
#ifndef CTNAT_PICK_H
#define CTNAT_PICK_H

#include "claim.h"

/* Rounds, each of which ends with a port that turns out to be taken or with none, before SEARCH looks at
 * each. */
enum { PICK_TRIES = 4 };

#ifdef CTNAT_FETCH
/* BIRTH has found nothing in a block, and says so in what it saved: the next ones look elsewhere. */
inline_ void pick_barren(__u32 side, __u32 guess, __u32 own, __u8 proto)
{
	__u32 first = guess % GUESS_BARREN % PORT_BLOCKS_MAX * PORT_BLOCK_PORTS;

	if (likely(!(guess & GUESS_BARREN)))
		return;
	port_map_fail(side, first + own % 2);
	if (proto != IPPROTO_UDP)
		port_map_fail(side, first + (own + 1) % 2);
}
#endif

inline_ int pick_flow(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, tries = hop_tries(skb), side, which, port, port_min,
	      port_max, seed;
	struct flow *f = flow_at(slot, v6);
	struct settings *s = settings_get();
	struct port_map_search search;
	struct tuple_ref ref = {};
	struct port_hint *hint;
	union tuple_key key;
	struct tuple6 reply;
	__u8 key_flags, proto;
	__u16 zone;
	__u64 saved;
	int err;

	if (!f || !s)
		goto search;
	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	saved = f->counts[counts_of(CT_DIR_ORIGINAL)].bytes;
	port_min = saved & 0xffff;
	port_max = saved >> 16 & 0xffff;
	proto = f->proto;
	key_flags = flow_key_flags(f);
	zone = flow_zone(f, CT_DIR_REPLY);
	blur(key_flags, s->zero);
	if (!tries && saved >> 32 & 1 && port_holder_is_over(&reply, proto, key_flags, zone, now, v6))
		goto search;
	side = port_hint_hash(&reply, proto, zone, v6);
#ifdef CTNAT_FETCH
	pick_barren(side, plan_saved_guess(saved), bpf_ntohs(reply.dport), proto);
#endif
	which = side % PORT_HINTS_MAX;
	hint = bpf_map_lookup_elem(&port_hints, &which);
	if (!hint || port_hint_is_full(hint, side, port_min, port_max, now))
		goto search;
	port_map_search_begin(&search, side, port_min, port_max);
	if (proto == IPPROTO_UDP) /* as odd or even as it was: RFC 4787 REQ-4 */
		search.parity = bpf_ntohs(reply.dport) & 1 ? PORT_MAP_ODD : PORT_MAP_EVEN;
	search.parity ^= s->zero;
	seed = bpf_get_prandom_u32();
	port = port_map_find(&search, seed >> 3, port_stride(seed, search.last - search.first + 1), s->zero,
			     PORT_MAP_STEP);
	skb->cb[4] = ++tries;
	if (!port) {
		if (PORT_MAP_STEP * PORT_MAP_BITS < PORTS_MOST && tries < PICK_TRIES)
			hop_go(skb, CALL_PICK, v6); /* other words */
		goto search;
	}
	port -= 1;
	reply.dport = bpf_htons(port);
	if (!proto_has_ports(proto))
		reply.sport = reply.dport;
	ref.slot = slot;
	ref.gen = f->gen;
	ref.form = FORM_REPLY | (tuple_key(&key, &reply, proto, key_flags, zone, v6) ? FORM_SOURCE_HIGH : 0);
	err = tuple_claim(&key, &ref, v6);
	if (err == -EEXIST && tries < PICK_TRIES)
		hop_go(skb, CALL_PICK, v6);
	if (err)
		goto search;
	flow_set_tuple(f, CT_DIR_REPLY, &reply, v6);
	hop_go_claimed(skb, v6);
	tuple_release(&key, v6);
search:
	skb->cb[4] = 0;
	hop_go(skb, CALL_SEARCH, v6);
	if (f)
		slot_abandon(f);
	return verdict_drop(skb, hop_flags(skb) & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS,
			    REASON_DROP_INTERNAL);
}

#endif
