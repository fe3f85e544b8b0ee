/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How a packet ends at XDP. One that is done goes out by the interface that the walk holds, and is counted as
 * at both hooks of TC. Any other goes up the stack as it came, uncounted: the hooks of TC, which share the
 * tables, judge it.
 */
#ifndef CTNAT_XDP_VERDICT_H
#define CTNAT_XDP_VERDICT_H

#include <linux/if_ether.h>

#include "metrics.h"

enum { VERDICT_PASS = XDP_PASS, VERDICT_DROP = XDP_DROP };

/* Where the link header's addresses and the time to live are. */
enum { XDP_IP = ETH_HLEN, XDP_TTL4 = ETH_HLEN + 8, XDP_TTL6 = ETH_HLEN + 7 };

/* One hop less (RFC 1812 section 5.3.1); it was above 1. */
inline_ bool xdp_hop(const struct xdp_packet *skb)
{
	__u8 *ttl;

	if (skb->protocol == bpf_htons(ETH_P_IPV6)) {
		ttl = xdp_bytes(skb, XDP_TTL6, 1);
		if (!ttl)
			return false;
		*ttl -= 1;
		return true;
	}
	ttl = xdp_bytes(skb, XDP_TTL4, 4); /* time to live, protocol, checksum */
	if (!ttl)
		return false;
	*ttl -= 1;
	*(__u16 *)(ttl + 2) = checksum_grow(*(__u16 *)(ttl + 2), 0xfffe);
	return true;
}

/* Out by the interface of the walk. */
inline_ int xdp_send(struct xdp_packet *skb)
{
	__u8 *ether = xdp_bytes(skb, 0, ETH_HLEN);

	if (!ether || !skb->walk || !xdp_hop(skb))
		return XDP_DROP;
	__builtin_memcpy(ether, skb->walk->dmac, 6);
	__builtin_memcpy(ether + 6, skb->walk->smac, 6);
	metric_count(REASON_FORWARDED, HOOK_INGRESS, skb->len);
	metric_count(REASON_FORWARDED, HOOK_EGRESS, skb->len);
	return bpf_redirect(skb->ifindex, 0);
}

inline_ int verdict_pass(struct xdp_packet *skb, enum hook_dir at, enum reason reason)
{
	(void)at;
	return reason == REASON_FORWARDED ? xdp_send(skb) : XDP_PASS;
}

#endif
