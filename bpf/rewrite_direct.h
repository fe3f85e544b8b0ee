/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Writes a new address and port into an IPv4 packet where it lies, and mends its checksums by arithmetic
 * (RFC 1624) instead of one helper for each field: a helper that writes to packets costs as much as half a
 * hash look-up.
 *
 * What a helper knows and a program can't see is who is to fill in the checksum:
 * - nobody, it is complete (CHECKSUM_NONE, UNNECESSARY): it changes with what it covers.
 * - COMPLETE: the same, and the sum that stands beside the packet changes; bpf_csum_update does this, and
 * does nothing for the others. An IP header that is right sums to 0 before and after. What the L4 header sums
 * to falls by as much as the pseudo header's sum grows.
 * - PARTIAL, the device or whoever segments the packet: the field holds the sum of the pseudo header, and
 *   changes with the address alone, the other way round. Known by just that: a packet whose field holds any
 *   other value would leave the device with a wrong checksum whatever is done here. Where the field holds
 * that sum, or the packet is to be segmented (the length that the sum has been made of may be another), the
 *   helpers decide. One complete checksum in 65,536 happens to hold that sum as well, which costs time only.
 */
#ifndef CTNAT_REWRITE_DIRECT_H
#define CTNAT_REWRITE_DIRECT_H

#include "checksum.h"
#include "packet.h"
#include "rewrite.h"

/* What one side of a packet becomes, as in memory. */
struct rewrite_side4 {
	__be32 from;
	__be32 to;
	__u32 from_port;
	__u32 to_port;
};

/* Whether the field may hold the pseudo header's sum alone. */
inline_ bool checksum_may_be_partial(const struct __sk_buff *skb, const __u32 *ip, __u32 check, __u32 tcp,
				     __u32 length)
{
#ifdef CTNAT_GSO_SIZE
	__u32 sum;

	if (skb->gso_size)
		return true;
	sum = checksum_fold((__u64)ip[3] + ip[4] + bpf_htons(tcp ? IPPROTO_TCP : IPPROTO_UDP) +
			    bpf_htons(length));
	return check == sum || (check == 0 && tcp);
#else
	(void)skb, (void)ip, (void)check, (void)tcp, (void)length;
	return true; /* before 5.7 a program does not see which packets are to be segmented */
#endif
}

/*
 * Gives one side of the packet another address and port. `length`: of the L4 header and what follows it. 0,
 * or a negative number when the packet's memory can't be written.
 */
inline_ long rewrite_direct4(struct __sk_buff *skb, const __u32 l2, const enum side side, __u32 tcp,
			     __u32 length, const struct rewrite_side4 *change)
{
	void *data = packet_begin(skb), *end = packet_end(skb);
	__u64 moved = (__u64)(__u32)~change->from + change->to,
	      turned = (__u64)(__u16)~change->from_port + change->to_port;
	__u32 *ip = data + l2, at = l2 + 20 + (tcp ? 16 : 6);
	__u64 flags = tcp ? 0 : BPF_F_MARK_MANGLED_0;
	__u16 check;

	/* verifier: TCP's 18 bytes were seen to be there when it was parsed */
	if ((void *)(ip + 7) > end)
		return -1;
	if (tcp) {
		if ((void *)(ip + 10) > end)
			return -1;
		check = ip[9];
	} else {
		check = ip[6] >> 16;
	}
	if (unlikely(checksum_may_be_partial(skb, ip, check, tcp, length))) {
		if (change->from != change->to &&
		    bpf_l4_csum_replace(skb, at, change->from, change->to, flags | BPF_F_PSEUDO_HDR | 4))
			return -1;
		if (change->from_port != change->to_port &&
		    bpf_l4_csum_replace(skb, at, change->from_port, change->to_port, flags | 2))
			return -1;
		data = packet_begin(skb);
		end = packet_end(skb);
		ip = data + l2;
		if ((void *)(ip + 7) > end)
			return -1;
	} else if (tcp) {
		((__u16 *)ip)[18] = checksum_grow(check, moved + turned);
		bpf_csum_update(skb, checksum_fold((__u64)(__u32)~change->to + change->from));
	} else if (check) {
		check = checksum_grow(check, moved + turned);
		((__u16 *)ip)[13] = check ? check : 0xffff;
		bpf_csum_update(skb, checksum_fold((__u64)(__u32)~change->to + change->from));
	} else {
		bpf_csum_update(skb, checksum_fold(turned)); /* UDP: 0 is none and stays none */
	}
	((__u16 *)ip)[5] = checksum_grow(((__u16 *)ip)[5], moved);
	if (side == SIDE_SOURCE) {
		ip[3] = change->to;
		((__u16 *)ip)[10] = change->to_port;
	} else {
		ip[4] = change->to;
		((__u16 *)ip)[11] = change->to_port;
	}
	return 0;
}

#endif
