// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Entry points only. A hook's program ends in a verdict or goes on to the program of enum call that its
 * situation needs; the loader puts each under its index into the calls map by its name here:
 * call_NAME4 and call_NAME6 for CALL_NAME.
 */
#include "birth.h"
#include "claim.h"
#include "edit.h"
#include "endpoint_in.h"
#include "endpoint_life.h"
#include "event.h"
#include "hook.h"
#include "icmp_error.h"
#include "judge.h"
#include "limit.h"
#include "mss.h"
#include "new.h"
#include "pick.h"
#include "refuse.h"
#include "reap.h"
#include "sctp_sum.h"
#include "sweep.h"
#include "track.h"

char LICENSE[] SEC("license") = "Dual BSD/GPL";

SEC("tc")
int ct_ingress(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_INGRESS, ETH_HLEN, false, false);
}

SEC("tc")
int ct_egress(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_EGRESS, ETH_HLEN, false, false);
}

/* Interfaces that forward past the stack (redirect.h); egress is ct_egress. */
SEC("tc")
int ct_ingress_redirect(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_INGRESS, ETH_HLEN, false, true);
}

/* Interfaces without a link header: tun, WireGuard, PPP, IP tunnels. */
SEC("tc")
int ct_ingress_ip(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_INGRESS, 0, false, false);
}

SEC("tc")
int ct_egress_ip(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_EGRESS, 0, false, false);
}

/* Bridges, bonds and VLANs over interfaces that are attached as well: their hooks saw the packet first. */
SEC("tc")
int ct_ingress_upper(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_INGRESS, ETH_HLEN, true, false);
}

SEC("tc")
int ct_egress_upper(struct __sk_buff *skb)
{
	return hook_enter(skb, HOOK_EGRESS, ETH_HLEN, true, false);
}

#define CALLS(v6, suffix)                                                                                    \
	SEC("tc") int call_ingress##suffix(struct __sk_buff *skb)                                            \
	{                                                                                                    \
		return hook(skb, HOOK_INGRESS, false, hop_l2(skb), hop_upper(skb), true, v6);                \
	}                                                                                                    \
	SEC("tc") int call_egress##suffix(struct __sk_buff *skb)                                             \
	{                                                                                                    \
		return hook(skb, HOOK_EGRESS, false, hop_l2(skb), hop_upper(skb), true, v6);                 \
	}                                                                                                    \
	SEC("tc") int call_egress_local##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return hook(skb, HOOK_EGRESS, true, hop_l2(skb), hop_upper(skb), true, v6);                  \
	}                                                                                                    \
	SEC("tc") int call_new_ingress##suffix(struct __sk_buff *skb)                                        \
	{                                                                                                    \
		return new_flow(skb, HOOK_INGRESS, v6);                                                      \
	}                                                                                                    \
	SEC("tc") int call_new_egress##suffix(struct __sk_buff *skb)                                         \
	{                                                                                                    \
		return new_flow(skb, HOOK_EGRESS, v6);                                                       \
	}                                                                                                    \
	SEC("tc") int call_create_ingress##suffix(struct __sk_buff *skb)                                     \
	{                                                                                                    \
		return create_flow(skb, HOOK_INGRESS, v6);                                                   \
	}                                                                                                    \
	SEC("tc") int call_create_egress##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return create_flow(skb, HOOK_EGRESS, v6);                                                    \
	}                                                                                                    \
	SEC("tc") int call_claim_ingress##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return claim_flow(skb, HOOK_INGRESS, v6);                                                    \
	}                                                                                                    \
	SEC("tc") int call_claim_egress##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return claim_flow(skb, HOOK_EGRESS, v6);                                                     \
	}                                                                                                    \
	SEC("tc") int call_search##suffix(struct __sk_buff *skb)                                             \
	{                                                                                                    \
		return search_flow(skb, v6);                                                                 \
	}                                                                                                    \
	SEC("tc") int call_limit##suffix(struct __sk_buff *skb)                                              \
	{                                                                                                    \
		return limit_flow(skb, v6);                                                                  \
	}                                                                                                    \
	SEC("tc") int call_pick##suffix(struct __sk_buff *skb)                                               \
	{                                                                                                    \
		return pick_flow(skb, v6);                                                                   \
	}                                                                                                    \
	SEC("tc") int call_birth##suffix(struct __sk_buff *skb)                                              \
	{                                                                                                    \
		return birth(skb, v6);                                                                       \
	}                                                                                                    \
	SEC("tc") int call_refuse##suffix(struct __sk_buff *skb)                                             \
	{                                                                                                    \
		return refuse(skb, v6);                                                                      \
	}                                                                                                    \
	SEC("tc") int call_commit_ingress##suffix(struct __sk_buff *skb)                                     \
	{                                                                                                    \
		return commit_flow(skb, HOOK_INGRESS, v6);                                                   \
	}                                                                                                    \
	SEC("tc") int call_commit_egress##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return commit_flow(skb, HOOK_EGRESS, v6);                                                    \
	}                                                                                                    \
	SEC("tc") int call_options_ingress##suffix(struct __sk_buff *skb)                                    \
	{                                                                                                    \
		return hook_options(skb, HOOK_INGRESS, v6);                                                  \
	}                                                                                                    \
	SEC("tc") int call_options_egress##suffix(struct __sk_buff *skb)                                     \
	{                                                                                                    \
		return hook_options(skb, HOOK_EGRESS, v6);                                                   \
	}                                                                                                    \
	SEC("tc") int call_sctp_ingress##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return hook_sctp(skb, HOOK_INGRESS, v6);                                                     \
	}                                                                                                    \
	SEC("tc") int call_sctp_egress##suffix(struct __sk_buff *skb)                                        \
	{                                                                                                    \
		return hook_sctp(skb, HOOK_EGRESS, v6);                                                      \
	}                                                                                                    \
	SEC("tc") int call_judge_egress##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return judge_flow(skb, v6);                                                                  \
	}                                                                                                    \
	SEC("tc") int call_error_ingress##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return icmp_error(skb, HOOK_INGRESS, v6);                                                    \
	}                                                                                                    \
	SEC("tc") int call_error_egress##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return icmp_error(skb, HOOK_EGRESS, v6);                                                     \
	}                                                                                                    \
	SEC("tc") int call_track_ingress##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return track_packet(skb, HOOK_INGRESS, v6);                                                  \
	}                                                                                                    \
	SEC("tc") int call_track_egress##suffix(struct __sk_buff *skb)                                       \
	{                                                                                                    \
		return track_packet(skb, HOOK_EGRESS, v6);                                                   \
	}                                                                                                    \
	SEC("tc") int call_track_new##suffix(struct __sk_buff *skb)                                          \
	{                                                                                                    \
		return track_new(skb, v6);                                                                   \
	}                                                                                                    \
	SEC("tc") int call_mss##suffix(struct __sk_buff *skb)                                                \
	{                                                                                                    \
		return mss_clamp(skb, v6);                                                                   \
	}                                                                                                    \
	SEC("tc") int call_reap##suffix(struct __sk_buff *skb)                                               \
	{                                                                                                    \
		return reap(skb, v6);                                                                        \
	}                                                                                                    \
	SEC("tc") int call_endpoint_find##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return endpoint_find(skb, v6);                                                               \
	}                                                                                                    \
	SEC("tc") int call_endpoint_ingress##suffix(struct __sk_buff *skb)                                   \
	{                                                                                                    \
		return endpoint_ingress(skb, v6);                                                            \
	}                                                                                                    \
	SEC("tc") int call_endpoint_egress##suffix(struct __sk_buff *skb)                                    \
	{                                                                                                    \
		return endpoint_egress(skb, v6);                                                             \
	}                                                                                                    \
	SEC("tc") int call_endpoint_join##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return endpoint_join(skb, v6);                                                               \
	}                                                                                                    \
	SEC("tc") int call_endpoint_open##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return endpoint_open(skb, v6);                                                               \
	}                                                                                                    \
	SEC("tc") int call_endpoint_finish##suffix(struct __sk_buff *skb)                                    \
	{                                                                                                    \
		return hop_flags(skb) & HOP_AT_INGRESS ? endpoint_finish(skb, HOOK_INGRESS, v6)              \
						       : endpoint_finish(skb, HOOK_EGRESS, v6);              \
	}                                                                                                    \
	SEC("tc") int call_endpoint_touch##suffix(struct __sk_buff *skb)                                     \
	{                                                                                                    \
		return endpoint_touch(skb, v6);                                                              \
	}                                                                                                    \
	SEC("tc") int call_endpoint_reap##suffix(struct __sk_buff *skb)                                      \
	{                                                                                                    \
		return endpoint_reap(skb, v6);                                                               \
	}                                                                                                    \
	SEC("tc") int call_sum##suffix(struct __sk_buff *skb)                                                \
	{                                                                                                    \
		return sctp_sum(skb, v6);                                                                    \
	}                                                                                                    \
	SEC("tc") int call_sum_quote##suffix(struct __sk_buff *skb)                                          \
	{                                                                                                    \
		return sctp_sum_quote(skb, v6);                                                              \
	}                                                                                                    \
	SEC("tc") int call_event##suffix(struct __sk_buff *skb)                                              \
	{                                                                                                    \
		return event_finish(skb, v6);                                                                \
	}                                                                                                    \
	SEC("tc") int call_drop##suffix(struct __sk_buff *skb)                                               \
	{                                                                                                    \
		return event_drop(skb, v6);                                                                  \
	}

CALLS(false, 4)
CALLS(true, 6)

/* Run by userspace with a struct sweep_request for a packet. */
SEC("tc")
int ct_sweep4(struct __sk_buff *skb)
{
	return sweep(skb, false);
}

SEC("tc")
int ct_sweep6(struct __sk_buff *skb)
{
	return sweep(skb, true);
}

/* Run by userspace with a struct edit_request for a packet. */
SEC("tc")
int ct_edit4(struct __sk_buff *skb)
{
	return edit(skb, false);
}

SEC("tc")
int ct_edit6(struct __sk_buff *skb)
{
	return edit(skb, true);
}
