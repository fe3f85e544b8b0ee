// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Entry points of XDP mode only. The steps are those of TC, compiled for XDP (xdp_packet.h), and share its
 * maps; an interface in XDP mode has the hooks of TC as well, for what this sends up the stack.
 */
#define CTNAT_XDP

#include "birth.h"
#include "claim.h"
#include "event.h"
#include "limit.h"
#include "pick.h"
#include "reap.h"
#include "xdp_hook.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("xdp")
int ct_xdp(struct xdp_md *context)
{
	return xdp_enter(context);
}

/* A program that another one has gone on to. */
#define CALL(name, suffix, step, ...)                                                                        \
	SEC("xdp") int call_##name##suffix(struct xdp_md *context)                                           \
	{                                                                                                    \
		struct xdp_packet packet;                                                                    \
                                                                                                             \
		xdp_packet(&packet, context);                                                                \
		packet.protocol = bpf_htons(suffix == 6 ? ETH_P_IPV6 : ETH_P_IP);                            \
		return xdp_walk_on(&packet) ? step(&packet, ##__VA_ARGS__, suffix == 6) : XDP_DROP;          \
	}

#define CALLS(suffix)                                                                                        \
	CALL(egress, suffix, xdp_hook)                                                                       \
	CALL(options_egress, suffix, hook_options, HOOK_EGRESS)                                              \
	CALL(birth, suffix, birth)                                                                           \
	CALL(new_ingress, suffix, xdp_new)                                                                   \
	CALL(new_egress, suffix, new_flow, HOOK_EGRESS)                                                      \
	CALL(create_egress, suffix, create_flow, HOOK_EGRESS)                                                \
	CALL(limit, suffix, limit_flow)                                                                      \
	CALL(claim_egress, suffix, claim_flow, HOOK_EGRESS)                                                  \
	CALL(pick, suffix, pick_flow)                                                                        \
	CALL(search, suffix, search_flow)                                                                    \
	CALL(commit_egress, suffix, commit_flow, HOOK_EGRESS)                                                \
	CALL(refuse, suffix, xdp_refuse)                                                                     \
	CALL(reap, suffix, reap)                                                                             \
	CALL(endpoint_reap, suffix, endpoint_reap)                                                           \
	CALL(event, suffix, event_finish)                                                                    \
	CALL(drop, suffix, event_drop)

CALLS(4)
CALLS(6)
