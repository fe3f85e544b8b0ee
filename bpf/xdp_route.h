/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Whether XDP forwards a packet, and where to: the kernel's own routing and neighbour tables are asked for
 * each packet, so a route or neighbour that changes holds for the next one. Whatever they do not answer at
 * once (no neighbour yet, the host itself, above the path's MTU, no forwarding) is the stack's.
 */
#ifndef CTNAT_XDP_ROUTE_H
#define CTNAT_XDP_ROUTE_H

#include "checksum.h"
#include "maps.h"
#include "packet.h"
#include "tuple.h"

enum { XDP_AF_INET = 2, XDP_AF_INET6 = 10 };

inline_ const struct xdp_port *xdp_port(__u32 ifindex)
{
	__u32 at = ifindex & (XDP_PORTS_MAX - 1);
	const struct xdp_port *port = bpf_map_lookup_elem(&xdp_ports, &at);

	return port && port->ifindex == ifindex ? port : NULL;
}

/* Whether a frame is for this interface: the stack would have the others bridged, or dropped. */
inline_ bool xdp_frame_is_ours(const struct __sk_buff *skb, const struct xdp_port *in)
{
	const __u8 *ether = packet_begin(skb);

	return (void *)(ether + ETH_HLEN) <= packet_end(skb) &&
	       *(const __u32 *)ether == *(const __u32 *)in->mac &&
	       *(const __u16 *)(ether + 4) == *(const __u16 *)(in->mac + 4);
}

/* The kernel's check of the source (rp_filter, RFC 3704); where it would drop, it does so itself. */
inline_ bool xdp_source_is_valid(struct __sk_buff *skb, const struct xdp_port *in, __be32 saddr, __be32 daddr,
				 __u8 tos)
{
	struct bpf_fib_lookup fib = {};
	long rc;

	fib.family = XDP_AF_INET;
	fib.tos = tos;
	fib.ifindex = in->ifindex;
	fib.ipv4_src = daddr;
	fib.ipv4_dst = saddr;
	rc = bpf_fib_lookup(skb, &fib, sizeof(fib), 0);
	if (rc != BPF_FIB_LKUP_RET_SUCCESS && rc != BPF_FIB_LKUP_RET_NO_NEIGH)
		return false;
	return !(in->flags & XDP_PORT_RP_STRICT) || fib.ifindex == in->ifindex;
}

/*
 * `fib`: what the lookup is to know, but for the interface. False: the packet is the stack's. `from`, `to`:
 * IPv4, the packet's addresses as they came.
 */
inline_ bool xdp_route(struct __sk_buff *skb, const struct xdp_port *in, struct bpf_fib_lookup *fib,
		       __be32 from, __be32 to, const bool v6)
{
	const struct xdp_port *out;
	__u8 tos = fib->tos;

	fib->ifindex = in->ifindex;
	if (bpf_fib_lookup(skb, fib, sizeof(*fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return false;
	/* back by the same interface: the stack sends a redirect */
	if (fib->ifindex == in->ifindex)
		return false;
	out = xdp_port(fib->ifindex);
	if (!out || (in->flags & XDP_PORT_NATIVE && !(out->flags & XDP_PORT_SENDS)))
		return false;
	if (!v6 && unlikely(in->flags & (XDP_PORT_RP_LOOSE | XDP_PORT_RP_STRICT)))
		return xdp_source_is_valid(skb, in, from, to, tos);
	return true;
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
