// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * Load for whole routers, sent by BPF_PROG_TEST_RUN with live frames (Linux 5.18): UDP datagrams of many
 * flows, and what takes them at the other end. A live frame comes back to be used again as its last receiver
 * left it, so all that a router may change is written each time.
 *
 *   load_send   makes the next packet and sends it out by an interface
 *   load_sink   counts packets and drops them
 *   load_pass   does nothing: some drivers take what others redirect to them only with a program
 *   load_bare   forwards by route and neighbour, and looks at nothing else: the limit
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/udp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "internet_sum.h"

enum load_flags {
	LOAD_BACK = 1 << 0,  /* from the other end: all to `destination`, whose ports are the flows' */
	LOAD_MIXED = 1 << 1, /* 7 small frames, 4 medium and 1 large of 12; else as long as the given one */
	LOAD_SCATTERED = 1 << 2, /* flows not in their order */
};

struct load_request {
	__u32 ifindex;	   /* where the packets go out */
	__u32 flows;	   /* how many take turns */
	__u32 cursor;	   /* of the next flow */
	__u32 flags;	   /* enum load_flags */
	__u32 source;	   /* host order; of flow 0, each 50,000 flows the next one */
	__u32 destination; /* likewise */
	__u32 pad;
	__u8 dmac[6];
	__u8 smac[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct load_request);
} request SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u64);
} received SEC(".maps");

enum { FLOWS_PER_SOURCE = 50000, FIRST_PORT = 10000, SERVER_PORT = 4000 };

/* Bytes of frames without their checksum. */
enum { FRAME_SMALL = 60, FRAME_MEDIUM = 590 };

/* The next flow, and the length of its frame, 0: as it is. */
inline_ __u32 next_flow(struct load_request *r, __u32 *length)
{
	__u32 flow = r->cursor++, turn;

	*length = 0;
	if (r->flags & LOAD_MIXED) {
		turn = flow % 12;
		*length = turn == 11 ? 0 : turn % 3 == 2 || turn == 6 ? FRAME_MEDIUM : FRAME_SMALL;
	}
	if (r->flags & LOAD_SCATTERED)
		return (__u64)(flow * 0x9e3779b1) * r->flows >> 32;
	if (r->cursor >= r->flows)
		r->cursor = 0;
	return flow;
}

SEC("xdp")
int load_send(struct xdp_md *context)
{
	void *data, *end;
	struct load_request *r;
	struct ethhdr *ether;
	struct iphdr *ip;
	struct udphdr *udp;
	__u32 zero = 0, flow, length, nth;
	__be16 port;

	r = bpf_map_lookup_elem(&request, &zero);
	if (!r)
		return XDP_DROP;
	flow = next_flow(r, &length);
	data = (void *)(long)context->data;
	end = (void *)(long)context->data_end;
	if (length && end - data > length && bpf_xdp_adjust_tail(context, (int)length - (int)(end - data)))
		return XDP_DROP;
	data = (void *)(long)context->data;
	end = (void *)(long)context->data_end;
	ether = data;
	ip = (void *)(ether + 1);
	udp = (void *)(ip + 1);
	if ((void *)(udp + 1) > end)
		return XDP_DROP;
	nth = flow / FLOWS_PER_SOURCE;
	__builtin_memcpy(ether->h_dest, r->dmac, ETH_ALEN);
	__builtin_memcpy(ether->h_source, r->smac, ETH_ALEN);
	port = bpf_htons(FIRST_PORT + flow % FLOWS_PER_SOURCE);
	ip->tot_len = bpf_htons(end - data - ETH_HLEN);
	ip->ttl = 64;
	ip->check = 0;
	ip->saddr = bpf_htonl(r->source + nth);
	ip->daddr = bpf_htonl(r->flags & LOAD_BACK ? r->destination : r->destination + nth);
	ip->check = fold(sum16(ip, sizeof(*ip) / 2));
	udp->source = r->flags & LOAD_BACK ? bpf_htons(SERVER_PORT) : port;
	udp->dest = r->flags & LOAD_BACK ? port : bpf_htons(SERVER_PORT);
	udp->len = bpf_htons(end - data - ETH_HLEN - sizeof(*ip));
	udp->check = 0;
	/* the payload is zeroes */
	udp->check =
		fold(sum16(udp, sizeof(*udp) / 2) + sum16(&ip->saddr, 4) + bpf_htons(IPPROTO_UDP) + udp->len);
	if (!udp->check)
		udp->check = 0xffff;
	return bpf_redirect(r->ifindex, 0);
}

SEC("xdp")
int load_sink(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct ethhdr *ether = data;
	__u32 zero = 0;
	__u64 *count;

	if ((void *)(ether + 1) > end || ether->h_proto != bpf_htons(ETH_P_IP))
		return XDP_PASS;
	count = bpf_map_lookup_elem(&received, &zero);
	if (count)
		*count += 1;
	return XDP_DROP;
}

SEC("xdp")
int load_pass(struct xdp_md *context)
{
	(void)context;
	return XDP_PASS;
}

SEC("xdp")
int load_bare(struct xdp_md *context)
{
	void *data = (void *)(long)context->data, *end = (void *)(long)context->data_end;
	struct bpf_fib_lookup fib = {};
	struct ethhdr *ether = data;
	struct iphdr *ip = (void *)(ether + 1);
	__u32 check;

	if ((void *)(ip + 1) > end || ether->h_proto != bpf_htons(ETH_P_IP) || ip->ttl <= 1)
		return XDP_PASS;
	fib.family = 2;
	fib.tos = ip->tos;
	fib.l4_protocol = ip->protocol;
	fib.tot_len = bpf_ntohs(ip->tot_len);
	fib.ipv4_src = ip->saddr;
	fib.ipv4_dst = ip->daddr;
	fib.ifindex = context->ingress_ifindex;
	if (bpf_fib_lookup(context, &fib, sizeof(fib), 0) != BPF_FIB_LKUP_RET_SUCCESS)
		return XDP_PASS;
	check = ip->check + bpf_htons(0x0100);
	ip->check = check + (check >= 0xffff);
	ip->ttl--;
	__builtin_memcpy(ether->h_dest, fib.dmac, ETH_ALEN);
	__builtin_memcpy(ether->h_source, fib.smac, ETH_ALEN);
	return bpf_redirect(fib.ifindex, 0);
}

char _license[] SEC("license") = "GPL";
