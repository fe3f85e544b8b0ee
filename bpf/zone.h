/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Zones: the same addresses in two zones are two flows. The key of a tuple carries the zone of the interface
 * that its packets arrive by, so a flow has one for each direction: between an inside network of zone 1 and
 * an uplink of zone 0 its original tuple is looked up in 1, its reply tuple in 0. What the host itself sends
 * is of the zone of the interface that it leaves by, where the answer comes in.
 *
 * As in Netfilter (struct nf_conntrack_zone) a flow has one zone, for both directions or for one of them,
 * whose other direction is then in zone 0. From one zone into another, both not 0, there is no way.
 *
 * At ingress one zone is known. At egress there are two, and a packet's key is of the first, where it came
 * in: it still is the tuple that it arrived as, on the side that egress translates. Once ingress has changed
 * its destination it is the other tuple, reversed, which is looked up where the other direction arrives:
 * ingress says so (TAG_FAR).
 *
 * While no interface has a zone (SETTING_ZONES), nothing of this is looked up, and every zone is 0.
 */
#ifndef CTNAT_ZONE_H
#define CTNAT_ZONE_H

#include "settings.h"

inline_ __u32 zone_of(__u32 ifindex)
{
	__u32 *zone = bpf_map_lookup_elem(&zones, &ifindex);

	return zone ? *zone & 0xffff : 0;
}

/*
 * Low half: the zone that the packet came in by; high half: the one that it leaves by, at ingress the same.
 * XDP mode is for hosts without zones (xdp_hook.h).
 */
inline_ __u32 zones_read(const struct __sk_buff *skb, const enum hook_dir at, const struct settings *s)
{
#ifdef CTNAT_XDP
	(void)skb;
	(void)at;
	(void)s;
	return 0;
#else
	__u32 zones = 0, in;

	if (unlikely(s->flags & SETTING_ZONES)) {
		zones = zone_of(skb->ifindex);
		zones |= zones << 16;
		in = at == HOOK_EGRESS ? skb->ingress_ifindex : 0;
		if (in)
			zones = (zones & 0xffff0000) | zone_of(in);
	}
	blur(zones, s->zero);
	return zones;
#endif
}

inline_ __u16 zones_in(__u32 zones)
{
	return zones;
}

inline_ __u16 zones_out(__u32 zones)
{
	return zones >> 16;
}

/* Whether a flow can be between them. */
inline_ bool zones_meet(__u32 zones)
{
	return zones_in(zones) == zones_out(zones) || !zones_in(zones) || !zones_out(zones);
}

/* The flow's zone, and which of its tuples it is left to (enum flow_flags); of zones that meet. */
inline_ __u16 zones_id(__u32 zones)
{
	return zones_in(zones) | zones_out(zones);
}

inline_ __u8 zones_flags(__u32 zones)
{
	if (zones_in(zones) == zones_out(zones))
		return 0;
	return zones_in(zones) ? FLOW_ZONE_ORIGINAL : FLOW_ZONE_REPLY;
}

/* The zone of one of a flow's tuples. verifier: arithmetic */
inline_ __u16 zone_of_tuple(__u16 zone, __u32 flags, const enum ct_dir dir)
{
	__u32 elsewhere = flags / (dir == CT_DIR_ORIGINAL ? FLOW_ZONE_REPLY : FLOW_ZONE_ORIGINAL) & 1,
	      mask = elsewhere - 1;

	hide(mask);
	return zone & mask;
}

inline_ __u16 flow_zone(const struct flow *f, const enum ct_dir dir)
{
	return zone_of_tuple(f->zone, f->flags, dir);
}

#endif
