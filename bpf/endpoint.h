/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Endpoint-independent mapping (RFC 4787 section 4.1): an endpoint is an inside address, port and protocol
 * that has one outside port for whatever it sends to, and has it alone. It is a slot of the flow table with
 * two keys: the inside one, by which its flows out find it, and the outside one, by which those from outside
 * do. Claiming the outside key is claiming the port for all destinations.
 *
 * A flow counts on its endpoint in the slot's lock, among the claims, where a counter that is added to and
 * then read decides who may (slot.h): whoever counts a flow adds a claim and must read no kill; whoever
 * closes an endpoint adds a kill and must read no claim but the slot's own. Of two that come together at
 * least one has added before the other read, so they never both succeed: an endpoint with a flow is not
 * closed, and one that is being closed gets no flow. What was added to a slot that has a new owner is taken
 * back as it was added, and can only make another's claim fail meanwhile.
 *
 * So a flow finds its endpoint again by the outside key, for as long as it lives, and needs no reference.
 *
 * Endpoints and their flows are in zone 0: userspace refuses to have them beside a zone (src/zones.ts). The
 * flow of a packet that is under way while the one takes the other's place loses its zone.
 */
#ifndef CTNAT_ENDPOINT_H
#define CTNAT_ENDPOINT_H

#include "calls.h"
#include "clock.h"
#include "slot.h"

enum {
	FLOW_HAS_ENDPOINT = FLOW_SOURCE_ENDPOINT | FLOW_DESTINATION_ENDPOINT,
	ENDPOINT_FLOWS_MAX = 1 << 19, /* at a time: far from where claims would run into kills */
};

/*
 * How coarsely a flow's deadline is told to its endpoint: in steps of 2^6 ticks, 1.07 s. The endpoint is told
 * one step more, so that it never ends before its flow.
 */
enum { ENDPOINT_STEP_SHIFT = 6, ENDPOINT_STEP = 1 << ENDPOINT_STEP_SHIFT };

/*
 * Whether a packet that has moved its flow's deadline from one tick to another is to tell the endpoint.
 * `changed`: so it is, whatever the deadline: the flow may have been answered for the first time.
 */
inline_ bool endpoint_is_due(const struct flow *f, __u32 from, __u32 to, __u32 changed)
{
	return (f->flags & FLOW_HAS_ENDPOINT) && (changed | (from ^ to) >> ENDPOINT_STEP_SHIFT);
}

/* Whether what leaves by the interface gets endpoints. Ports of other protocols are not free to choose. */
inline_ bool iface_is_eim(const struct iface *iface, __u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return iface->mapping_tcp == NAT_MAPPING_EIM;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return iface->mapping_udp == NAT_MAPPING_EIM;
	case IPPROTO_ICMP:
	case IPPROTO_ICMPV6:
		return iface->mapping_icmp == NAT_MAPPING_EIM;
	default:
		return false;
	}
}

/* Nobody sends an answer to a query that was not asked, so ICMP has no filter to open. */
inline_ enum nat_filtering iface_filtering(const struct iface *iface, __u8 proto)
{
	switch (proto) {
	case IPPROTO_TCP:
		return iface->filtering >> IFACE_FILTERING_TCP_SHIFT & IFACE_FILTERING_MASK;
	case IPPROTO_UDP:
	case IPPROTO_UDPLITE:
		return iface->filtering >> IFACE_FILTERING_UDP_SHIFT & IFACE_FILTERING_MASK;
	default:
		return NAT_FILTERING_APDF;
	}
}

inline_ void address_zero(__be32 *address, const bool v6)
{
	address[0] = 0;
	if (v6) {
		address[1] = 0;
		address[2] = 0;
		address[3] = 0;
	}
}

/* The tuple of an endpoint's outside key, and of its slot's reply side. */
inline_ void endpoint_outside(struct tuple6 *t, const __be32 *address, __be16 port, const bool v6)
{
	address_zero(t->saddr, v6);
	address_copy(t->daddr, address, v6);
	t->sport = 0;
	t->dport = port;
}

/* That of its inside key, and of its slot's original side. */
inline_ void endpoint_inside(struct tuple6 *t, const __be32 *inside, __be16 port, const __be32 *outside,
			     const bool v6)
{
	address_copy(t->saddr, inside, v6);
	address_copy(t->daddr, outside, v6);
	t->sport = port;
	t->dport = 0;
}

/* That of the key by which a flow vouches for a remote address. */
inline_ void endpoint_peer(struct tuple6 *t, const __be32 *outside, __be16 port, const __be32 *remote,
			   const bool v6)
{
	address_copy(t->saddr, remote, v6);
	address_copy(t->daddr, outside, v6);
	t->sport = 0;
	t->dport = port;
}

/*
 * Counts a flow on an endpoint. False: it is being closed, or is no longer that of this generation.
 * `opening`: LOCK_OPENING where its inside key has led here, else 0. Then its maker, on another CPU, can only
 * go on to publish it; who looks for the kill half afterwards reads the claim.
 */
inline_ bool endpoint_take(struct flow *e, __u16 gen, const __u32 opening)
{
	__u32 lock;

	__sync_fetch_and_add(&e->lock, LOCK_CLAIM);
	lock = read_once(e->lock);
	if (lock & opening)
		lock &= LOCK_CLAIM_MASK;
	if (lock > LOCK_CLAIM && lock < ENDPOINT_FLOWS_MAX && read_once(e->gen) == gen &&
	    (read_once(e->status) & CT_ENDPOINT))
		return true;
	__sync_fetch_and_add(&e->lock, -LOCK_CLAIM);
	return false;
}

inline_ void endpoint_put(struct flow *e)
{
	__sync_fetch_and_add(&e->lock, -LOCK_CLAIM);
}

/* Whether somebody has asked for the endpoint by name (PCP): its life is what he was promised. */
inline_ bool endpoint_is_explicit(const struct flow *e)
{
	return read_once(e->status) & CT_FIXED_TIMEOUT;
}

/*
 * The endpoint takes in strangers until then, if not for longer. What was asked for has its own time; once
 * that is over, and nobody has renewed it, the endpoint lives on by its packets as any other. Nobody else's
 * slot is written to: it is counted on meanwhile.
 */
inline_ void endpoint_prolong(struct flow *e, __u16 gen, __u32 deadline, __u32 now)
{
	if (endpoint_is_explicit(e)) {
		if (!flow_is_dead(e, now) || !endpoint_take(e, gen, 0))
			return;
		write_once(e->status, CT_ENDPOINT);
		write_once(e->deadline, deadline);
		endpoint_put(e);
	} else if (tick_before(e->deadline, deadline)) {
		write_once(e->deadline, deadline);
	}
}

/* The endpoint that has an outside port, and in *slot where it is; NULL: there is none. */
inline_ struct flow *endpoint_of(const __be32 *address, __be16 port, __u8 proto, __u8 key_flags, __u32 *slot,
				 __u16 *gen, const bool v6)
{
	struct tuple_ref *ref, copy;
	union tuple_key key;
	struct tuple6 t;

	endpoint_outside(&t, address, port, v6);
	tuple_key(&key, &t, proto, key_flags | KEY_ENDPOINT, 0, v6);
	ref = tuple_find(&key, &copy, v6);
	if (!ref)
		return NULL;
	*slot = ref->slot;
	*gen = ref->gen;
	return flow_at(*slot, v6);
}

inline_ void peer_key(union tuple_key *key, const __be32 *outside, __be16 port, const __be32 *remote,
		      __u8 proto, const bool v6)
{
	struct tuple6 t;

	endpoint_peer(&t, outside, port, remote, v6);
	tuple_key(key, &t, proto, KEY_PEER, 0, v6);
}

/*
 * The flow vouches for the address that its endpoint has sent to, instead of whichever did: the key leads to
 * one flow, which takes it away when it ends. Others to the same address put themselves there when they next
 * keep their endpoint open, a second's worth of traffic later at most. The caller holds the flow's kill half,
 * so the key never outlives the flow.
 */
inline_ void peer_vouch(const __be32 *outside, __be16 port, const __be32 *remote, __u8 proto, __u32 slot,
			__u16 gen, const bool v6)
{
	struct tuple_ref ref = {.slot = slot, .gen = gen, .form = FORM_PEER};
	union tuple_key key;

	peer_key(&key, outside, port, remote, proto, v6);
	if (tuple_replace(&key, &ref, v6))
		tuple_claim(&key, &ref, v6);
}

#endif
