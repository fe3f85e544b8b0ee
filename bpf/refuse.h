/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The end of a flow's first packet that no outside port is left for: its sender is told so by an ICMP error,
 * administratively prohibited (RFC 5508 REQ-8; RFC 4443 section 3.1 for IPv6), made of the packet itself.
 */
#ifndef CTNAT_REFUSE_H
#define CTNAT_REFUSE_H

#include "checksum.h"
#include "hook.h"
#include "new.h"

enum {
	ICMP_UNREACHABLE_PROHIBITED = 3 << 8 | 13,
	ICMP6_UNREACHABLE_PROHIBITED = 1 << 8 | 1,
	REFUSALS_PER_TICK = 16, /* errors that one CPU sends in 16.8 ms: RFC 1812 section 4.3.2.8 */
	ICMP_HEADER = 8,
};

/* Counts a refusal; the key is what the outside port was wanted for. */
inline_ void refusal_count(const struct flow *f, const bool v6)
{
	struct refusal_key key = {.proto = f->proto, .family = v6 ? 6 : 4};
	struct refusal *value, first = {.packets = 1};
	struct tuple6 reply;

	flow_tuple(f, CT_DIR_REPLY, &reply, v6);
	address_copy(key.external, reply.daddr, v6);
	address_copy(key.remote, reply.saddr, v6);
	if (proto_has_ports(key.proto))
		key.port = reply.sport;
	value = bpf_map_lookup_elem(&refusals, &key);
	if (value)
		__sync_fetch_and_add(&value->packets, 1);
	else
		bpf_map_update_elem(&refusals, &key, &first, BPF_NOEXIST);
}

inline_ bool refuse_may_tell(__u32 now)
{
	__u32 zero = 0;
	struct refuse_allowance *a = bpf_map_lookup_elem(&refuse_allowances, &zero);

	if (!a)
		return false;
	if (a->tick != now) {
		a->tick = now;
		a->told = 0;
	}
	if (a->told >= REFUSALS_PER_TICK)
		return false;
	a->told += 1;
	return true;
}

/*
 * The checksum in the quoted header. A device may still have to fill it in (CHECKSUM_PARTIAL: nothing tells a
 * program), over what is quoted, and the ICMP checksum covers it. So it gets the one value that filling in
 * leaves as it is: c with c = -(sum + c), in ones' complement; 2^-1 = 2^15 modulo 65535.
 */
inline_ __u16 quote_checksum(__u32 sum)
{
	__u32 check = (65535 - sum % 65535) * 32768 % 65535;

	return check ?: 0xffff;
}

struct refuse_frame {
	__u32 ip[10];
	__u32 icmp[2];
	__u32 quote[15];
};

/* Where the error goes to. False: it can't be sent. */
inline_ bool refuse_route(struct __sk_buff *skb, const struct packet *p, struct bpf_fib_lookup *fib,
			  const bool v6)
{
	__builtin_memset(fib, 0, sizeof(*fib));
	fib->family = v6 ? FIB_AF_INET6 : FIB_AF_INET;
	fib->l4_protocol = v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP;
	fib->ifindex = skb->ifindex;
	if (v6) {
		__builtin_memcpy(fib->ipv6_src, p->tuple.daddr, 16);
		__builtin_memcpy(fib->ipv6_dst, p->tuple.saddr, 16);
	} else {
		fib->ipv4_src = p->tuple.daddr[0];
		fib->ipv4_dst = p->tuple.saddr[0];
	}
	return bpf_fib_lookup(skb, fib, sizeof(*fib), 0) == BPF_FIB_LKUP_RET_SUCCESS;
}

/* The router's address toward the sender: of the interface that the error leaves by, if that has one. */
inline_ bool refuse_source(__be32 *source, __u32 out, __u32 in, const bool v6)
{
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &out);
	const __be32 *address;

	if (!iface || !(v6 ? iface->addr6[0] : iface->addr4))
		iface = bpf_map_lookup_elem(&ifaces, &in);
	if (!iface)
		return false;
	address = v6 ? iface->addr6 : &iface->addr4;
	address_copy(source, address, v6);
	return address[0];
}

/* Makes an error of the packet. A negative number: the packet is no longer one. */
inline_ long refuse_make(struct __sk_buff *skb, const struct packet *p, struct bpf_fib_lookup *fib,
			 const __be32 *source, struct refuse_frame *frame, const bool v6)
{
	const __u32 ip = v6 ? 40 : 20;
	__u32 l4 = p->proto == IPPROTO_TCP ? 20 : 8, check, header = ETH_HLEN + ip + ICMP_HEADER;
	__u32 length = ICMP_HEADER + ip + l4;
	__be16 ether = v6 ? bpf_htons(ETH_P_IPV6) : bpf_htons(ETH_P_IP);
	__u8 *quoted = (__u8 *)frame->quote + ip;
	__s64 sum;

	/* 0 behind what is quoted of UDP and ICMP: sums may go over all of it */
	if (bpf_skb_load_bytes(skb, p->l3, frame->quote, ip + 8))
		return -1;
	if (l4 == 20 && bpf_skb_load_bytes(skb, p->l4 + 8, quoted + 8, 12))
		return -1;
	if (proto_has_ports(p->proto)) {
		__u16 *field = (__u16 *)(quoted + 6);

		if (l4 == 20)
			field = (__u16 *)(quoted + 16);
		*field = 0;
		sum = bpf_csum_diff(NULL, 0, (__be32 *)quoted, 20, 0);
		*field = quote_checksum(checksum_fold(sum));
	}
	frame->icmp[0] = bpf_htonl((v6 ? ICMP6_UNREACHABLE_PROHIBITED : ICMP_UNREACHABLE_PROHIBITED) << 16);
	sum = bpf_csum_diff(NULL, 0, frame->icmp, ICMP_HEADER, 0);
	sum = bpf_csum_diff(NULL, 0, frame->quote, ip + 20, sum);
	if (v6) {
		frame->ip[0] = bpf_htonl(0x60000000);
		frame->ip[1] = bpf_htonl(length << 16 | IPPROTO_ICMPV6 << 8 | 64);
		address_copy(&frame->ip[2], source, true);
		address_copy(&frame->ip[6], p->tuple.saddr, true);
		sum = bpf_csum_diff(NULL, 0, &frame->ip[2], 32, sum);
		sum += bpf_htonl(length) + (__u64)bpf_htonl(IPPROTO_ICMPV6);
	} else {
		frame->ip[0] =
			bpf_htonl(0x45c00000 | (ip + length)); /* precedence: RFC 1812 section 4.3.2.5 */
		frame->ip[1] = 0;
		frame->ip[2] = bpf_htonl(64 << 24 | IPPROTO_ICMP << 16);
		frame->ip[3] = source[0];
		frame->ip[4] = p->tuple.saddr[0];
		check = checksum_fold(bpf_csum_diff(NULL, 0, frame->ip, 20, 0));
		frame->ip[2] |= (~check & 0xffff) << 16;
	}
	frame->icmp[0] |= (~checksum_fold(sum) & 0xffff) << 16;
	if (bpf_skb_change_tail(skb, ETH_HLEN + ip + l4, 0) ||
	    bpf_skb_adjust_room(skb, ip + ICMP_HEADER, BPF_ADJ_ROOM_NET, 0))
		return -1;
	if (bpf_skb_store_bytes(skb, 0, fib->dmac, 6, 0) || bpf_skb_store_bytes(skb, 6, fib->smac, 6, 0) ||
	    bpf_skb_store_bytes(skb, 12, &ether, 2, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN, frame->ip, ip, 0) ||
	    bpf_skb_store_bytes(skb, ETH_HLEN + ip, frame->icmp, ICMP_HEADER, 0) ||
	    bpf_skb_store_bytes(skb, header, frame->quote, ip + 8, 0))
		return -1;
	if (l4 == 20)
		return bpf_skb_store_bytes(skb, header + ip + 8, quoted + 8, 12, 0);
	return 0;
}

inline_ int refuse(struct __sk_buff *skb, const bool v6)
{
	__u32 flags = hop_flags(skb), in = skb->ifindex;
	__u32 now = clock_now(), l2 = hop_l2(skb), slot = skb->cb[3] - 1;
	enum hook_dir at = flags & HOP_AT_INGRESS ? HOOK_INGRESS : HOOK_EGRESS;
	struct settings *s = settings_get();
	struct flow *f = skb->cb[3] ? flow_at(slot, v6) : NULL;
	struct refuse_frame frame = {};
	struct bpf_fib_lookup fib;
	__be32 source[4];
	struct packet p;

	if (!s)
		return VERDICT_DROP;
	if (f) {
		refusal_count(f, v6);
		slot_abandon(f);
		skb->cb[3] = 0;
		metric_count(REASON_DROP_NO_PORT, at, skb->len);
		if (unlikely(s->events[EVENT_DROP])) { /* and back here */
			skb->cb[1] = REASON_DROP_NO_PORT | at << 8;
			hop_go(skb, CALL_DROP, v6);
		}
	}
	/* what is judged between the hooks is not what its sender sent; the host itself hears by the drop */
	if (l2 != ETH_HLEN || (flags & HOP_JUDGE) || !skb->ingress_ifindex || packet_parse(skb, v6, l2, &p))
		return VERDICT_DROP;
	packet_blur(&p, s->zero);
	if (p.l4 - p.l3 != (v6 ? 40 : 20) || !refuse_may_tell(now) || !refuse_route(skb, &p, &fib, v6) ||
	    !refuse_source(source, fib.ifindex, in, v6))
		return VERDICT_DROP;
	if (refuse_make(skb, &p, &fib, source, &frame, v6))
		return VERDICT_DROP;
	skb->tc_index = 0;
	return bpf_redirect(fib.ifindex, 0);
}

#endif
