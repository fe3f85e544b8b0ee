/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What of a packet the short ways need (fast.h), and what those that forward do with it. */
#ifndef CTNAT_FAST_PACKET_H
#define CTNAT_FAST_PACKET_H

#include "rewrite_direct.h"
#include "route.h"
#include "slot.h"
#include "tcp.h"

struct fast_packet {
	__be32 saddr[4]; /* IPv4: word 0 */
	__be32 daddr[4];
	__u32 ports;  /* as in memory: the source's low */
	__u32 length; /* of the IP packet */
	__u32 proto;
	__u32 header; /* bytes of the L4 header, options included */
	struct tcp_ack seg;
	__u32 tcp_flags;
	__u32 hops;    /* time to live, hop limit */
	__u32 traffic; /* IPv4: TOS; IPv6: traffic class and flow label, as in memory */
};

/* How a packet that is forwarded leaves, as in memory. */
struct fast_leaving {
	__be32 saddr[4]; /* IPv4: word 0 */
	__be32 daddr[4];
	__u32 ports; /* the source's low */
};

/* As the reverse of the tuple that the flow's other direction has. False: it may be half another flow's
 * (slot.h). */
inline_ bool fast_leaves(struct fast_leaving *to, const struct flow *f, __u16 gen, __u32 dir, const bool v6)
{
	const struct tuple4 *other4 = ((const struct flow4 *)f)->tuple;
	const struct tuple6 *other6 = ((const struct flow6 *)f)->tuple;

	dir ^= 1;
	hide(dir);
	dir &= 1;
	if (v6) {
		other6 += dir;
		address_copy(to->saddr, other6->daddr, true);
		address_copy(to->daddr, other6->saddr, true);
		to->ports = other6->dport | (__u32)other6->sport << 16;
	} else {
		other4 += dir;
		to->saddr[0] = other4->daddr;
		to->daddr[0] = other4->saddr;
		to->ports = other4->dport | (__u32)other4->sport << 16;
	}
	barrier_compiler();
	return read_once(f->gen) == gen;
}

/* What a lookup of the packet's way is to know; `to`, `port`: where it goes, translated. */
inline_ void fast_fib(struct bpf_fib_lookup *fib, const struct fast_packet *p, const __be32 *to, __be16 port,
		      const bool v6)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = v6 ? FIB_AF_INET6 : FIB_AF_INET;
	fib->l4_protocol = p->proto;
	fib->sport = p->ports;
	fib->dport = port;
	if (v6) {
		fib->flowinfo = p->traffic;
		address_copy(fib->ipv6_src, p->saddr, true);
		address_copy(fib->ipv6_dst, to, true);
	} else {
		fib->tos = p->traffic;
		fib->ipv4_src = p->saddr[0];
		fib->ipv4_dst = *to;
	}
}

/*
 * One hop less: RFC 1812 section 5.3.1, RFC 8200 section 3. `ip`: the header, of which 12 bytes are there.
 * `moved`: IPv4, by how much the sum of the header grows besides.
 */
inline_ void fast_hop(__u32 *ip, __u64 moved, const bool v6)
{
	__u32 word;

	if (v6) {
		ip[1] -= 1 << 24; /* payload's length, next header, hop limit */
		return;
	}
	word = ip[2]; /* time to live, protocol, checksum */
	ip[2] = ((word & 0xffff) - 1) | (__u32)checksum_grow(word >> 16, moved + 0xfffe) << 16;
}

#endif
