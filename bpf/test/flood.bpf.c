// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * A flood of SYNs from spoofed addresses, for tests, made by BPF_PROG_TEST_RUN with a repeat count. Each run
 * makes the next packet in the buffer that it is given: Ethernet, IPv4 without options, a TCP header of 20
 * bytes. A live frame comes back from the stack as that has left it, forwarded: all that changes is written.
 *
 *   flood       XDP, live frames (Linux 5.18): the packet goes up an interface's stack as if it had come in
 *   flood_hook  TC: the packet goes on to a hook of the datapath
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/tcp.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>

#include "internet_sum.h"

struct flood_request {
	__be32 source; /* of the spoofed address the bits that are fixed; those of the mask are scattered */
	__be32 source_mask;
	__be32 destination;
	__be32 destination_mask;
	__u32 port;	/* destination port, host order; 0: scattered */
	__u32 answered; /* 1: each SYN is followed by its SYN+ACK, as the destination would send it */
	__u64 cursor;	/* packets made so far */
	__u8 mac[6];	/* whom the frame is for */
	__u8 pad[2];
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct flood_request);
} request SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, __u32);
} hook SEC(".maps");

/* Scatters numbers that follow one another over 32 bits, each to another one (the finalizer of MurmurHash3).
 */
inline_ __u32 scatter(__u32 x)
{
	x ^= x >> 16;
	x *= 0x85ebca6b;
	x ^= x >> 13;
	x *= 0xc2b2ae35;
	return x ^ x >> 16;
}

inline_ int make_packet(void *data, void *end)
{
	struct iphdr *ip = data + ETH_HLEN;
	struct tcphdr *tcp = (void *)(ip + 1);
	struct flood_request *r;
	__u32 zero = 0, i, spread, ports, seq;
	__be32 source, destination;
	__be16 sport, dport;
	int back = 0;

	r = bpf_map_lookup_elem(&request, &zero);
	if (!r || (void *)(tcp + 1) > end)
		return 0;
	i = r->cursor++;
	if (r->answered) {
		back = i & 1;
		i >>= 1;
	}
	spread = scatter(i);
	ports = scatter(i ^ 0x5bd1e995);
	seq = scatter(~i);
	source = r->source | (spread & r->source_mask);
	destination = r->destination | (scatter(spread) & r->destination_mask);
	sport = ports;
	dport = r->port ? bpf_htons(r->port) : ports >> 16;
	__builtin_memcpy(data, r->mac, ETH_ALEN);
	ip->ttl = 64;
	ip->saddr = back ? destination : source;
	ip->daddr = back ? source : destination;
	ip->check = 0;
	ip->check = fold(sum16(ip, sizeof(*ip) / 2));
	tcp->source = back ? dport : sport;
	tcp->dest = back ? sport : dport;
	tcp->seq = bpf_htonl(back ? ~seq : seq);
	tcp->ack_seq = back ? bpf_htonl(seq + 1) : 0;
	tcp->ack = back;
	tcp->check = 0;
	tcp->check = fold(sum16(tcp, sizeof(*tcp) / 2) + sum16(&ip->saddr, 4) + bpf_htons(IPPROTO_TCP) +
			  bpf_htons(sizeof(*tcp)));
	return 1;
}

SEC("xdp")
int flood(struct xdp_md *context)
{
	return make_packet((void *)(long)context->data, (void *)(long)context->data_end) ? XDP_PASS
											 : XDP_DROP;
}

SEC("tc")
int flood_hook(struct __sk_buff *skb)
{
	if (!make_packet((void *)(long)skb->data, (void *)(long)skb->data_end))
		return 2;
	skb->tc_index = 0;
	bpf_tail_call(skb, &hook, 0);
	return 0x6e68; /* no such hook */
}

char _license[] SEC("license") = "GPL";
