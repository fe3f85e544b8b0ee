/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * New flows from outside to endpoint-independent mappings: who may come in (RFC 4787 section 5), and hairpin.
 * What the filter refuses ends here, without an answer and without a trace: an unwanted flow to the host
 * would be in the way of the inside endpoint's own, were it to send there next (hole punching), and a RST
 * from the host would end a connection that both sides are about to open (RFC 5382 REQ-4). Unless the host
 * listens on the port itself: then it is as if there were no endpoint.
 */
#ifndef CTNAT_ENDPOINT_IN_H
#define CTNAT_ENDPOINT_IN_H

#include "endpoint_flow.h"
#include "new.h"

enum { NETNS_CURRENT = -1 };

#ifdef CTNAT_LOOPS
enum { HOST_TELLS = 1 };
#else
enum { HOST_TELLS = 0 };
#endif

/*
 * Whether the host itself has a socket for the packet, which is older than any endpoint or has at least been
 * asked for by the host: no inside host's choice of a port takes a service away from it. The floor's kernels
 * do not tell: there the interface's range of ports keeps them apart, and what a filter refuses goes on to
 * the host.
 */
inline_ bool host_listens(struct __sk_buff *skb, const struct packet *p, const bool v6)
{
#ifdef CTNAT_LOOPS
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;
	__u32 size = v6 ? sizeof(t.ipv6) : sizeof(t.ipv4);

	if (v6) {
		address_copy(t.ipv6.saddr, p->tuple.saddr, true);
		address_copy(t.ipv6.daddr, p->tuple.daddr, true);
		t.ipv6.sport = p->tuple.sport;
		t.ipv6.dport = p->tuple.dport;
	} else {
		t.ipv4.saddr = p->tuple.saddr[0];
		t.ipv4.daddr = p->tuple.daddr[0];
		t.ipv4.sport = p->tuple.sport;
		t.ipv4.dport = p->tuple.dport;
	}
	if (p->proto == IPPROTO_TCP)
		sk = bpf_sk_lookup_tcp(skb, &t, size, NETNS_CURRENT, 0);
	else if (p->proto == IPPROTO_UDP)
		sk = bpf_sk_lookup_udp(skb, &t, size, NETNS_CURRENT, 0);
	else
		return false;
	if (!sk)
		return false;
	bpf_sk_release(sk);
	return true;
#else
	(void)skb;
	(void)p;
	(void)v6;
	return false;
#endif
}

/* Whether a packet for an endpoint came from its own side of the router, and goes back there (hairpin).
 * `outside`: the endpoint's interface. */
inline_ bool endpoint_is_hairpin(const struct __sk_buff *skb, __u32 outside, const bool v6)
{
	__u32 ifindex = skb->ifindex;
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);

	return outside != ifindex && !(iface && iface->flags & (v6 ? IFACE_SNAT6 : IFACE_SNAT4));
}

/* A TCP connection begins with a SYN; in the middle of one nobody comes in. */
inline_ bool may_begin_inbound(const struct packet *p)
{
	return p->proto != IPPROTO_TCP || (p->tcp_flags & (TCP_SYN | TCP_ACK | TCP_RST | TCP_FIN)) == TCP_SYN;
}

/* Whether the endpoint's filter lets a flow begin with the packet. */
inline_ bool endpoint_admits(struct __sk_buff *skb, const struct flow *e, __u32 outside,
			     const struct packet *p, __u32 now, const bool v6)
{
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &outside);
	enum nat_filtering filtering;
	struct tuple_ref *ref, copy;
	union tuple_key key;
	struct flow *voucher;

	if (!iface || !iface_is_eim(iface, p->proto) || tick_before(read_once(e->deadline), now) ||
	    !may_begin_inbound(p))
		return false;
	if (endpoint_is_explicit(e))
		return true;
	filtering = iface_filtering(iface, p->proto);
	if (filtering == NAT_FILTERING_APDF)
		return false;
	/*
	 * Neighbours come in by either: they have one outside address, to which any of them may have sent,
	 * and were each to wait for the other's flow, hairpin would never begin (RFC 4787 REQ-9).
	 */
	if (filtering == NAT_FILTERING_ADF && !endpoint_is_hairpin(skb, outside, v6)) {
		peer_key(&key, p->tuple.daddr, p->tuple.dport, p->tuple.saddr, p->proto, v6);
		ref = tuple_find(&key, &copy, v6);
		voucher = ref ? flow_at(ref->slot, v6) : NULL;
		if (!voucher || !flow_is_live(voucher, ref->gen, now))
			return false;
	}
	return true;
}

/* Whether anybody's packet may be the endpoint's: it is of this generation, and open or in use. */
inline_ bool endpoint_is_there(const struct flow *e, __u16 gen, __u32 now)
{
	return read_once(e->gen) == gen && (read_once(e->status) & CT_ENDPOINT) &&
	       (!tick_before(read_once(e->deadline), now) || !slot_is_idle(e));
}

/* Behind NEW at ingress, where no rule speaks for the packet: the end of NEW with a look at endpoints. */
inline_ int endpoint_find(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot;
	struct settings *s = settings_get();
	struct packet p;
	struct flow *e;
	int verdict;
	bool admitted = false;
	__u16 gen;

	if (!s || !hook_parse(skb, HOOK_INGRESS, &p, hop_l2(skb), 0, now, s, &verdict, v6))
		return s ? verdict : verdict_drop(skb, HOOK_INGRESS, REASON_DROP_INTERNAL);
	e = endpoint_of(p.tuple.daddr, p.tuple.dport, p.proto, kind_key_flags(p.kind), &slot, &gen, v6);
	if (e && proto_has_ports(p.proto) && endpoint_is_there(e, gen, now)) {
		admitted = endpoint_admits(skb, e, flow_ifindex(slot, v6), &p, now, v6);
		if ((admitted || HOST_TELLS) && !host_listens(skb, &p, v6)) {
			if (!admitted)
				return verdict_drop(skb, HOOK_INGRESS, REASON_DROP_FILTERED);
		} else {
			admitted = false;
		}
	}
	skb->cb[2] = admitted ? HOP_ENDPOINT : 0;
	if (!admitted && egress_will_see(skb, p.proto, p.tuple.saddr, p.tuple.daddr, v6))
		return verdict_pass(skb, HOOK_INGRESS, REASON_DEFERRED);
	skb->cb[0] |= HOP_AT_INGRESS << 16;
	skb->cb[1] = 0;
	hop_go(skb, CALL_CREATE_INGRESS, v6);
	return verdict_drop(skb, HOOK_INGRESS, REASON_DROP_INTERNAL);
}

/*
 * A flow from outside that may come in. From a neighbour, an inside host as well, its source gets an endpoint
 * of its own at the same outside address: the other sees that, as RFC 4787 REQ-9 asks.
 */
inline_ int endpoint_ingress(struct __sk_buff *skb, const bool v6)
{
	__u32 now = clock_now(), slot = skb->cb[3] - 1, other, ifindex;
	struct settings *s = settings_get();
	struct flow *f = flow_at(slot, v6);
	struct endpoints ends = {};
	struct tuple6 inside;
	struct iface *iface;
	struct packet p;
	struct plan plan;
	__u16 gen, port_min = 0, port_max = 0;
	struct flow *e;
	int verdict;
	bool found;

	if (!f || !s)
		return verdict_drop(skb, HOOK_INGRESS, REASON_DROP_INTERNAL);
	if (!hook_parse(skb, HOOK_INGRESS, &p, hop_l2(skb), 0, now, s, &verdict, v6)) {
		slot_abandon(f);
		return verdict;
	}
	e = endpoint_of(p.tuple.daddr, p.tuple.dport, p.proto, kind_key_flags(p.kind), &other, &gen, v6);
	if (!e)
		return create_fail(skb, f, HOOK_INGRESS, REASON_DROP_RACE);
	if (!endpoint_take(e, gen, 0)) /* its maker is about to publish it, or somebody to close it */
		return endpoint_again(skb, f, HOOK_INGRESS, v6);
	ends.destination = e;
	ifindex = flow_ifindex(other, v6);
	f->zone = 0;
	flow_tuple(e, CT_DIR_ORIGINAL, &inside, v6);
	plan_plain(&plan, &p, v6);
	plan.type = e->nat & NAT_TYPE_MASK;
	plan.rule = e->rule;
	address_copy(plan.reply.saddr, inside.saddr, v6);
	plan.reply.sport = inside.sport;
	if (endpoint_is_hairpin(skb, ifindex, v6)) {
		iface = bpf_map_lookup_elem(&ifaces, &ifindex);
		if (!iface)
			goto gone;
		flow_set_ifindex(slot, ifindex, v6);
		if (unlikely(s->flags & SETTING_LIMITS) && !(hop_tries(skb) & HOP_LIMITED)) {
			endpoint_put(e);
			hop_go(skb, CALL_LIMIT, v6);
			return create_fail(skb, f, HOOK_INGRESS, REASON_DROP_INTERNAL);
		}
		address_copy(plan.reply.daddr, p.tuple.daddr, v6);
		ends.source = endpoint_take_inside(&p, &plan, &found, v6);
		if (!ends.source) {
			endpoint_put(e);
			if (found)
				return endpoint_again(skb, f, HOOK_INGRESS, v6);
			if (unlikely(limit_is_reached(f, slot, v6)))
				return limit_refuse(skb, f, REASON_DROP_LIMIT_PORTS, HOOK_INGRESS, v6);
			plan_iface_ports(&p, iface, 0, &port_min, &port_max, v6);
			plan_ports(&plan, &p, port_min, port_max);
			plan_blur(&plan, s->zero);
			return endpoint_begin(skb, f, &p, &plan, slot, ifindex, HOOK_INGRESS, v6);
		}
		ends.vouches = iface_filtering(iface, p.proto) == NAT_FILTERING_ADF;
	}
	flow_set_ifindex(slot, ifindex, v6);
	counter_add(COUNTER_ENDPOINT_ADMITTED, 1);
	return endpoint_flow(skb, f, &p, &plan, &ends, slot, now, HOOK_INGRESS, v6);
gone:
	endpoint_put(e);
	return create_fail(skb, f, HOOK_INGRESS, REASON_DROP_INTERNAL);
}

#endif
