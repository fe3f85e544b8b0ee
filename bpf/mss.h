/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * MSS clamping: lowers the maximum segment size that a SYN or SYN+ACK announces (RFC 9293 section 3.7.1) to
 * what fits through the path, where path MTU discovery can't be relied on. Only segments with SYN and options
 * come here, and only on interfaces that ask for it (hook.h): an established connection pays nothing.
 *
 * Both directions count: what leaves by the interface says what may come in by it, and the other way round.
 */
#ifndef CTNAT_MSS_H
#define CTNAT_MSS_H

#include "hook.h"
#include "new.h"

enum {
	TCP_OPTION_MSS = 2,
	MSS_OPTION_PASSES = 8, /* options looked at; a SYN's MSS is among its first */
	MTU_MIN = 576,	       /* a path that claims less is not believed */
};

/* Where an option of this kind stands in the buffer, 0: nowhere. The first has offset 1. */
inline_ __u32 mss_option_find(__u8 *buffer, __u32 length, __u32 zero)
{
	__u32 at = 0, kind, size, found = 0;
	const __u8 *option;

	buffer[length & 63] = TCP_OPTION_END;
	UNROLL
	for (int pass = 0; pass < MSS_OPTION_PASSES; pass++) {
		/* verifier: every pass begins in the same state, and bounds `at` where it is used */
		blur(at, zero);
		hide(at);
		at &= 63;
		option = buffer + at;
		kind = option[0];
		size = option[1];
		blur(kind, zero);
		blur(size, zero);
		if (kind == TCP_OPTION_NOP)
			size = 1;
		else if (kind == TCP_OPTION_END || size < 2 || at + size > length)
			break;
		if (kind == TCP_OPTION_MSS && size == 4) {
			found = at + 1;
			break;
		}
		at += size;
		if (at >= length)
			break;
	}
	return found;
}

/*
 * The MTU of the way to an address, as the routing table and what path MTU discovery has found say. From 5.13
 * on bpf_fib_lookup() returns it in the place of the length that it was asked about; before, `mtu` stays.
 */
inline_ __u32 mss_path_mtu(struct __sk_buff *skb, const __be32 *to, const __be32 *from, __u32 mtu,
			   const bool v6)
{
	struct bpf_fib_lookup fib = {};

	fib.family = v6 ? FIB_AF_INET6 : FIB_AF_INET;
	fib.l4_protocol = IPPROTO_TCP;
	fib.ifindex = skb->ifindex;
	fib.tot_len = 0xffff;
	if (v6) {
		__builtin_memcpy(fib.ipv6_dst, to, 16);
		__builtin_memcpy(fib.ipv6_src, from, 16);
	} else {
		fib.ipv4_dst = to[0];
		fib.ipv4_src = from[0];
	}
	if (bpf_fib_lookup(skb, &fib, sizeof(fib), 0) < 0)
		return mtu;
	return fib.tot_len >= MTU_MIN && fib.tot_len < mtu ? fib.tot_len : mtu;
}

/* The MTU of the other interface that the packet crosses, where it is known. */
inline_ __u32 mss_other_mtu(__u32 ifindex, __u32 mtu)
{
	const struct iface *other = bpf_map_lookup_elem(&ifaces, &ifindex);

	return other && other->mtu >= MTU_MIN && other->mtu < mtu ? other->mtu : mtu;
}

/* The greatest MSS that this interface lets through; 0: any. */
inline_ __u32 mss_limit(struct __sk_buff *skb, const struct packet *p, const struct iface *iface,
			const bool v6)
{
	__u32 mtu = iface->mtu, headers = v6 ? 60 : 40, from = skb->ingress_ifindex;

	if (iface->mss != MSS_OF_PATH)
		return iface->mss;
	if (mtu < MTU_MIN)
		return 0;
	mtu = mss_other_mtu(from, mtu);
	mtu = mss_path_mtu(skb, p->tuple.daddr, p->tuple.saddr, mtu, v6);
	mtu = mss_path_mtu(skb, p->tuple.saddr, p->tuple.daddr, mtu, v6);
	return mtu - headers;
}

/* Writes the value and mends the checksum; the bytes of an odd place count swapped. 0, or it can't be
 * written. */
inline_ long mss_store(struct __sk_buff *skb, const struct packet *p, __u32 at, __u16 from, __u16 to)
{
	__be16 value = bpf_htons(to), had = bpf_htons(from);
	bool odd = (at - p->l4) & 1;

	if (bpf_l4_csum_replace(skb, p->l4 + 16, odd ? from : had, odd ? to : value, 2))
		return -1;
	return bpf_skb_store_bytes(skb, at, &value, 2, 0);
}

/* Lowers the SYN's MSS where it is too large; then the hook again. */
inline_ int mss_clamp(struct __sk_buff *skb, const bool v6)
{
	__u32 flags = hop_flags(skb), ifindex = skb->ifindex, zero = 0, length, found, limit, at;
	enum hook_dir hook = flags & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS;
	struct settings *s = settings_get();
	struct tcp_option_room *room;
	struct iface *iface;
	struct packet p;
	__u16 mss;

	if (!s || packet_parse(skb, v6, hop_l2(skb), &p))
		return verdict_drop(skb, hook, REASON_DROP_INTERNAL);
	packet_blur(&p, s->zero);
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	room = bpf_map_lookup_elem(&tcp_option_rooms, &zero);
	length = p.tcp_header - 20;
	if (!iface || !room || length > TCP_OPTIONS_MAX)
		goto done;
	/* verifier: 1 to 64, which the room has */
	length -= 1;
	hide(length);
	length &= 63;
	length += 1;
	if (bpf_skb_load_bytes(skb, p.l4 + 20, room->bytes, length))
		goto done;
	found = mss_option_find(room->bytes, length, s->zero);
	if (!found)
		goto done;
	at = found - 1;
	hide(at);
	at &= 63;
	mss = (__u16)room->bytes[at + 2] << 8 | room->bytes[at + 3];
	limit = mss_limit(skb, &p, iface, v6);
	blur(limit, s->zero);
	if (limit && limit < mss && mss_store(skb, &p, p.l4 + 22 + at, mss, limit))
		return verdict_drop(skb, hook, REASON_DROP_REWRITE);
done:
	hop_go(skb, call_again(hook, flags & HOP_LOCAL), v6);
	return verdict_drop(skb, hook, REASON_DROP_INTERNAL);
}

#endif
