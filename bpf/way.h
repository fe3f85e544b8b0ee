/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The way past the stack of a flow's usual packets. The kernel names it (route.h), and what it has answered
 * holds for the rest of the timer's tick: a route or neighbour that changes is noticed by the first packet of
 * the next one, without anybody who would have to tell of it. All that the answer depends on is the same
 * for the packets that share it, so rules and routes over several next hops choose as they would for each.
 * Ports are left out while somebody vouches that nothing depends on them (ways_shared): else each of very
 * many flows would ask for the same way.
 */
#ifndef CTNAT_WAY_H
#define CTNAT_WAY_H

#include "clock.h"
#include "fast_packet.h"
#include "maps.h"
#include "route.h"

/* Of about, above the protocol: FORWARD_PORT_XDP or _REDIRECT, and the family. */
enum { WAY_BY_SHIFT = 8, WAY_V6 = 1 << 16 };

/*
 * Whether a way is every flow's between its addresses. A vouching that is over stays over: its number comes
 * again only after 2.2 years, for the seconds that it was good for.
 */
inline_ __u32 ways_are_shared(__u32 now)
{
	__u32 key = 0, *until = bpf_map_lookup_elem(&ways_shared, &key);

	return until && read_once(*until) - now <= WAYS_SHARED_TICKS;
}

/*
 * Where the way is: a flow's own in the order of the slots, or by the addresses. The uppermost bits of a
 * product depend on all bits of its factors: on the hosts' parts of addresses as well, which come last.
 */
inline_ __u32 way_place(const struct fast_packet *p, const struct fast_leaving *to, __u32 slot, __u32 dir,
			__u32 shared, const bool v6)
{
	__u32 own = slot << 1 | (dir & 1), common;
	__u64 hash = ((__u64)p->saddr[0] << 32 | to->daddr[0]) * 0x9e3779b97f4a7c15;

	if (v6) {
		UNROLL
		for (int i = 1; i < 4; i++)
			hash = (hash ^ hash >> 32 ^ ((__u64)p->saddr[i] << 32 | to->daddr[i])) *
			       0x9e3779b97f4a7c15;
	}
	common = hash >> (64 - WAYS_BITS);
	return (own ^ ((own ^ common) & -shared)) & (WAYS_MAX - 1);
}

/*
 * Whether the way is the answer to this question. All that the kernel looks at is compared, so it chooses
 * for each flow as if it were asked. The arriving destination is what the check of the source asks about.
 */
inline_ bool way_is_known(const struct way *way, const struct forward_port *in, const struct fast_packet *p,
			  const struct fast_leaving *to, __u32 length, __u32 about, __u32 ports, __u32 moment,
			  const bool v6)
{
	return way->moment == moment && way->ports == ports && way->about == about &&
	       length <= way->longest && way->in == in->ifindex && way->traffic == p->traffic &&
	       address_equal(way->from, p->saddr, v6) && address_equal(way->to, to->daddr, v6) &&
	       (v6 || way->from[1] == p->daddr[0]);
}

/*
 * The packet's way past the stack; NULL: it has none. It stays until this CPU's next packet, as packets of
 * one CPU do not interrupt each other. `to`: how the packet leaves. `length`: its own, or of the longest that
 * it is to be segmented into. `slot`, `dir`: whose it is. `by`: as route_find() has it; each mode asks for
 * itself: what XDP has left to the stack for the neighbour's sake may come to TC behind packets that XDP has
 * sent.
 */
inline_ const struct way *way_find(struct __sk_buff *skb, const struct forward_port *in,
				   const struct fast_packet *p, const struct fast_leaving *to, __u32 length,
				   __u32 slot, __u32 dir, __u32 now, const __u32 by, const bool v6)
{
	__u32 shared = ways_are_shared(now), moment = clock_moment(),
	      at = way_place(p, to, slot, dir, shared, v6),
	      ports = ((p->ports & 0xffff) | (to->ports & 0xffff0000)) & (shared - 1),
	      about = p->proto | by << WAY_BY_SHIFT | (v6 ? WAY_V6 : 0);
	struct way *way = bpf_map_lookup_elem(&ways, &at);
	struct bpf_fib_lookup fib;

	if (!way)
		return NULL;
	if (likely(way_is_known(way, in, p, to, length, about, ports, moment, v6)))
		return route_port(in, way->out, by) ? way : NULL;
	fast_fib(&fib, p, to->daddr, to->ports >> 16, v6);
	if (!route_find(skb, in, &fib, length, p->saddr[0], p->daddr[0], now, by, v6))
		return NULL;
	way->moment = moment;
	way->in = in->ifindex;
	way->traffic = p->traffic;
	way->about = about;
	way->ports = ports;
	way->out = fib.ifindex;
	way->longest = length; /* what it has no room for is never known */
	__builtin_memcpy(way->dmac, fib.dmac, 6);
	__builtin_memcpy(way->smac, fib.smac, 6);
	address_copy(way->from, p->saddr, v6);
	address_copy(way->to, to->daddr, v6);
	if (!v6)
		way->from[1] = p->daddr[0];
	return way;
}

#endif
