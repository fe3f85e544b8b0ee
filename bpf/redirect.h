/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * TC with redirect: ingress sends the usual packet of a known flow out by itself, with both sides translated
 * and one hop less, and the stack does not see it. As at XDP, the way is asked for before the flow sees the
 * packet; what has none that is certain goes on as without redirect.
 *
 * The packet passes the outgoing interface's queue and egress hook, where its tag says that it is done.
 * A packet to be segmented goes whole.
 */
#ifndef CTNAT_REDIRECT_H
#define CTNAT_REDIRECT_H

#include <linux/if_ether.h>

#include "endpoint.h"
#include "fast_packet.h"
#include "rewrite_direct.h"
#include "route.h"
#include "slot.h"
#include "translate.h"
#include "way.h"

/* Length of the packet, or of the longest that it is to be segmented into. */
inline_ __u32 redirect_length(const struct __sk_buff *skb, const struct fast_packet *p, const bool v6)
{
#ifdef CTNAT_GSO_SIZE
	/* the segments' headers are as long as this one's; UDP's is 8 */
	if (skb->gso_size)
		return (v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS) * 4 + p->header + skb->gso_size;
#else
	(void)skb, (void)v6;
#endif
	return p->length;
}

/* The packet's way past the stack, and in *to how it leaves; NULL: it has none. */
inline_ const struct way *redirect_find(struct __sk_buff *skb, const struct fast_packet *p,
					const struct flow *f, __u32 slot, __u16 gen, __u32 dir, __u32 now,
					struct fast_leaving *to, const bool v6)
{
	const struct forward_port *in = forward_port(skb->ifindex);

	if (!in || !(in->flags & FORWARD_PORT_REDIRECT))
		return NULL;
	/* its source is to be judged at egress, or it keeps an endpoint open (endpoint_life.h) */
	if ((dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS) || f->flags & FLOW_HAS_ENDPOINT)
		return NULL;
	/* rules may route by the mark, of which the lookup does not know; the stack takes a priority tag off
	 */
	if (skb->mark || skb->vlan_present)
		return NULL;
	if (p->hops <= 1 || !frame_ends_with(skb, p->length)) /* the stack tells the sender */
		return NULL;
	if (!fast_leaves(to, f, gen, dir, v6))
		return NULL;
	in_memory(*to);
	return way_find(skb, in, p, to, redirect_length(skb, p, v6), slot, dir, now, FORWARD_PORT_REDIRECT,
			v6);
}

/* Translates one side. False: can't be. */
inline_ bool redirect_side(struct __sk_buff *skb, const struct fast_packet *p, const struct fast_leaving *to,
			   enum checksum_by by, const enum side side, const bool v6)
{
	const __u32 shift = side == SIDE_SOURCE ? 0 : 16;
	struct rewrite_side change;

	address_copy(change.from, side == SIDE_SOURCE ? p->saddr : p->daddr, v6);
	address_copy(change.to, side == SIDE_SOURCE ? to->saddr : to->daddr, v6);
	change.from_port = p->ports >> shift & 0xffff;
	change.to_port = to->ports >> shift & 0xffff;
	return !rewrite_changes(&change, v6) ||
	       !rewrite_direct(skb, ETH_HLEN, by, side, p->proto == IPPROTO_TCP,
			       p->length - (v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS) * 4, &change, v6);
}

/* Translates both sides, and makes the packet one that the stack would have forwarded. False: can't be. */
inline_ bool redirect_rewrite(struct __sk_buff *skb, const struct fast_packet *p,
			      const struct fast_leaving *to, const struct way *way, const bool v6)
{
	const enum checksum_by by = checksum_by(skb);
	void *data, *end;
	__u32 *ip;

	if (!redirect_side(skb, p, to, by, SIDE_DESTINATION, v6) ||
	    !redirect_side(skb, p, to, by, SIDE_SOURCE, v6))
		return false;
	data = packet_begin(skb);
	end = packet_end(skb);
	ip = data + ETH_HLEN;
	if ((void *)(ip + 3) > end)
		return false;
	fast_hop(ip, 0, v6);
	__builtin_memcpy(data, way->dmac, 6);
	__builtin_memcpy(data + 6, way->smac, 6);
	if (v6) /* a sum that stands beside the packet: there is no other that would make up for it */
		checksum_beside(skb, by, 0xfeff);
	return true;
}

/* Out by the interface of the way: at its egress hook there is nothing left to do. */
inline_ int redirect_send(struct __sk_buff *skb, const struct flow *f, enum ct_dir dir, const struct way *way)
{
	flow_count_class(skb, f, dir, HOOK_INGRESS);
	flow_count_class(skb, f, dir, HOOK_EGRESS);
	metric_count(REASON_FORWARDED, HOOK_INGRESS, skb->len);
	metric_count(REASON_FORWARDED, HOOK_EGRESS, skb->len);
	skb->tc_index = TAG_SENT;
	return bpf_redirect(way->out, 0);
}

/* Egress: whether the packet was sent here by redirect_send(). */
inline_ bool redirect_has_sent(struct __sk_buff *skb, const bool upper)
{
	if (skb->tc_index != TAG_SENT)
		return false;
	if (!upper)
		skb->tc_index = 0; /* as tag_packet() */
	return true;
}

#endif
