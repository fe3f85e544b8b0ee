/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* How a hook ends: the action for the kernel, always with a counted reason. */
#ifndef CTNAT_VERDICT_H
#define CTNAT_VERDICT_H

#include <linux/pkt_cls.h>

#include "calls.h"
#include "metrics.h"
#include "settings.h"
#include "tuple.h"

#ifdef CTNAT_XDP
#include "xdp_verdict.h"
#else
/* Later filters of the same hook still see what passes. TCX_NEXT is the same number. */
enum { VERDICT_PASS = TC_ACT_UNSPEC, VERDICT_DROP = TC_ACT_SHOT };

inline_ int verdict_pass(struct __sk_buff *skb, enum hook_dir at, enum reason reason)
{
	metric_count(reason, at, skb->len);
	return VERDICT_PASS;
}
#endif

/* Ends the packet here unless somebody listens to drops: DROP tells them. */
inline_ int verdict_drop(struct __sk_buff *skb, enum hook_dir at, enum reason reason)
{
	const struct settings *s = settings_get();

	metric_count(reason, at, skb->len);
	if (s && unlikely(s->events[EVENT_DROP])) {
		skb->cb[1] = reason | at << 8;
		hop_go(skb, CALL_DROP, skb->protocol == bpf_htons(ETH_P_IPV6));
	}
	return VERDICT_DROP;
}

inline_ int verdict_end(struct __sk_buff *skb, enum hook_dir at, enum reason reason)
{
	return reason < REASON_DROP_FIRST ? verdict_pass(skb, at, reason) : verdict_drop(skb, at, reason);
}

/*
 * The end of a packet that can't be judged or that no flow knows. It leaves an interface that translates
 * sources only if its source is that interface's own address: whatever it is, it must not carry an inside
 * address out (invariant 3). Anywhere else the stack decides.
 */
inline_ int verdict_unjudged(struct __sk_buff *skb, enum hook_dir at, const struct packet *p,
			     enum reason drop, enum reason pass, const bool v6)
{
	__u32 ifindex = skb->ifindex;
	struct iface *iface;

	if (at == HOOK_EGRESS) {
		iface = bpf_map_lookup_elem(&ifaces, &ifindex);
		if (iface && (iface->flags & (v6 ? IFACE_SNAT6 : IFACE_SNAT4)) &&
		    !address_equal(p->tuple.saddr, v6 ? iface->addr6 : &iface->addr4, v6))
			return verdict_drop(skb, at, drop);
	}
	return verdict_pass(skb, at, pass);
}

#endif
