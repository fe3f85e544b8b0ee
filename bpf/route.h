/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether a packet may be forwarded past the stack, and where to: the kernel's own routing and neighbour
 * tables are asked; for how long an answer holds see way.h. Whatever they do not answer at once (no neighbour
 * yet, the host itself, above the path's MTU, no forwarding) is the stack's.
 */
#ifndef CTNAT_ROUTE_H
#define CTNAT_ROUTE_H

#include "checksum.h"
#include "clock.h"
#include "maps.h"
#include "packet.h"
#include "tuple.h"

enum { FIB_AF_INET = 2, FIB_AF_INET6 = 10 };

inline_ const struct forward_port *forward_port(__u32 ifindex)
{
	__u32 at = ifindex & (FORWARD_PORTS_MAX - 1);
	const struct forward_port *port = bpf_map_lookup_elem(&forward_ports, &at);

	return port && port->ifindex == ifindex ? port : NULL;
}

/* Whether the kernel's route for such a packet leads to an interface that ctnat is attached to. */
inline_ bool route_leads_to_hook(struct __sk_buff *skb, __u8 proto, const __be32 *saddr, const __be32 *daddr,
				 const bool v6)
{
	struct bpf_fib_lookup fib = {};
	__u32 ifindex;
	long rc;

	fib.family = v6 ? FIB_AF_INET6 : FIB_AF_INET;
	fib.l4_protocol = proto;
	fib.ifindex = skb->ifindex;
	if (v6) {
		__builtin_memcpy(fib.ipv6_src, saddr, 16);
		__builtin_memcpy(fib.ipv6_dst, daddr, 16);
	} else {
		fib.ipv4_src = saddr[0];
		fib.ipv4_dst = daddr[0];
	}
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	/* before 5.11 the interface is not told when the neighbour is unknown: the hook's own stands there
	 * then */
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH &&
	    rc != BPF_FIB_LKUP_RET_FRAG_NEEDED && rc != BPF_FIB_LKUP_RET_UNSUPP_LWT)
		return false;
	ifindex = fib.ifindex;
	return bpf_map_lookup_elem(&ifaces, &ifindex);
}

/*
 * At ingress: whether an egress hook will see the packet, so that the flow is born there, where the outgoing
 * interface is known, and only if the host's firewall lets it that far. Else it is for the host itself, or
 * leaves where ctnat is not attached, and must be born now. RFC: none; the rule is Netfilter's "confirmed
 * when it leaves".
 *
 * The answer for two addresses holds for the rest of the timer's tick (clock.h), for a client's many
 * connections to one server. One that is out of date costs nothing: a flow that was left to an egress hook
 * which did not see it is begun by its next packet, and one that was born here is judged there.
 */
inline_ bool egress_will_see(struct __sk_buff *skb, __u8 proto, const __be32 *saddr, const __be32 *daddr,
			     const bool v6)
{
	__u32 moment = clock_moment(), in = skb->ifindex, about = proto | (__u32)v6 << 8,
	      at = (saddr[v6 ? 3 : 0] ^ daddr[v6 ? 3 : 0] * 0x9e3779b1) >> 24;
	struct lead *lead = bpf_map_lookup_elem(&leads, &at);

	if (!lead)
		return false;
	if (lead->moment == moment && lead->in == in && lead->about == about &&
	    address_equal(lead->saddr, saddr, v6) && address_equal(lead->daddr, daddr, v6))
		return lead->to_hook;
	lead->to_hook = route_leads_to_hook(skb, proto, saddr, daddr, v6);
	lead->moment = moment;
	lead->in = in;
	lead->about = about;
	address_copy(lead->saddr, saddr, v6);
	address_copy(lead->daddr, daddr, v6);
	return lead->to_hook;
}

/*
 * Whether the neighbour need not be seen by the stack now. It asks again for one that it uses and has not
 * heard of for long; what goes past it is no use, and a neighbour that got another address without a word
 * would be sent to for ever. So now and then a packet is the stack's. `behind_xdp`: XDP has been asked
 * before, and the packet may be the one that it leaves to the stack, in this tick or in the one before.
 */
inline_ bool neighbour_is_fresh(const struct bpf_fib_lookup *fib, __u32 now, const bool behind_xdp)
{
	const __u16 *mac = (const __u16 *)fib->dmac;
	/* the lookup leaves the next hop's address, whose family may be another one (RFC 5549) */
	__u32 next = fib->family == FIB_AF_INET6 ? fib->ipv6_dst[3] : fib->ipv4_dst, *tick, since, at;

	at = (bpf_ntohl(next) + fib->ifindex * 613 + ((__u32)fib->family << 8)) & (NEIGHBOURS_MAX - 1);
	tick = bpf_map_lookup_elem(&neighbour_ticks, &at);
	if (!tick || !(mac[0] | mac[1] | mac[2])) /* before 6.3 also one that is still asked for is named */
		return false;
	since = now - *tick;
	if (likely(since - 2 < NEIGHBOUR_TICKS - 2))
		return true;
	if (since < 2)
		return !behind_xdp;
	since = *tick;
	*tick = now;
	return !since; /* nothing has been sent to it, by which it was found: the stack knows it */
}

/*
 * Whether the frame ends where the packet does, but for what fills up the shortest frame. What else follows
 * the stack takes off: it may be more than the outgoing interface takes, and a device that is to fill in the
 * checksum would sum it up.
 */
inline_ bool frame_ends_with(const struct __sk_buff *skb, __u32 length)
{
	return skb->len == length + ETH_HLEN || skb->len <= ETH_ZLEN;
}

/* Whether a frame is for this interface: the stack would have the others bridged, or dropped. */
inline_ bool xdp_frame_is_ours(const struct __sk_buff *skb, const struct forward_port *in)
{
	const __u8 *ether = packet_begin(skb);

	return (void *)(ether + ETH_HLEN) <= packet_end(skb) &&
	       *(const __u32 *)ether == *(const __u32 *)in->mac &&
	       *(const __u16 *)(ether + 4) == *(const __u16 *)(in->mac + 4);
}

/* The kernel's check of the source (rp_filter, RFC 3704); where it would drop, it does so itself. */
inline_ bool route_source_is_valid(struct __sk_buff *skb, const struct forward_port *in, __be32 saddr,
				   __be32 daddr, __u8 tos)
{
	struct bpf_fib_lookup fib = {};
	long rc;

	fib.family = FIB_AF_INET;
	fib.tos = tos;
	fib.ifindex = in->ifindex;
	fib.ipv4_src = daddr;
	fib.ipv4_dst = saddr;
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	return !(in->flags & FORWARD_PORT_RP_STRICT) || fib.ifindex == in->ifindex;
}

/* The outgoing interface, if it and the incoming one allow `by` (as route_find() has it); else NULL. */
inline_ const struct forward_port *route_port(const struct forward_port *in, __u32 ifindex, const __u32 by)
{
	const struct forward_port *out = forward_port(ifindex);

	if (!out || !(out->flags & by))
		return NULL;
	if (by == FORWARD_PORT_XDP && in->flags & FORWARD_PORT_NATIVE && !(out->flags & FORWARD_PORT_SENDS))
		return NULL;
	return out;
}

/*
 * `fib`: what the lookup is to know, but for the interface and `length`, of the packet or the longest that it
 * is to be segmented into; then the way. False: the packet is the stack's.
 * `from`, `to`: IPv4, the packet's addresses as they came. `by`: FORWARD_PORT_XDP or FORWARD_PORT_REDIRECT,
 * which the outgoing interface has to allow as the incoming one does.
 *
 * The lookup compares the length with the route's MTU; at TC only since 5.12 (and 5.10.20, 5.11.3): before,
 * it lets 4 bytes more than the interface's MTU pass, and any packet that is to be segmented. tot_len has 16
 * bits, and so has the MTU here: what is longer than the one is longer than the other.
 */
inline_ bool route_find(struct __sk_buff *skb, const struct forward_port *in, struct bpf_fib_lookup *fib,
			__u32 length, __be32 from, __be32 to, __u32 now, const __u32 by, const bool v6)
{
	const struct forward_port *out;
	__u8 tos = fib->tos;

	if (v6 && in->flags & FORWARD_PORT_NO_IPV6)
		return false;
	fib->ifindex = in->ifindex;
	fib->tot_len = length;
	if (bpf_fib_lookup(skb, fib, sizeof(*fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	/* back by the same interface: the stack sends a redirect */
	if (fib->ifindex == in->ifindex)
		return false;
	out = route_port(in, fib->ifindex, by);
	if (!out)
		return false;
	if (length > (v6 ? out->mtu6 : out->mtu))
		return false;
	if (!v6 && unlikely(in->flags & (FORWARD_PORT_RP_LOOSE | FORWARD_PORT_RP_STRICT)) &&
	    !route_source_is_valid(skb, in, from, to, tos))
		return false;
	return neighbour_is_fresh(fib, now, by == FORWARD_PORT_REDIRECT && in->flags & FORWARD_PORT_XDP);
}

/*
 * Whether a TCP or UDP checksum may be one that the device is to fill in: it is the sum of the pseudo header
 * alone. Virtual interfaces hand such packets over, and what XDP sends on nobody fills in any more, so they
 * are the stack's. One in 65,536 that are complete looks like it, which costs time only. `sum`: of the
 * addresses' words; `rest`: of protocol and length, each in the order of the wire.
 */
inline_ bool xdp_checksum_is_partial(__u64 sum, __u32 rest, __u16 check, bool tcp)
{
	return check == checksum_fold(sum + rest) || (!check && tcp);
}

#endif
