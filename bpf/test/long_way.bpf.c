// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Hooks that never take the short way (bpf/fast.h): stand in the place of ct_ingress and ct_egress and go on
 * at once to the programs of the long way, as those do with a packet that is not for the short one. Ethernet
 * only.
 */
#include "calls.h"

/* The long way's programs, by enum call; the fixture fills it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 32);
	__type(key, __u32);
	__type(value, __u32);
} long_way SEC(".maps");

enum { NO_PROGRAM = 0x6e70 };

inline_ int enter(struct __sk_buff *skb, enum call call)
{
	hop_begin(skb, 14, 0, false);
	bpf_tail_call(skb, &long_way, call + (skb->protocol == bpf_htons(0x86dd)));
	return NO_PROGRAM;
}

SEC("tc")
int long_ingress(struct __sk_buff *skb)
{
	skb->tc_index = 0;
	return enter(skb, CALL_INGRESS);
}

SEC("tc")
int long_egress(struct __sk_buff *skb)
{
	return enter(skb, CALL_EGRESS);
}

char long_way_license[] SEC("license") = "GPL";
