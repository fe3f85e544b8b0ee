/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * How long endpoints live. While one of its flows does, an endpoint keeps its port (endpoint.h). It takes in
 * strangers until its deadline, which every packet of its flows moves, either way (RFC 4787 REQ-6 asks for
 * packets from inside and leaves the others open), but none of a flow from outside that the inside endpoint
 * has never answered: nobody keeps a door open that he alone has come to. Without flows and past its deadline
 * the endpoint is closed by a sweep, or by a packet that needs its port or slot.
 */
#ifndef CTNAT_ENDPOINT_LIFE_H
#define CTNAT_ENDPOINT_LIFE_H

#include "endpoint.h"
#include "verdict.h"

/* The outside endpoint of one side of a flow, and the other end's address. */
struct endpoint_side {
	__be32 address[4];
	__be32 remote[4];
	__be16 port;
};

inline_ void endpoint_side_of(const struct flow *f, struct endpoint_side *side, const bool source,
			      const bool v6)
{
	struct tuple6 own, other;

	flow_tuple(f, source ? CT_DIR_REPLY : CT_DIR_ORIGINAL, &own, v6);
	flow_tuple(f, source ? CT_DIR_ORIGINAL : CT_DIR_REPLY, &other, v6);
	address_copy(side->address, own.daddr, v6);
	address_copy(side->remote, other.daddr, v6);
	side->port = own.dport;
}

/* Puts the flow where an address has nobody alive to vouch for it any more. */
inline_ void endpoint_vouch_again(struct flow *f, const struct endpoint_side *side, __u32 slot, __u16 gen,
				  __u32 now, const bool v6)
{
	struct tuple_ref *ref, copy;
	union tuple_key key;
	struct flow *voucher;

	peer_key(&key, side->address, side->port, side->remote, f->proto, v6);
	ref = tuple_find(&key, &copy, v6);
	voucher = ref ? flow_at(ref->slot, v6) : NULL;
	if (voucher && flow_is_live(voucher, ref->gen, now))
		return;
	if (!flow_try_kill(f)) /* ends just now, or the next packet does it */
		return;
	if (read_once(f->gen) == gen && read_once(f->status) & CT_CONFIRMED)
		peer_vouch(side->address, side->port, side->remote, f->proto, slot, gen, v6);
	flow_unkill(f);
}

/* Tells the endpoint of one side the flow's deadline. */
inline_ void endpoint_touch_side(struct flow *f, const bool source, __u32 slot, __u16 gen, __u32 now,
				 const bool v6)
{
	struct endpoint_side side;
	__u32 other, ifindex;
	struct iface *iface;
	struct flow *e;
	__u16 other_gen;

	endpoint_side_of(f, &side, source, v6);
	e = endpoint_of(side.address, side.port, f->proto, flow_key_flags(f), &other, &other_gen, v6);
	if (!e)
		return;
	endpoint_prolong(e, other_gen, read_once(f->deadline) + ENDPOINT_STEP, now);
	ifindex = flow_ifindex(other, v6);
	iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	if (iface && iface_filtering(iface, f->proto) == NAT_FILTERING_ADF)
		endpoint_vouch_again(f, &side, slot, gen, now, v6);
}

/* TOUCH: what hop_event() says, of a flow whose deadline has moved far enough. */
inline_ int endpoint_touch(struct __sk_buff *skb, const bool v6)
{
	__u32 slot = skb->cb[1], word = skb->cb[2], reason = skb->cb[3] & 0xff, at = skb->cb[3] >> 8 & 1;
	struct flow *f = flow_at(slot, v6);
	__u32 now = clock_now();
	__u16 gen = word;

	if (f && flow_is_live(f, gen, now)) {
		if (f->flags & FLOW_SOURCE_ENDPOINT)
			endpoint_touch_side(f, true, slot, gen, now, v6);
		if ((f->flags & FLOW_DESTINATION_ENDPOINT) && (f->status & CT_SEEN_REPLY))
			endpoint_touch_side(f, false, slot, gen, now, v6);
	}
	if (word >> 16 == EVENT_UPDATE)
		hop_go(skb, CALL_EVENT, v6);
	return verdict_end(skb, at, reason);
}

/* The flow no longer vouches, if it did. Its kill half is held. */
inline_ void endpoint_side_forget(const struct endpoint_side *side, __u8 proto, __u32 slot, __u16 gen,
				  const bool v6)
{
	struct tuple_ref *ref, copy;
	union tuple_key key;

	peer_key(&key, side->address, side->port, side->remote, proto, v6);
	ref = tuple_find(&key, &copy, v6);
	if (ref && ref->slot == slot && ref->gen == gen)
		tuple_release(&key, v6);
}

/*
 * The flow goes, and its endpoint has one less. Of TCP what was open for hours has no flow to be open for:
 * the last one leaves it the time of CLOSE. Returns its slot if no flow is left, else SLOT_NONE.
 */
inline_ __u32 endpoint_side_leave(const struct endpoint_side *side, __u8 proto, __u8 key_flags, __u32 now,
				  const struct settings *s, const bool v6)
{
	__u32 slot, deadline;
	struct flow *e;
	__u16 gen;

	e = endpoint_of(side->address, side->port, proto, key_flags, &slot, &gen, v6);
	if (!e)
		return SLOT_NONE;
	endpoint_put(e);
	if (!slot_is_idle(e))
		return SLOT_NONE;
	deadline = now + s->timeouts[CT_TIMEOUT_TCP_CLOSE];
	if (proto == IPPROTO_TCP && !endpoint_is_explicit(e) && tick_before(deadline, e->deadline))
		write_once(e->deadline, deadline);
	return slot;
}

/* One side of a flow that ends: it vouches for nobody any more, and its endpoint has one flow less. */
inline_ __u32 endpoint_side_part(const struct flow *f, const bool source, __u32 slot, __u32 now,
				 const struct settings *s, const bool v6)
{
	struct endpoint_side side;

	endpoint_side_of(f, &side, source, v6);
	endpoint_side_forget(&side, f->proto, slot, f->gen, v6);
	return endpoint_side_leave(&side, f->proto, flow_key_flags(f), now, s, v6);
}

/*
 * The flow parts with its endpoints; its kill half is held, and its keys go next. Until then they may be in
 * the way of a flow of whoever gets the port: that one flow gets another port (endpoint_taken). Returns the
 * slot of an endpoint without flows, SLOT_NONE if there is none.
 */
inline_ __u32 endpoint_part(const struct flow *f, __u32 slot, __u32 now, const struct settings *s,
			    const bool v6)
{
	__u32 idle = SLOT_NONE, flags = f->flags;

	blur(flags, s->zero);
	if (flags & FLOW_SOURCE_ENDPOINT)
		idle = endpoint_side_part(f, true, slot, now, s, v6);
	blur(idle, s->zero);
	if (flags & FLOW_DESTINATION_ENDPOINT)
		idle = endpoint_side_part(f, false, slot, now, s, v6);
	blur(idle, s->zero);
	return idle;
}

#endif
