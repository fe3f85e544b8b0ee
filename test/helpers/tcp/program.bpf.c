/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The TCP headers in programs of their own, to be counted and loaded. `frame` is what each of the others
 * has around the one call that it is about.
 */
#include "tcp.h"

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct settings);
} one_settings SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 16);
	__type(key, __u32);
	__type(value, struct flow);
} some_flows SEC(".maps");

struct room {
	__u8 bytes[TCP_OPTIONS_ROOM];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct room);
} rooms SEC(".maps");

/* Finds the flow and the settings and takes the segment from the packet's first bytes. */
inline_ bool find(struct __sk_buff *skb, struct flow **flow, struct settings **settings,
		  struct tcp_segment *seg)
{
	__u32 zero = 0, slot = skb->mark;

	*flow = bpf_map_lookup_elem(&some_flows, &slot);
	*settings = bpf_map_lookup_elem(&one_settings, &zero);
	return *flow && *settings && !bpf_skb_load_bytes(skb, 0, seg, sizeof(*seg));
}

inline_ int take(struct flow *flow, const struct tcp_result *result)
{
	flow->state = result->state;
	flow->status |= result->status;
	if (result->timeout)
		flow->deadline += result->timeout;
	return result->verdict;
}

SEC("tc")
int frame(struct __sk_buff *skb)
{
	struct tcp_result result;
	struct settings *settings;
	struct tcp_segment seg;
	struct flow *flow;

	if (!find(skb, &flow, &settings, &seg))
		return -1;
	result = (struct tcp_result){
		.timeout = seg.seq, .status = seg.window, .verdict = seg.flags, .state = seg.scale};
	return take(flow, &result);
}

SEC("tc")
int track(struct __sk_buff *skb)
{
	struct tcp_result result;
	struct settings *settings;
	struct tcp_segment seg;
	struct flow *flow;

	if (!find(skb, &flow, &settings, &seg))
		return -1;
	tcp_track_segment(flow, &seg, flow->deadline - skb->hash, settings, &result);
	return take(flow, &result);
}

SEC("tc")
int begin(struct __sk_buff *skb)
{
	struct tcp_result result;
	struct settings *settings;
	struct tcp_segment seg;
	struct flow *flow;

	if (!find(skb, &flow, &settings, &seg) || !tcp_begin(&flow->tcp, &seg, settings, &result))
		return -1;
	return take(flow, &result);
}

SEC("tc")
int options(struct __sk_buff *skb)
{
	__u32 zero = 0, length = skb->mark;
	struct tcp_options options;
	struct settings *settings;
	struct room *room;

	room = bpf_map_lookup_elem(&rooms, &zero);
	settings = bpf_map_lookup_elem(&one_settings, &zero);
	if (!room || !settings)
		return -1;
	/* verifier: 1 to 64, all of which the room has */
	length -= 1;
	hide(length);
	length = (length & 63) + 1;
	if (bpf_skb_load_bytes(skb, 0, room->bytes, length))
		return -1;
	tcp_options_read(room->bytes, length, skb->hash, settings->zero, &options);
	skb->mark = options.sack;
	return options.scale << 8 | options.flags;
}

char program_license[] SEC("license") = "GPL";
