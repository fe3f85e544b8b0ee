// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/* The least that a kernel of the matrix has to do: a map and a program that 4.19 takes. */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 256);
	__type(key, __u32);   /* the frame's length */
	__type(value, __u64); /* frames */
} frames SEC(".maps");

SEC("tc")
int count_frame(struct __sk_buff *skb)
{
	__u32 length = skb->len;
	__u64 one = 1;
	__u64 *count = bpf_map_lookup_elem(&frames, &length);

	if (count)
		__sync_fetch_and_add(count, 1);
	else
		bpf_map_update_elem(&frames, &length, &one, BPF_NOEXIST);
	return TC_ACT_UNSPEC;
}

char _license[] SEC("license") = "Dual BSD/GPL";
