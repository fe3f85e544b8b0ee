// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Puts a packet through one hook on a real interface, where a test run can't (harness.bpf.c): kernels before
 * 5.9 take no ifindex for a test run and before 5.2 no context at all, and up to 5.9 a tail call can't return
 * into the program that asked for it.
 *
 * wire_send runs by BPF_PROG_TEST_RUN and sends the packet, by the far end of the veth pair that it is to
 * come in by, or straight to the interface that it is to leave by. On both sides of each interface
 * wire_before makes the packet what the request wants and ends in the hook; if the hook lets it pass on,
 * wire_after, the next filter, writes down what is left of it. No packet goes any further than that.
 *
 * A second packet follows the first: when it has come, all that will become of the first has been written
 * down.
 */
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>

enum wire_limits {
	WIRE_HOOKS = 2,	   /* entries of `hooks`, by enum hook_dir */
	WIRE_BYTES = 4096, /* of a frame that is written down; a test run takes no longer one */
};

enum wire_hook {
	WIRE_INGRESS, /* HOOK_INGRESS */
	WIRE_EGRESS,  /* HOOK_EGRESS */
};

/*
 * What stage a packet of ours is at, in skb->tc_index: on its way through a veth pair 4.19 resets the mark.
 * Whatever else meets a hook here is dropped.
 */
enum wire_stage {
	WIRE_SENT = 0x7531,   /* comes in; at egress it turns to leave by `at` */
	WIRE_TURNED = 0x7532, /* leaves */
	WIRE_LAST = 0x7533,   /* the second packet */
};

/* What to do; the fixture writes it. */
struct wire_request {
	__u32 sequence; /* tells a run's answer from the last one's */
	__u32 hook;	/* enum wire_hook */
	__u32 at;	/* interface of the hook */
	__u32 via;	/* interface that wire_send sends by */
	__u32 local;	/* 1: made by this host, `via` is `at` */
	__u32 tc_index; /* what the hook finds there */
	__u32 length;	/* cut the frame to so many bytes; 0: leave it */
	__u32 vlan;	/* protocol << 16 | tag control information of a hardware tag; 0: none */
	__u32 mark;
};

/* What came of it. Each of the first three is the request's sequence number once it is so. */
struct wire_answer {
	__u32 entered; /* the hook was called */
	__u32 left;    /* the packet passed on, and all below is of it */
	__u32 done;    /* nothing more will come */
	__u32 refused; /* 1: the packet could not be made what was asked for; 2: `hooks` has no such program
			*/
	__u32 tc_index;
	__u32 vlan; /* as in the request */
	__u32 mark;
	__u32 length;
	__u8 packet[WIRE_BYTES];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_request);
} request SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct wire_answer);
} answer SEC(".maps");

/* The programs under test, by enum hook_dir; the fixture fills it. */
struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, WIRE_HOOKS);
	__type(key, __u32);
	__type(value, __u32);
} hooks SEC(".maps");

#define inline_ static __attribute__((always_inline)) inline

inline_ struct wire_request *request_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&request, &zero);
}

inline_ struct wire_answer *answer_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&answer, &zero);
}

SEC("tc")
int wire_send(struct __sk_buff *skb)
{
	struct wire_request *r = request_get();

	if (!r)
		return TC_ACT_SHOT;
	skb->tc_index = r->local ? WIRE_TURNED : WIRE_SENT;
	bpf_clone_redirect(skb, r->via, 0);
	skb->tc_index = WIRE_LAST;
	bpf_clone_redirect(skb, r->via, 0);
	return TC_ACT_OK;
}

SEC("tc")
int wire_before(struct __sk_buff *skb)
{
	struct wire_request *r = request_get();
	struct wire_answer *a = answer_get();

	if (!r || !a)
		return TC_ACT_SHOT;
	if (skb->tc_index == WIRE_LAST) {
		a->done = r->sequence;
		return TC_ACT_SHOT;
	}
	if (skb->tc_index == WIRE_SENT && r->hook == WIRE_EGRESS) {
		skb->tc_index = WIRE_TURNED;
		return bpf_redirect(r->at, 0);
	}
	if (skb->tc_index != WIRE_SENT && skb->tc_index != WIRE_TURNED)
		return TC_ACT_SHOT;
	a->entered = r->sequence;
	a->refused = 1;
	skb->mark = r->mark;
	skb->tc_index = r->tc_index;
	if (r->length && bpf_skb_change_tail(skb, r->length, 0))
		return TC_ACT_SHOT;
	if (r->vlan && bpf_skb_vlan_push(skb, __builtin_bswap16(r->vlan >> 16), r->vlan & 0xffff))
		return TC_ACT_SHOT;
	a->refused = 0;
	/* at a real hook cb holds what the last layer left there */
	skb->cb[0] = 0xdeadbeef;
	skb->cb[1] = 0xa5a5a5a5;
	skb->cb[2] = 0xffffffff;
	skb->cb[3] = 0x00000001;
	skb->cb[4] = 0x5a5a5a5a;
	bpf_tail_call(skb, &hooks, r->hook);
	a->refused = 2;
	return TC_ACT_SHOT;
}

SEC("tc")
int wire_after(struct __sk_buff *skb)
{
	struct wire_request *r = request_get();
	struct wire_answer *a = answer_get();
	__u64 beyond_first = (__u64)skb->len - 1, length;

	if (!r || !a || beyond_first >= WIRE_BYTES)
		return TC_ACT_SHOT;
	/* verifier: 1 at least and WIRE_BYTES at most; 4.19 learns the former by an addition only */
	asm volatile("" : "+r"(beyond_first));
	length = beyond_first + 1;
	if (bpf_skb_load_bytes(skb, 0, a->packet, length))
		return TC_ACT_SHOT;
	a->length = length;
	a->tc_index = skb->tc_index;
	a->vlan = skb->vlan_present ? (__u32)__builtin_bswap16(skb->vlan_proto) << 16 | skb->vlan_tci : 0;
	a->mark = skb->mark;
	a->left = r->sequence;
	return TC_ACT_SHOT;
}

char _license[] SEC("license") = "GPL";
