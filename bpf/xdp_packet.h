/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A packet at XDP, in the shape of the one at TC, so that the steps of the walk are the same code at both:
 * headers name it struct __sk_buff, and find the fields and helpers of that name here. It is on the stack of
 * each program, where the compiler takes it apart; what is to outlive a tail call is in struct xdp_walk.
 *
 * What XDP has no helper for is done on the packet's memory. There is nobody else who would have to know: no
 * sum stands beside the packet, and one that the device is to fill in is not let in (route.h).
 */
#ifndef CTNAT_XDP_PACKET_H
#define CTNAT_XDP_PACKET_H

#include "checksum.h"

/*
 * What one program hands to the next, and where the packet is to go once the flow has been found. An XDP
 * program is never interrupted by another one on its CPU, so each CPU has one.
 */
struct xdp_walk {
	__u32 cb[5];   /* as struct hop has it (calls.h) */
	__u32 ifindex; /* the outgoing interface's */
	__u8 dmac[6];
	__u8 smac[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct xdp_walk);
} xdp_walks SEC(".maps");

struct xdp_packet {
	struct xdp_md *xdp;
	__u32 *cb;
	struct xdp_walk *walk;
	long data;
	long data_end;
	__u32 len;
	__u32 ifindex; /* of the outgoing interface: the steps are those of its egress hook */
	__u32 ingress_ifindex;
	__u32 protocol;
	/* what a packet has at TC, and not here yet */
	__u32 mark;
	__u32 tc_index;
	__u32 pkt_type;
	__u32 vlan_present;
	__u32 vlan_tci;
	__u32 gso_size;
};

/* The packet as a program finds it; what the walk holds is filled in by xdp_walk_on(). */
inline_ void xdp_packet(struct xdp_packet *p, struct xdp_md *xdp)
{
	__u64 length;

	__builtin_memset(p, 0, sizeof(*p));
	p->xdp = xdp;
	p->data = (long)xdp->data;
	p->data_end = (long)xdp->data_end;
	length = p->data_end - p->data;
	hide(length); /* verifier: else of a pointer that only this is made of half is put on the stack */
	p->len = length;
	p->ingress_ifindex = xdp->ingress_ifindex;
}

/* False: the map is not there, which never is. */
inline_ bool xdp_walk_on(struct xdp_packet *p)
{
	__u32 zero = 0;

	p->walk = bpf_map_lookup_elem(&xdp_walks, &zero);
	if (!p->walk)
		return false;
	p->cb = p->walk->cb;
	p->ifindex = p->walk->ifindex;
	return true;
}

/* The packet's bytes from an offset on, or NULL: it ends before. */
inline_ void *xdp_bytes(const struct xdp_packet *p, __u32 offset, const __u32 size)
{
	void *at = (void *)p->data;

	hide(offset); /* verifier: the register that is bounded is the one that is added */
	if (offset >= 4096)
		return NULL;
	at += offset;
	hide(at); /* and the pointer that is compared the one that is used */
	return at + size <= (void *)p->data_end ? at : NULL;
}

/* `length`: a constant, or at most 64 bytes of options, which are a multiple of 4. */
inline_ long xdp_load(const struct xdp_packet *p, __u32 offset, void *to, __u32 length, const bool constant)
{
	const __u32 *from;

	if (constant) {
		from = xdp_bytes(p, offset, length);
		if (!from)
			return -1;
		__builtin_memcpy(to, from, length);
		return 0;
	}
	UNROLL
	for (__u32 i = 0; i < 10; i++) {
		if (i * 4 >= length)
			break;
		from = xdp_bytes(p, offset + i * 4, 4);
		if (!from)
			return -1;
		((__u32 *)to)[i] = *from;
	}
	return 0;
}

inline_ long xdp_store(const struct xdp_packet *p, __u32 offset, const void *from, const __u32 length)
{
	void *to = xdp_bytes(p, offset, length);

	if (!to)
		return -1;
	__builtin_memcpy(to, from, length);
	return 0;
}

/* As bpf_l3_csum_replace() and bpf_l4_csum_replace(): low bits of the flags are the size, 0: `to` is a
 * difference. */
inline_ long xdp_checksum_replace(const struct xdp_packet *p, __u32 offset, __u64 from, __u64 to, __u64 flags)
{
	__u16 *check = xdp_bytes(p, offset, 2);
	__u32 size = flags & BPF_F_HDR_FIELD_MASK;

	if (!check)
		return -1;
	if (flags & BPF_F_MARK_MANGLED_0 && !*check)
		return 0;
	if (size == 2)
		from = (__u16)~from;
	else if (size == 4)
		from = (__u32)~from;
	*check = checksum_grow(*check, from + (__u32)to);
	if (flags & BPF_F_MARK_MANGLED_0 && !*check)
		*check = 0xffff;
	return 0;
}

#define __sk_buff xdp_packet

#define bpf_skb_load_bytes(skb, offset, to, length)                                                          \
	xdp_load(skb, offset, to, length, __builtin_constant_p(length))
#define bpf_skb_store_bytes(skb, offset, from, length, flags) xdp_store(skb, offset, from, length)
#define bpf_l3_csum_replace(skb, offset, from, to, size)      xdp_checksum_replace(skb, offset, from, to, size)
#define bpf_l4_csum_replace(skb, offset, from, to, flags)     xdp_checksum_replace(skb, offset, from, to, flags)
#define bpf_csum_update(skb, sum)			      ((void)(skb), (void)(sum))
#define bpf_tail_call(skb, map, index)			      (bpf_tail_call)((skb)->xdp, map, index)
#define bpf_fib_lookup(skb, fib, size, flags)		      (bpf_fib_lookup)((skb)->xdp, fib, size, flags)
#define bpf_perf_event_output(skb, buffer, flags, event, size)                                               \
	(bpf_perf_event_output)((skb)->xdp, buffer, flags, event, size)

/* A program calls others of its type only: these have an array of their own. */
#define calls xdp_calls

#endif
