/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Makes and changes single flows at userspace's request, run by BPF_PROG_TEST_RUN like the sweep: a flow that
 * is made this way claims its slot and its keys as a packet's does (create.h), and one that is changed is
 * held by its kill half meanwhile (slot.h), so that it is the one that was meant. Packets of the flow do not
 * wait: a status bit that one of them sets in the same instant may be lost until the next, or ours; userspace
 * looks whether its own has stayed. An endpoint is counted on meanwhile, as by a flow, so that packets may.
 */
#ifndef CTNAT_EDIT_H
#define CTNAT_EDIT_H

#include "endpoint.h"
#include "event.h"
#include "flow_sctp.h"
#include "limit.h"
#include "tcp.h"

inline_ void edit_tuple(const struct edit_request *r, const enum ct_dir dir, struct tuple6 *to, const bool v6)
{
	address_copy(to->saddr, r->tuple[dir].saddr, v6);
	address_copy(to->daddr, r->tuple[dir].daddr, v6);
	to->sport = r->tuple[dir].sport;
	to->dport = r->tuple[dir].dport;
}

/*
 * Fills a claimed slot. What TCP has said so far is not known: both sides may be out of window, as with a
 * connection that was picked up in its middle (tcp_begin).
 */
inline_ void edit_fill(struct flow *f, const struct edit_request *r, __u32 now, const bool v6)
{
	struct tuple6 tuple;

	f->created = now;
	f->deadline = now + r->timeout;
	f->proto = r->proto;
	f->state = r->state;
	f->nat = r->nat;
	f->flags = r->flags;
	f->zone = r->zone;
	f->rule = 0;
	__builtin_memset(f->counts, 0, sizeof(f->counts));
	extra_fill(r->slot, r->ifindex, r->mark, v6);
	__builtin_memset(&f->tcp, 0, sizeof(f->tcp));
	if (r->proto == IPPROTO_TCP) {
		f->tcp.original_flags = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
		f->tcp.reply_flags = TCP_SENDER_SACKS | TCP_SENDER_LIBERAL;
	} else if (r->proto == IPPROTO_SCTP) {
		flow_sctp(f)->vtag[CT_DIR_ORIGINAL] = r->vtag[CT_DIR_ORIGINAL];
		flow_sctp(f)->vtag[CT_DIR_REPLY] = r->vtag[CT_DIR_REPLY];
	}
	edit_tuple(r, CT_DIR_ORIGINAL, &tuple, v6);
	flow_set_tuple(f, CT_DIR_ORIGINAL, &tuple, v6);
	edit_tuple(r, CT_DIR_REPLY, &tuple, v6);
	flow_set_tuple(f, CT_DIR_REPLY, &tuple, v6);
}

/* Claims one key for the flow; if it is another's, the request says whose. */
inline_ bool edit_claim(struct edit_request *r, const struct flow *f, const struct tuple6 *t, __u8 key_flags,
			__u16 zone, __u8 form, const bool v6)
{
	struct tuple_ref ref = {}, *held, copy;
	union tuple_key key;
	bool high = tuple_key(&key, t, r->proto, key_flags, zone, v6);

	ref.slot = r->slot;
	ref.gen = f->gen;
	ref.form = form | (high ? FORM_SOURCE_HIGH : 0);
	if (!tuple_claim(&key, &ref, v6))
		return true;
	held = tuple_find(&key, &copy, v6);
	r->result = held ? EDIT_EXISTS : EDIT_NO_ROOM;
	if (held) {
		r->held_slot = held->slot;
		r->held_gen = held->gen;
	}
	return false;
}

inline_ void edit_release(const struct edit_request *r, const struct tuple6 *t, __u8 key_flags, __u16 zone,
			  const bool v6)
{
	union tuple_key key;

	tuple_key(&key, t, r->proto, key_flags, zone, v6);
	tuple_release(&key, v6);
}

/* The keys, in the order of create.h: the reply's, with it the outside port, first. None or all. */
inline_ bool edit_claim_keys(struct edit_request *r, const struct flow *f, const bool v6)
{
	__u8 key_flags = flow_key_flags(f);
	__u16 zone = zone_of_tuple(r->zone, r->flags, CT_DIR_ORIGINAL),
	      reply_zone = zone_of_tuple(r->zone, r->flags, CT_DIR_REPLY);
	struct tuple6 original, reply, middle;

	edit_tuple(r, CT_DIR_ORIGINAL, &original, v6);
	if (r->nat == NAT_NONE && !(r->flags & FLOW_ZONE_MASK))
		return edit_claim(r, f, &original, key_flags, zone, FORM_ORIGINAL | FORM_REPLY, v6);
	edit_tuple(r, CT_DIR_REPLY, &reply, v6);
	if (!edit_claim(r, f, &reply, key_flags, reply_zone, FORM_REPLY, v6))
		return false;
	if (r->flags & FLOW_MIDDLE_KEY) {
		/* between the hooks: source as it came, destination as it leaves; the key is the slot's own
		 */
		middle = original;
		address_copy(middle.daddr, reply.saddr, v6);
		middle.dport = reply.sport;
		if (!edit_claim(r, f, &middle, key_flags | KEY_MIDDLE, r->slot & KEY_MIDDLE_SLOT_MASK,
				FORM_MIDDLE, v6))
			goto no_middle;
	}
	if (edit_claim(r, f, &original, key_flags, zone, FORM_ORIGINAL, v6))
		return true;
	if (r->flags & FLOW_MIDDLE_KEY) {
		union tuple_key key;

		tuple_key(&key, &middle, r->proto, key_flags | KEY_MIDDLE, r->slot & KEY_MIDDLE_SLOT_MASK,
			  v6);
		tuple_release(&key, v6);
	}
no_middle:
	edit_release(r, &reply, key_flags, reply_zone, v6);
	return false;
}

/* Whoever listens is told; a new flow is published then. */
inline_ void edit_tell(struct __sk_buff *skb, enum event_type type, __u32 slot, __u16 gen, const bool v6)
{
	const struct settings *s = settings_get();

	if (!s || !(type == EVENT_NEW ? s->events[EVENT_NEW] : s->events[EVENT_UPDATE]))
		return;
	skb->cb[1] = slot;
	skb->cb[2] = gen | type << 16;
	skb->cb[3] = EVENT_NO_PACKET;
	hop_go(skb, CALL_EVENT, v6);
}

/*
 * A mapping that is asked for is one port of the subscriber's, as one that packets open (limit.h). False: it
 * has as many as it may have.
 */
inline_ bool edit_limit(const struct edit_request *r, struct flow *f, const bool v6)
{
	__u32 ifindex = r->ifindex, prefix;
	struct iface *iface = bpf_map_lookup_elem(&ifaces, &ifindex);
	struct subscriber_key key;
	struct subscriber *s;

	if (!iface || !iface->limit_prefix)
		return true;
	prefix = v6 ? iface->limit_prefix : NAT_LIMIT_ADDRESS;
	subscriber_key(&key, f, ifindex, prefix, v6);
	s = limit_subscriber(&key, iface, clock_now());
	if (!s) {
		counter_add(COUNTER_UNLIMITED, 1);
		return true;
	}
	if (limit_is_full(s, iface)) {
		__sync_fetch_and_add(&s->refused_ports, 1);
		return false;
	}
	f->nat |= prefix << NAT_LIMIT_SHIFT;
	return true;
}

/*
 * Makes the endpoint in a claimed and filled slot. Whom its inside key has led here may count on it before it
 * is published, as on one that a packet opens (endpoint_open).
 */
inline_ void edit_open(struct edit_request *r, struct flow *f, const bool v6)
{
	if (!edit_limit(r, f, v6)) {
		r->result = EDIT_LIMIT;
		slot_abandon(f);
		return;
	}
	write_once(f->status, r->status | CT_ENDPOINT);
	__sync_fetch_and_add(&f->lock, LOCK_OPENING);
	if (!edit_claim_keys(r, f, v6)) {
		__sync_fetch_and_add(&f->lock, -LOCK_OPENING);
		slot_abandon(f);
		return;
	}
	if (f->nat & ~NAT_TYPE_MASK)
		subscriber_take(f, r->slot, v6);
	r->gen = f->gen;
	r->result = EDIT_DONE;
	counter_add(COUNTER_ENDPOINTS_OPENED, 1);
	__sync_fetch_and_add(&f->lock, -(LOCK_KILL + LOCK_OPENING)); /* published */
}

inline_ void edit_insert(struct __sk_buff *skb, struct edit_request *r, struct flow *f, const bool v6)
{
	__u16 gen;

	if (!slot_try_claim(f)) {
		r->result = EDIT_SLOT_TAKEN;
		return;
	}
	gen = f->gen;
	edit_fill(f, r, clock_now(), v6);
	if (r->op == EDIT_OPEN) {
		edit_open(r, f, v6);
		return;
	}
	write_once(f->status, r->status | CT_CONFIRMED);
	barrier_compiler();
	if (!edit_claim_keys(r, f, v6)) {
		slot_abandon(f);
		return;
	}
	r->gen = gen;
	r->result = EDIT_DONE;
	counter_add(COUNTER_INSERTED, 1);
	edit_tell(skb, EVENT_NEW, r->slot, gen, v6);
	slot_publish(f);
}

inline_ void edit_update(struct __sk_buff *skb, struct edit_request *r, struct flow *f, const bool v6)
{
	__u32 now = clock_now(), fields = r->fields;
	struct flow_extra *extra = extra_at(r->slot, v6);

	if (!flow_try_kill(f)) {
		r->result = EDIT_BUSY;
		return;
	}
	if (!flow_is_live(f, r->gen, now)) {
		r->result = EDIT_GONE;
		flow_unkill(f);
		return;
	}
	if (fields & EDIT_STATE)
		f->state = r->state;
	if (fields & EDIT_STATUS)
		write_once(f->status, f->status | r->status);
	if (fields & EDIT_MARK && extra)
		extra->mark = (extra->mark & ~r->mark_mask) ^ r->mark;
	if (fields & EDIT_TIMEOUT)
		write_once(f->deadline, now + r->timeout);
	if (fields & EDIT_ZERO) {
		/* what came since it was read stays */
		UNROLL
		for (enum ct_dir dir = 0; dir < CT_DIR_COUNT; dir++) {
			f->counts[counts_of(dir)].packets -= r->packets[dir];
			f->counts[counts_of(dir)].bytes -= r->bytes[dir];
		}
	}
	flow_unkill(f);
	r->result = EDIT_DONE;
	if (fields & ~EDIT_ZERO)
		edit_tell(skb, EVENT_UPDATE, r->slot, r->gen, v6);
}

/*
 * An endpoint is asked for until its new deadline, or no longer is. Counted on, it can not be closed, and
 * packets begin flows by it meanwhile. One of them that has seen it as it was may write its deadline, or that
 * its time is over, once more: userspace looks whether ours has stayed.
 */
inline_ void edit_keep(struct edit_request *r, struct flow *f)
{
	__u32 deadline = clock_now() + r->timeout;

	r->result = EDIT_GONE;
	if (!endpoint_take(f, r->gen, LOCK_OPENING)) {
		if (read_once(f->gen) == r->gen && read_once(f->status) & CT_ENDPOINT)
			r->result = EDIT_BUSY; /* somebody looks whether it is to be closed */
		return;
	}
	write_once(f->status, r->status | CT_ENDPOINT); /* from now on packets leave the deadline alone */
	write_once(f->deadline, deadline);
	endpoint_put(f);
	r->result = EDIT_DONE;
}

/* A key whose flow is over goes, of itself (table-repair.ts). */
inline_ void edit_free(struct edit_request *r)
{
#ifdef CTNAT_FETCH
	__u32 which = r->held_slot;
	struct index_place at = {.row = bpf_map_lookup_elem(&tuple_index, &which)};
	struct index_cell *cell;

	r->result = EDIT_GONE;
	if (!at.row)
		return;
	cell = index_cell(&at, r->held_gen);
	if (!cell) {
		__sync_fetch_and_add(&at.row->spilled, -1);
		r->result = EDIT_DONE;
		return;
	}
	bpf_spin_lock(&at.row->lock);
	if (cell->tag && (__u32)cell->ref == r->slot && (__u16)(cell->ref >> 32) == r->gen) {
		write_once(cell->tag, 0);
		r->result = EDIT_DONE;
	}
	bpf_spin_unlock(&at.row->lock);
#else
	r->result = EDIT_GONE;
#endif
}

inline_ int edit(struct __sk_buff *skb, const bool v6)
{
	struct edit_request *r = (void *)(long)skb->data;
	struct flow *f;

	if ((void *)(r + 1) > (void *)(long)skb->data_end)
		return VERDICT_DROP;
	f = flow_at(r->slot, v6);
	if (r->op == EDIT_FREE)
		edit_free(r);
	else if (!f)
		r->result = EDIT_GONE;
	else if (r->op == EDIT_INSERT || r->op == EDIT_OPEN)
		edit_insert(skb, r, f, v6);
	else if (r->op == EDIT_KEEP)
		edit_keep(r, f);
	else
		edit_update(skb, r, f, v6);
	return VERDICT_PASS;
}

#endif
