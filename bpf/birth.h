/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * BIRTH: the short way of a new flow that leaves, for kernels that take long programs. What NEW, CREATE,
 * CLAIM and COMMIT do one after the other, each with the packet read and its flow looked for again, is done
 * here at once, by the same functions. It is for a packet of which nobody holds the key, on a host whose
 * settings ask for nothing but tracking and translation.
 *
 * Whatever is not so, or where no slot is free at the CPU's hand, goes to NEW, and nothing has been changed
 * by then. What it finds no port for goes on to PICK, as from CLAIM.
 */
#ifndef CTNAT_BIRTH_H
#define CTNAT_BIRTH_H

#include "claim.h"
#include "new.h"

/* Which way the flow's source is translated: HOP_MASQUERADE or 0; BIRTH_NOT: NEW knows. */
enum { BIRTH_NOT = 0xffffffff };

inline_ __u32 birth_translation(struct __sk_buff *skb, const struct packet *p, const struct settings *s,
				const bool v6)
{
	__u32 ifindex = skb->ifindex;
	const struct iface *iface;

	if (destination_is_exempt(p, v6))
		return 0;
	if (s->rule_count && rule_search(s, p, ifindex, skb->mark, 0, HOOK_EGRESS, v6) != RULE_NONE)
		return BIRTH_NOT;
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (!iface || !(iface->flags & (v6 ? IFACE_MASQUERADE6 : IFACE_MASQUERADE4)) ||
	    address_equal(p->tuple.saddr, v6 ? iface->addr6 : &iface->addr4, v6))
		return 0;
	return HOP_MASQUERADE;
}

/* At XDP the port map is asked when the port is taken: before, it costs a new flow a tenth. */
#ifdef CTNAT_XDP
enum { BIRTH_GUESSES = 0 };
#else
enum { BIRTH_GUESSES = 1 };
#endif

/* Egress. The packet is as hop_begin() has left it. */
inline_ int birth(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot, how, home = skb->cb[4];
	struct settings *s = settings_get();
	struct packet p;
	struct flow *f;

	skb->cb[4] = 0;
	if (!BIRTH_AT_ONCE || !s || packet_parse(skb, v6, hop_l2(skb), &p) || p.flags)
		goto long_way;
	packet_blur(&p, s->zero);
	if (!may_begin(skb, &p, s))
		goto long_way;
	how = birth_translation(skb, &p, s, v6);
	blur(how, s->zero);
	if (how == BIRTH_NOT)
		goto long_way;
	slot = slot_take_home(home, v6);
	blur(slot, s->zero);
	if (slot == SLOT_NONE)
		slot = slot_take_next(s, v6);
	blur(slot, s->zero);
	f = slot == SLOT_NONE ? NULL : flow_at(slot, v6);
	if (!f)
		goto long_way;
	flow_fill(f, slot, &p, skb->ifindex, now, 0, 0, v6);
	if (!flow_begin(skb, f, &p, now, s))
		return create_fail(skb, f, HOOK_EGRESS, REASON_DROP_INVALID);
	if (!how)
		return create_plain(skb, f, &p, slot, s, HOOK_EGRESS, v6);
	skb->cb[0] |= how << 16;
	skb->cb[3] = slot + 1;
	return claim_packet(skb, f, &p, slot, s, true, BIRTH_GUESSES, HOOK_EGRESS, v6);
long_way:
	hop_go(skb, CALL_NEW_EGRESS, v6);
	return verdict_drop(skb, HOOK_EGRESS, REASON_DROP_INTERNAL);
}

#endif
