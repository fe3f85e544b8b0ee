// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Stands before the datapath's hooks in test runs: sets what BPF_PROG_TEST_RUN can't set (tc_index, a VLAN
 * tag beside the frame, a length that cuts the IP header, which newer kernels refuse in test runs), runs the
 * hook as it was shipped, and hands back what BPF_PROG_TEST_RUN does not export (tc_index, the tag).
 *
 * The hook is tail-called from a subprogram: it takes the subprogram's frame, and its return value comes
 * back here. x86-64 since 5.10, arm64 since 6.0; an older kernel refuses the program with EINVAL.
 *
 * The request and the answer travel in skb->cb. While the hook runs, cb holds noise: at a real hook it holds
 * what the last layer left there.
 */
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>

enum harness_limits {
	HARNESS_HOOKS = 2, /* entries of `hooks`, by enum hook_dir */
};

/* The words of skb->cb on the way in. */
enum harness_request {
	REQUEST_HOOK,	  /* enum hook_dir */
	REQUEST_TC_INDEX, /* what the hook finds in skb->tc_index */
	REQUEST_LENGTH,	  /* cut the frame to so many bytes; 0: leave it */
	REQUEST_VLAN,	  /* protocol << 16 | tag control information of a hardware tag; 0: none */
	REQUEST_MAGIC,	  /* HARNESS_MAGIC: a run without a request is a mistake */
};

/* The words of skb->cb on the way out. */
enum harness_answer {
	ANSWER_TC_INDEX,
	ANSWER_VLAN, /* as REQUEST_VLAN */
	ANSWER_PKT_TYPE,
	ANSWER_HASH,
	ANSWER_MAGIC, /* HARNESS_MAGIC: the hook has run */
};

enum harness_verdict {
	HARNESS_MAGIC = 0x63746e61,
	HARNESS_REFUSED = 0x6e6f, /* the request was not one, or could not be done */
	HARNESS_NO_HOOK = 0x6e68, /* `hooks` has no such program */
};

/* The programs under test, by enum hook_dir; the fixture fills it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, HARNESS_HOOKS);
	__type(key, __u32);
	__type(value, __u32);
} hooks SEC(".maps");

/* Not inlined: only a subprogram's frame can be taken by a tail call that returns here. */
static __attribute__((noinline)) int run_hook(struct __sk_buff *skb, __u32 hook)
{
	volatile int verdict = HARNESS_NO_HOOK;

	bpf_tail_call(skb, &hooks, hook);
	return verdict;
}

SEC("tc")
int harness_step(struct __sk_buff *skb)
{
	__u32 hook = skb->cb[REQUEST_HOOK];
	__u32 vlan = skb->cb[REQUEST_VLAN];
	__u32 length = skb->cb[REQUEST_LENGTH];
	int verdict;

	if (skb->cb[REQUEST_MAGIC] != HARNESS_MAGIC)
		return HARNESS_REFUSED;
	skb->tc_index = skb->cb[REQUEST_TC_INDEX];
	if (length && bpf_skb_change_tail(skb, length, 0))
		return HARNESS_REFUSED;
	if (vlan && bpf_skb_vlan_push(skb, __builtin_bswap16(vlan >> 16), vlan & 0xffff))
		return HARNESS_REFUSED;
	skb->cb[0] = 0xdeadbeef;
	skb->cb[1] = 0xa5a5a5a5;
	skb->cb[2] = 0xffffffff;
	skb->cb[3] = 0x00000001;
	skb->cb[4] = 0x5a5a5a5a;

	verdict = run_hook(skb, hook);

	skb->cb[ANSWER_TC_INDEX] = skb->tc_index;
	skb->cb[ANSWER_VLAN] =
		skb->vlan_present ? (__u32)__builtin_bswap16(skb->vlan_proto) << 16 | skb->vlan_tci : 0;
	skb->cb[ANSWER_PKT_TYPE] = skb->pkt_type;
	skb->cb[ANSWER_HASH] = skb->hash;
	skb->cb[ANSWER_MAGIC] = HARNESS_MAGIC;
	return verdict;
}

char _license[] SEC("license") = "GPL";
