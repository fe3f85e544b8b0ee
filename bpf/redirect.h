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

/* A packet's way past the stack. */
struct redirect_way {
	__u32 ifindex;
	__u8 dmac[6];
	__u8 smac[6];
	struct rewrite_side source;
	struct rewrite_side destination;
};

/* Length of the packet, or of the longest that it is to be segmented into. */
inline_ __u32 redirect_length(const struct __sk_buff *skb, const struct fast_packet *p)
{
#ifdef CTNAT_GSO_SIZE
	/* the segments' headers are as long as this one's; UDP's is 8 */
	if (skb->gso_size)
		return 20 + p->header + skb->gso_size;
#else
	(void)skb;
#endif
	return p->length;
}

/* Whether the packet has a way past the stack, and which. */
inline_ bool redirect_find4(struct __sk_buff *skb, const struct fast_packet *p, const struct flow *f,
			    __u16 gen, __u32 dir, __u32 now, struct redirect_way *way)
{
	const struct forward_port *in = forward_port(skb->ifindex);
	const void *data = packet_begin(skb), *end = packet_end(skb);
	const __u8 *ttl = data + ETH_HLEN + 8;
	struct bpf_fib_lookup fib = {};
	const struct tuple4 *other;

	*way = (struct redirect_way){};
	if (!in || !(in->flags & FORWARD_PORT_REDIRECT))
		return false;
	/* its source is to be judged at egress, or it keeps an endpoint open (endpoint_life.h) */
	if ((dir == CT_DIR_ORIGINAL && f->flags & FLOW_AT_INGRESS) || f->flags & FLOW_HAS_ENDPOINT)
		return false;
	/* rules may route by the mark, of which the lookup does not know; the stack takes a priority tag off
	 */
	if (skb->mark || skb->vlan_present)
		return false;
	if ((const void *)(ttl + 1) > end || *ttl <= 1) /* the stack tells the sender */
		return false;
	other = ((const struct flow4 *)f)->tuple;
	dir ^= 1;
	hide(dir);
	dir &= 1;
	other += dir;
	way->source = (struct rewrite_side){{p->saddr[0]}, {other->daddr}, p->ports & 0xffff, other->dport};
	way->destination = (struct rewrite_side){{p->daddr[0]}, {other->saddr}, p->ports >> 16, other->sport};
	barrier_compiler();
	if (read_once(f->gen) != gen) /* the copy may be half another flow's (slot.h) */
		return false;
	fib.family = FIB_AF_INET;
	fib.l4_protocol = p->proto;
	fib.sport = p->ports;
	fib.dport = way->destination.to_port;
	fib.tot_len = redirect_length(skb, p);
	fib.tos = p->tos;
	fib.ipv4_src = p->saddr[0];
	fib.ipv4_dst = way->destination.to[0];
	if (!route_find(skb, in, &fib, p->saddr[0], p->daddr[0], now, FORWARD_PORT_REDIRECT, false))
		return false;
	way->ifindex = fib.ifindex;
	__builtin_memcpy(way->dmac, fib.dmac, 6);
	__builtin_memcpy(way->smac, fib.smac, 6);
	return true;
}

/* Translates both sides, and makes the packet one that the stack would have forwarded. False: can't be. */
inline_ bool redirect_rewrite4(struct __sk_buff *skb, const struct fast_packet *p,
			       const struct redirect_way *way)
{
	bool tcp = p->proto == IPPROTO_TCP;
	void *data, *end;
	__u32 *ip;

	if (rewrite_changes(&way->destination, false) &&
	    rewrite_direct(skb, ETH_HLEN, SIDE_DESTINATION, tcp, p->length - 20, &way->destination, false))
		return false;
	if (rewrite_changes(&way->source, false) &&
	    rewrite_direct(skb, ETH_HLEN, SIDE_SOURCE, tcp, p->length - 20, &way->source, false))
		return false;
	data = packet_begin(skb);
	end = packet_end(skb);
	ip = data + ETH_HLEN;
	if ((void *)(ip + 3) > end)
		return false;
	/* time to live, protocol, checksum; RFC 1812 section 5.3.1 */
	ip[2] = ((ip[2] & 0xffff) - 1) | (__u32)checksum_grow(ip[2] >> 16, 0xfffe) << 16;
	__builtin_memcpy(data, way->dmac, 6);
	__builtin_memcpy(data + 6, way->smac, 6);
	return true;
}

/* Out by the interface of the way: at its egress hook there is nothing left to do. */
inline_ int redirect_send(struct __sk_buff *skb, const struct flow *f, enum ct_dir dir,
			  const struct redirect_way *way)
{
	flow_count_class(skb, f, dir, HOOK_INGRESS);
	flow_count_class(skb, f, dir, HOOK_EGRESS);
	metric_count(REASON_FORWARDED, HOOK_INGRESS, skb->len);
	metric_count(REASON_FORWARDED, HOOK_EGRESS, skb->len);
	skb->tc_index = TAG_SENT;
	return bpf_redirect(way->ifindex, 0);
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
