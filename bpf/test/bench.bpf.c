// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/*
 * What `make bench` runs with BPF_PROG_TEST_RUN and a repeat count. A repeated run goes over one and the same
 * buffer, which the datapath translates; so each run first makes its packet anew, of a flow that is picked at
 * random or in turn, and then goes on to what is measured. bench_packet ends there: what it costs is to be
 * subtracted from the others; for what is reached by a tail call, bench_hook with bench_nothing for its hook.
 *
 * Flow i: client 10.0.0.0 + i + clients, port 1024 + i % ports, to port 80 of 198.18.0.0 + i / ports (RFC
 * 2544's network); in an IPv6 packet the same numbers end fd00:10::, 2001:db8:2:: and the outside
 * 2001:db8:1::1. With `clients` at 0 no two flows ask for the same outside port of the same server, so each
 * keeps its own and the packet of the other direction is known beforehand.
 */
#include <linux/bpf.h>
#include <linux/if_ether.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/in.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

enum bench_limits {
	BENCH_FLOWS_MAX = 1 << 20,
};

struct bench_request {
	__u32 flows;	  /* how many there are to pick from */
	__u32 sequential; /* 0: at random; 1: in turn, from `cursor` on; 2: each twice */
	__u32 cursor;
	__u32 seed;	/* of the random pick, not 0 */
	__u32 hook;	/* index into hooks */
	__u32 reply;	/* 1: the packet comes back, addressed to `outside` */
	__be32 outside; /* the router's address, of IPv6 not 0; 0: the client's, nothing is translated */
	__u32 proto;
	__u32 tcp_flags;
	__u32 seq;
	__u32 ack;
	__u32 hits;    /* out, of bench_lookup */
	__u32 ports;   /* flows of each server */
	__u32 clients; /* added to the client's address */
};

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct bench_request);
} request SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 3);
	__type(key, __u32);
	__type(value, __u32);
} hooks SEC(".maps");

/* What a single look-up is measured with: the shape of ctnat's own tuple map, with a value of a cache line.
 */
struct lookup_key {
	__be32 saddr;
	__be32 daddr;
	__be16 sport;
	__be16 dport;
	__u32 proto;
};

struct lookup6_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__be16 sport;
	__be16 dport;
	__u32 proto;
};

struct lookup_value {
	__u8 bytes[64];
};

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BENCH_FLOWS_MAX);
	__type(key, struct lookup_key);
	__type(value, struct lookup_value);
} lookups SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, BENCH_FLOWS_MAX);
	__type(key, struct lookup6_key);
	__type(value, struct lookup_value);
} lookups6 SEC(".maps");

#define inline_ static __attribute__((always_inline)) inline

inline_ struct bench_request *request_get(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&request, &zero);
}

inline_ __u32 pick(struct bench_request *r)
{
	__u32 x = r->seed;

	if (r->sequential)
		return r->cursor++ >> (r->sequential - 1);
	x ^= x << 13;
	x ^= x >> 17;
	x ^= x << 5;
	r->seed = x;
	return (__u64)x * r->flows >> 32; /* no division */
}

inline_ void write_l4(const struct bench_request *r, __u32 *l4, __u16 port, __u32 length)
{
	l4[0] = r->reply ? bpf_htons(80) | (__u32)port << 16 : port | (__u32)bpf_htons(80) << 16;
	if (r->proto == IPPROTO_TCP) {
		l4[1] = bpf_htonl(r->seq);
		l4[2] = bpf_htonl(r->ack);
		l4[3] = bpf_htonl(5u << 28 | r->tcp_flags << 16 | 64240);
		l4[4] = 0x1111;
	} else {
		l4[1] = bpf_htons(length) | 0x11110000;
	}
}

inline_ int is_v6(const struct __sk_buff *skb)
{
	return skb->protocol == bpf_htons(ETH_P_IPV6);
}

inline_ void write_address6(struct in6_addr *to, __u32 prefix, __u32 net, __u32 low)
{
	to->s6_addr32[0] = bpf_htonl(prefix);
	to->s6_addr32[1] = bpf_htonl(net);
	to->s6_addr32[2] = 0;
	to->s6_addr32[3] = low;
}

/* A prefix and the net in it. */
#define CLIENT6	 0xfd000010, 0
#define SERVER6	 0x20010db8, 0x20000
#define OUTSIDE6 0x20010db8, 0x10000

inline_ int make_packet6(struct __sk_buff *skb, struct bench_request *r)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u32 *l4 = data + ETH_HLEN + sizeof(*ip);
	__u32 i = pick(r), client, server;

	if ((void *)(l4 + 5) > end || !r->ports)
		return 0;
	client = bpf_htonl(i + r->clients);
	server = bpf_htonl(i / r->ports);
	ip->nexthdr = r->proto;
	if (r->reply) {
		write_address6(&ip->saddr, SERVER6, server);
		if (r->outside)
			write_address6(&ip->daddr, OUTSIDE6, bpf_htonl(1));
		else
			write_address6(&ip->daddr, CLIENT6, client);
	} else {
		write_address6(&ip->saddr, CLIENT6, client);
		write_address6(&ip->daddr, SERVER6, server);
	}
	write_l4(r, l4, bpf_htons(1024 + i % r->ports), bpf_ntohs(ip->payload_len));
	skb->tc_index = 0;
	return 1;
}

/* Everything of the headers that a run may have changed, or that depends on the flow. */
inline_ int make_packet(struct __sk_buff *skb, struct bench_request *r)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u32 *l4 = data + ETH_HLEN + sizeof(*ip);
	__u32 i, client, server;

	if (is_v6(skb))
		return make_packet6(skb, r);
	if ((void *)(l4 + 5) > end || !r->ports)
		return 0;
	i = pick(r);
	client = bpf_htonl(0x0a000000 + i + r->clients);
	server = bpf_htonl(0xc6120000 + i / r->ports);
	ip->protocol = r->proto;
	ip->saddr = r->reply ? server : client;
	ip->daddr = !r->reply ? server : r->outside ? r->outside : client;
	write_l4(r, l4, bpf_htons(1024 + i % r->ports), bpf_ntohs(ip->tot_len) - sizeof(*ip));
	skb->tc_index = 0;
	return 1;
}

inline_ int parse(struct __sk_buff *skb, struct lookup_key *key)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct iphdr *ip = data + ETH_HLEN;
	__u16 *ports = data + ETH_HLEN + sizeof(*ip);

	if (skb->protocol != bpf_htons(ETH_P_IP) || (void *)(ports + 4) > end || ip->version != 4 ||
	    ip->ihl != 5 || ip->frag_off & bpf_htons(0x3fff) ||
	    (ip->protocol != IPPROTO_TCP && ip->protocol != IPPROTO_UDP))
		return 0;
	key->saddr = ip->saddr;
	key->daddr = ip->daddr;
	key->sport = ports[0];
	key->dport = ports[1];
	key->proto = ip->protocol;
	return 1;
}

inline_ int parse6(struct __sk_buff *skb, struct lookup6_key *key)
{
	void *data = (void *)(long)skb->data, *end = (void *)(long)skb->data_end;
	struct ipv6hdr *ip = data + ETH_HLEN;
	__u16 *ports = data + ETH_HLEN + sizeof(*ip);

	if (skb->protocol != bpf_htons(ETH_P_IPV6) || (void *)(ports + 4) > end || ip->version != 6 ||
	    (ip->nexthdr != IPPROTO_TCP && ip->nexthdr != IPPROTO_UDP))
		return 0;
	__builtin_memcpy(key->saddr, &ip->saddr, 16);
	__builtin_memcpy(key->daddr, &ip->daddr, 16);
	key->sport = ports[0];
	key->dport = ports[1];
	key->proto = ip->nexthdr;
	return 1;
}

/* A key of either family. */
union lookup {
	struct lookup_key v4;
	struct lookup6_key v6;
};

inline_ int parse_any(struct __sk_buff *skb, union lookup *key)
{
	return is_v6(skb) ? parse6(skb, &key->v6) : parse(skb, &key->v4);
}

SEC("tc")
int bench_empty(struct __sk_buff *skb)
{
	(void)skb;
	return 0;
}

SEC("tc")
int bench_packet(struct __sk_buff *skb)
{
	struct bench_request *r = request_get();

	return r && make_packet(skb, r) ? 0 : 2;
}

SEC("tc")
int bench_parse(struct __sk_buff *skb)
{
	struct bench_request *r = request_get();
	union lookup key;

	if (!r || !make_packet(skb, r) || !parse_any(skb, &key))
		return 2;
	/* the parse is to be done, whatever the compiler thinks of it */
	asm volatile("" : : "r"(&key) : "memory");
	return 0;
}

SEC("tc")
int bench_lookup(struct __sk_buff *skb)
{
	struct bench_request *r = request_get();
	union lookup key;

	if (!r || !make_packet(skb, r) || !parse_any(skb, &key))
		return 2;
	if (!(is_v6(skb) ? bpf_map_lookup_elem(&lookups6, &key.v6) : bpf_map_lookup_elem(&lookups, &key.v4)))
		return 2;
	r->hits++;
	return 0;
}

/* Fills `lookups` or `lookups6` with what bench_lookup looks for. */
SEC("tc")
int bench_insert(struct __sk_buff *skb)
{
	struct bench_request *r = request_get();
	struct lookup_value value = {};
	union lookup key;

	if (!r || !make_packet(skb, r) || !parse_any(skb, &key))
		return 2;
	if (is_v6(skb))
		return bpf_map_update_elem(&lookups6, &key.v6, &value, BPF_ANY) ? 2 : 0;
	return bpf_map_update_elem(&lookups, &key.v4, &value, BPF_ANY) ? 2 : 0;
}

/* A hook that does nothing: what reaching one costs. */
SEC("tc")
int bench_nothing(struct __sk_buff *skb)
{
	(void)skb;
	return 0;
}

SEC("tc")
int bench_hook(struct __sk_buff *skb)
{
	struct bench_request *r = request_get();

	if (!r || !make_packet(skb, r))
		return 2;
	bpf_tail_call(skb, &hooks, r->hook);
	return 0x6e68; /* no such hook */
}

char _license[] SEC("license") = "GPL";
