/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Translation of a packet whose flow is known. A flow's two tuples say everything: a packet of direction d
 * leaves as the reverse of the other direction's tuple. Ingress changes the destination, before the routing
 * decision; egress the source, after it (a source of the router's own would be refused in between). SNAT,
 * DNAT, masquerade and both at once are this one step.
 */
#ifndef CTNAT_TRANSLATE_H
#define CTNAT_TRANSLATE_H

#include "calls.h"
#include "rewrite.h"
#include "slot.h"
#include "verdict.h"
#include "zone.h"

/*
 * What ingress tells egress about the packet, in skb->tc_index: the field survives forwarding and
 * fragmentation, and belongs to classifiers alone. It is bound to the flow, so that a packet that was
 * wrapped or unwrapped in between is not taken for the one that was seen.
 */
enum {
	TAG_SEEN = 1 << 15,
	TAG_FAR = 1 << 14,		 /* seen, and to be looked up in the zone that it leaves by */
	TAG_MIDDLE = TAG_SEEN | TAG_FAR, /* seen, and to be looked up under KEY_MIDDLE */
	TAG_KIND_MASK = TAG_SEEN | TAG_FAR,
	TAG_SLOT_MASK = KEY_MIDDLE_SLOT_MASK,
	TAG_SENT = TAG_SLOT_MASK, /* without a kind: ingress has done everything (redirect.h) */
};

inline_ bool tag_is_middle(__u32 tag)
{
	return (tag & TAG_KIND_MASK) == TAG_MIDDLE;
}

/* 1 or 0. */
inline_ __u32 tag_is_far(__u32 tag)
{
	return tag / TAG_FAR & ~(tag / TAG_SEEN) & 1;
}

/* 1 or 0. verifier: without a branch. */
inline_ __u32 tag_matches(__u32 tag, __u32 slot)
{
	__u32 differs = (tag ^ slot) & TAG_SLOT_MASK;

	hide(differs);
	return (differs - 1) >> 31 & (tag / TAG_SEEN | tag / TAG_FAR);
}

/* The zone that a packet is looked up in. verifier: without a branch. */
inline_ __u32 tag_zone(__u32 tag, __u32 zones)
{
	__u32 shift = tag_is_far(tag) * 16;

	hide(shift);
	return zones >> (shift & 16) & 0xffff;
}

/* The tuple key under which a hook finds a packet; returns whether its source is endpoint 1. */
inline_ bool packet_key(union tuple_key *key, const struct packet *p, __u32 tag, bool local, __u32 zones,
			const bool v6)
{
	__u8 flags = kind_key_flags(p->kind);

	/* the slot stands in for the zone: two flows may look alike between the hooks */
	if (tag_is_middle(tag))
		return tuple_key(key, &p->tuple, p->proto, flags | KEY_MIDDLE, tag & TAG_SLOT_MASK, v6);
	return tuple_key(key, &p->tuple, p->proto, flags | (local ? KEY_LOCAL : 0), tag_zone(tag, zones), v6);
}

/*
 * Whether a hook changes the port of the side that it translates. An ICMP identifier stands for both ports
 * and belongs to the host that asks: it changes with that host's address, on the source's side in the
 * original direction and on the destination's in the reply's.
 */
inline_ bool translates_port(__u8 proto, enum ct_dir dir, const enum hook_dir at)
{
	return proto_has_ports(proto) || (dir == CT_DIR_ORIGINAL) == (at == HOOK_EGRESS);
}

/*
 * Gives the packet one hook's side of its translation. False: it could not be written, or the flow went
 * away while it was read.
 */
inline_ bool translate_at(struct __sk_buff *skb, struct packet *p, const struct flow *f, __u16 gen,
			  enum ct_dir dir, const enum hook_dir at, const bool v6)
{
	struct tuple6 other;

	flow_tuple(f, dir == CT_DIR_ORIGINAL ? CT_DIR_REPLY : CT_DIR_ORIGINAL, &other, v6);
	barrier_compiler();
	if (read_once(f->gen) != gen) /* the copy may be half another flow's (slot.h) */
		return false;
	if (at == HOOK_INGRESS) {
		if (!translates_port(p->proto, dir, at))
			other.sport = p->tuple.dport;
		if (address_equal(p->tuple.daddr, other.saddr, v6) && p->tuple.dport == other.sport)
			return true;
		return rewrite_side(skb, p, SIDE_DESTINATION, other.saddr, other.sport, v6) == 0;
	}
	if (!translates_port(p->proto, dir, at))
		other.dport = p->tuple.sport;
	if (address_equal(p->tuple.saddr, other.daddr, v6) && p->tuple.sport == other.dport)
		return true;
	return rewrite_side(skb, p, SIDE_SOURCE, other.daddr, other.dport, v6) == 0;
}

/* Whether a port of an SCTP packet has changed, and its sum is yet to: SUM ends the packet. XDP has none. */
inline_ bool packet_owes_sum(const struct packet *p)
{
#ifdef CTNAT_XDP
	(void)p;
	return false;
#else
	return p->proto == IPPROTO_SCTP && p->ack;
#endif
}

/* Gives the packet this hook's side of its translation; at XDP, which does both hooks' work, both sides. */
inline_ bool translate(struct __sk_buff *skb, struct packet *p, const struct flow *f, __u16 gen,
		       enum ct_dir dir, const enum hook_dir at, const bool v6)
{
#ifdef CTNAT_XDP
	if (!translate_at(skb, p, f, gen, dir, HOOK_INGRESS, v6))
		return false;
#endif
	return translate_at(skb, p, f, gen, dir, at, v6);
}

_Static_assert(CT_DST_NAT == 1 << 5 && CT_SRC_NAT == 1 << 4, "tag_make() shifts to them");

/* The word that ingress leaves about a packet of direction `dir`, whose destination it has translated. */
inline_ __u32 tag_make(const struct flow *f, __u32 slot, enum ct_dir dir)
{
	__u32 kind = TAG_SEEN, middle, far;

	if (unlikely(f->flags & (FLOW_MIDDLE_KEY | FLOW_ZONE_MASK))) {
		/* verifier: arithmetic. The status bit of the destination's translation in this direction */
		middle = f->flags / FLOW_MIDDLE_KEY & 1;
		far = (f->flags / FLOW_ZONE_REPLY | f->flags / FLOW_ZONE_ORIGINAL) &
		      (__u32)f->status >> (5 - (dir & 1)) & 1;
		far |= middle;
		kind = far * TAG_FAR | (middle | (far ^ 1)) * TAG_SEEN;
	}
	return kind | (slot & TAG_SLOT_MASK);
}

/* Ingress: leaves word for egress. Egress: takes it away, the packet may reach another host's hooks with it.
 */
inline_ void tag_packet(struct __sk_buff *skb, const struct flow *f, __u32 slot, enum ct_dir dir,
			const enum hook_dir at, bool upper)
{
	if (at == HOOK_INGRESS)
		skb->tc_index = tag_make(f, slot, dir);
	else if (!upper && skb->tc_index)
		skb->tc_index = 0;
}

#endif
