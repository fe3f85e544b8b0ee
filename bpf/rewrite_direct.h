/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Writes a new address and port into a packet where it lies, and mends its checksums by arithmetic (RFC 1624)
 * instead of one helper for each field: a helper that writes to packets costs as much as half a hash look-up.
 *
 * Who is to fill in the checksum, the kernel's skb says, which programs see from 6.2 on, and __sk_buff does
 * not:
 * - nobody, it is complete (CHECKSUM_NONE, UNNECESSARY): it changes with what it covers.
 * - COMPLETE: the same, and the sum that stands beside the packet changes; bpf_csum_update does this, and
 *   does nothing for the others. An IPv4 header that is right sums to 0 before and after, and what the L4
 *   header sums to falls by as much as the pseudo header's sum grows. An IPv6 header has no checksum: its sum
 *   grows by just that, and both together stay as they were.
 * - PARTIAL, the device or whoever segments the packet: the field holds the sum of the pseudo header, and
 *   changes with the address alone, the other way round. Unless it is another checksum that is to be filled
 *   in, one further inside, and this one has been made with what that will be (LCO, segmentation-offloads.rst
 *   in the kernel's documentation): so what the field holds is looked at as well.
 * Before 6.2 that is all there is: a packet whose field holds any other value than that sum would leave the
 * device with a wrong checksum whatever is done here. Where the field holds it, or the packet is to be
 * segmented (the length that the sum has been made of may be another), the helpers decide. One complete
 * checksum in 65,536 happens to hold that sum as well, which costs time only.
 */
#ifndef CTNAT_REWRITE_DIRECT_H
#define CTNAT_REWRITE_DIRECT_H

#include "checksum.h"
#include "packet.h"
#include "rewrite.h"
#ifdef CTNAT_KERNEL_SKB
#include <bpf/bpf_core_read.h>
#endif

/* What ip_summed may be (include/linux/skbuff.h); CHECKSUM_BY_UNKNOWN: nothing says it, helpers know. */
enum checksum_by {
	CHECKSUM_NONE,
	CHECKSUM_UNNECESSARY,
	CHECKSUM_COMPLETE,
	CHECKSUM_PARTIAL,
	CHECKSUM_BY_UNKNOWN,
};

#ifdef CTNAT_KERNEL_SKB
struct sk_buff {
	__u8 ip_summed : 2;
} __attribute__((preserve_access_index));

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;
#endif

inline_ enum checksum_by checksum_by(struct __sk_buff *skb)
{
#ifdef CTNAT_KERNEL_SKB
	const struct sk_buff *kernel = bpf_cast_to_kern_ctx(skb); /* the verifier makes a move of it */

	return BPF_CORE_READ_BITFIELD(kernel, ip_summed);
#else
	(void)skb;
	return CHECKSUM_BY_UNKNOWN;
#endif
}

/* For sums that may stand beside the packet: a helper costs as much as all arithmetic here. */
inline_ void checksum_beside(struct __sk_buff *skb, enum checksum_by by, __u64 grown)
{
	if (by == CHECKSUM_COMPLETE || by == CHECKSUM_BY_UNKNOWN)
		bpf_csum_update(skb, checksum_fold(grown));
}

/* What one side of a packet becomes, as in memory. IPv4: word 0 of the addresses. */
struct rewrite_side {
	__be32 from[4];
	__be32 to[4];
	__u32 from_port;
	__u32 to_port;
};

inline_ bool rewrite_changes(const struct rewrite_side *side, const bool v6)
{
	return !address_equal(side->from, side->to, v6) || side->from_port != side->to_port;
}

/* By how much the sum of the address grows; not folded. */
inline_ __u64 rewrite_moves(const struct rewrite_side *side, const bool v6)
{
	__u64 moved = (__u64)(__u32)~side->from[0] + side->to[0];

	if (v6) {
		UNROLL
		for (int i = 1; i < 4; i++)
			moved += (__u64)(__u32)~side->from[i] + side->to[i];
	}
	return moved;
}

enum { IP4_HEADER_WORDS = 5, IP6_HEADER_WORDS = 10 };

/* Where the words of an IP header are. */
enum {
	WORD_SADDR4 = 3,
	WORD_DADDR4 = 4,
	WORD_SADDR6 = 2,
	WORD_DADDR6 = 6,
};

/* Whether the field may hold the pseudo header's sum alone. */
inline_ bool checksum_may_be_partial(const struct __sk_buff *skb, const __u32 *ip, __u32 check, __u32 tcp,
				     __u32 length, const bool v6)
{
#ifdef CTNAT_GSO_SIZE
	__u64 sum = bpf_htons(tcp ? IPPROTO_TCP : IPPROTO_UDP) + bpf_htons(length);
	const int first = v6 ? WORD_SADDR6 : WORD_SADDR4, words = v6 ? 8 : 2;

	if (skb->gso_size)
		return true;
	UNROLL
	for (int i = 0; i < words; i++)
		sum += ip[first + i];
	return check == checksum_fold(sum) || (check == 0 && tcp);
#else
	(void)skb, (void)ip, (void)check, (void)tcp, (void)length, (void)v6;
	return true; /* before 5.7 a program does not see which packets are to be segmented */
#endif
}

/* By the helpers, where the L4 checksum is at `at`. IPv6: as rewrite_pseudo() and what follows it. */
inline_ long rewrite_by_helpers(struct __sk_buff *skb, __u32 at, const struct rewrite_side *change,
				__u64 moved, __u64 flags, const bool v6)
{
	long rc = 0;

	if (!address_equal(change->from, change->to, v6)) {
		if (v6) {
			rc = bpf_l4_csum_replace(skb, at, 0, checksum_fold(moved), flags | BPF_F_PSEUDO_HDR);
			bpf_csum_update(skb, checksum_fold(moved));
		} else {
			rc = bpf_l4_csum_replace(skb, at, change->from[0], change->to[0],
						 flags | BPF_F_PSEUDO_HDR | 4);
		}
	}
	if (!rc && change->from_port != change->to_port)
		rc = bpf_l4_csum_replace(skb, at, change->from_port, change->to_port, flags | 2);
	return rc;
}

/*
 * Gives one side of the packet another address and port. `length`: of the L4 header and what follows it,
 * which is where no options and no extension headers come before it. 0, or a negative number when the
 * packet's memory can't be written.
 */
inline_ long rewrite_direct(struct __sk_buff *skb, const __u32 l2, enum checksum_by by, const enum side side,
			    __u32 tcp, __u32 length, const struct rewrite_side *change, const bool v6)
{
	const __u32 header = v6 ? IP6_HEADER_WORDS : IP4_HEADER_WORDS;
	void *data = packet_begin(skb), *end = packet_end(skb);
	__u64 moved = rewrite_moves(change, v6), turned = (__u64)(__u16)~change->from_port + change->to_port;
	__u32 *ip = data + l2, at = tcp ? 16 : 6;
	__u16 *field = data + l2 + header * 4, check;

	/* verifier: what is bounded here is what is read and written */
	hide(at);
	at &= 31;
	field = (void *)field + at;
	hide(field);
	if ((void *)(ip + header + 2) > end || (void *)(field + 1) > end)
		return -1;
	check = *field;
	if (!tcp && !check) { /* UDP: 0 is none and stays none */
		checksum_beside(skb, by, v6 ? moved + turned : turned);
	} else if (by == CHECKSUM_PARTIAL && checksum_may_be_partial(skb, ip, check, tcp, length, v6)) {
		*field = checksum_fold(check + moved);
	} else if (by == CHECKSUM_BY_UNKNOWN &&
		   unlikely(checksum_may_be_partial(skb, ip, check, tcp, length, v6))) {
		if (rewrite_by_helpers(skb, l2 + header * 4 + at, change, moved,
				       tcp ? 0 : BPF_F_MARK_MANGLED_0, v6))
			return -1;
		data = packet_begin(skb);
		end = packet_end(skb);
		ip = data + l2;
		if ((void *)(ip + header + 2) > end)
			return -1;
	} else {
		check = checksum_grow(check, moved + turned);
		*field = check || tcp ? check : 0xffff;
		if (!v6)
			checksum_beside(skb, by, (__u64)(__u32)~change->to[0] + change->from[0]);
	}
	if (!v6)
		((__u16 *)ip)[5] = checksum_grow(((__u16 *)ip)[5], moved);
	if (side == SIDE_SOURCE) {
		address_copy(ip + (v6 ? WORD_SADDR6 : WORD_SADDR4), change->to, v6);
		((__u16 *)(ip + header))[0] = change->to_port;
	} else {
		address_copy(ip + (v6 ? WORD_DADDR6 : WORD_DADDR4), change->to, v6);
		((__u16 *)(ip + header))[1] = change->to_port;
	}
	return 0;
}

#endif
