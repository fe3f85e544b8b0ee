/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way past the stack of a flow's usual packets. The kernel names it (route.h), and what it has answered
 * holds for the rest of the timer's tick: a route or neighbour that changes is noticed by the first packet of
 * the next one, without anybody who would have to tell of it. All that the question depends on is the same
 * for the packets that share an answer, so rules and routes over several next hops choose as they would for
 * each.
 */
#ifndef CTNAT_WAY_H
#define CTNAT_WAY_H

#include "clock.h"
#include "fast_packet.h"
#include "maps.h"
#include "route.h"

/* Who's uppermost bits, which no slot reaches: FORWARD_PORT_XDP and _REDIRECT, and the family. */
enum { WAY_BY_SHIFT = 26, WAY_V6 = 1 << 29 };

/* Whose way it is. */
inline_ __u32 way_owner(__u32 slot, __u32 dir)
{
	return slot << 1 | (dir & 1);
}

/* Whether the way is still known. */
inline_ bool way_is_known(const struct way *way, const struct forward_port *in, const struct fast_packet *p,
			  __u32 length, __u32 who, __u16 gen, __u32 moment)
{
	return way->who == who && way->moment == moment && way->gen == gen && length <= way->longest &&
	       way->in == in->ifindex && way->traffic == p->traffic;
}

/*
 * The packet's way past the stack; NULL: it has none. It stays until this CPU's next packet, as packets of
 * one CPU do not interrupt each other. `to`: how the packet leaves. `length`: its own, or of the longest that
 * it is to be segmented into. `who`, `gen`: whose it is. `by`: as route_find() has it.
 */
inline_ const struct way *way_find(struct __sk_buff *skb, const struct forward_port *in,
				   const struct fast_packet *p, const struct fast_leaving *to, __u32 length,
				   __u32 who, __u16 gen, __u32 now, const __u32 by, const bool v6)
{
	__u32 at = who & (WAYS_MAX - 1), moment = clock_moment();
	struct way *way = bpf_map_lookup_elem(&ways, &at);
	struct bpf_fib_lookup fib;

	/*
	 * Each mode asks for itself: what XDP has left to the stack for the neighbour's sake may come to TC
	 * behind packets that XDP has sent.
	 */
	who |= by << WAY_BY_SHIFT;
	if (v6) /* each family has slots of the same numbers */
		who |= WAY_V6;
	if (!way)
		return NULL;
	if (likely(way_is_known(way, in, p, length, who, gen, moment)))
		return route_port(in, way->out, by) ? way : NULL;
	fast_fib(&fib, p, to->daddr, to->ports >> 16, v6);
	if (!route_find(skb, in, &fib, length, p->saddr[0], p->daddr[0], now, by, v6))
		return NULL;
	way->moment = moment;
	way->who = who;
	way->in = in->ifindex;
	way->traffic = p->traffic;
	way->out = fib.ifindex;
	way->gen = gen;
	way->longest = length; /* what it has no room for is never known */
	__builtin_memcpy(way->dmac, fib.dmac, 6);
	__builtin_memcpy(way->smac, fib.smac, 6);
	return way;
}

#endif
