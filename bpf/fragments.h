/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Fragments behind the first have no ports. The first one leaves its ports under the datagram's identity
 * (RFC 791, RFC 8200 section 4.5), its followers look them up. Each hook keeps its own: between the hooks
 * the addresses change.
 */
#ifndef CTNAT_FRAGMENTS_H
#define CTNAT_FRAGMENTS_H

#include "clock.h"
#include "maps.h"
#include "packet.h"

/* 30 s, the time after which a receiver gives a datagram up (net.ipv4.ipfrag_time). */
enum { FRAGMENT_TICKS = 1788 };

union fragment_key {
	struct fragment4_key v4;
	struct fragment6_key v6;
};

inline_ void fragment_key(union fragment_key *key, const struct packet *p, enum hook_dir at, __u16 zone,
			  const bool v6)
{
	if (v6) {
		__builtin_memset(&key->v6, 0, sizeof(key->v6));
		__builtin_memcpy(key->v6.saddr, p->tuple.saddr, 16);
		__builtin_memcpy(key->v6.daddr, p->tuple.daddr, 16);
		key->v6.id = p->fragment_id;
		key->v6.proto = p->proto;
		key->v6.hook = at;
		key->v6.zone = zone;
	} else {
		key->v4.saddr = p->tuple.saddr[0];
		key->v4.daddr = p->tuple.daddr[0];
		key->v4.id = p->fragment_id;
		key->v4.proto = p->proto;
		key->v4.hook = at;
		key->v4.zone = zone;
		key->v4.pad = 0;
	}
}

inline_ void fragment_remember(const struct packet *p, enum hook_dir at, __u16 zone, __u32 now, const bool v6)
{
	struct fragment value = {
		.sport = p->tuple.sport, .dport = p->tuple.dport, .tick = now, .kind = p->kind};
	union fragment_key key;

	fragment_key(&key, p, at, zone, v6);
	if (v6)
		bpf_map_update_elem(&fragments6, &key.v6, &value, BPF_ANY);
	else
		bpf_map_update_elem(&fragments4, &key.v4, &value, BPF_ANY);
}

/* Gives a follower its first fragment's ports; false: that one was not seen, or too long ago. */
inline_ bool fragment_recall(struct packet *p, enum hook_dir at, __u16 zone, __u32 now, const bool v6)
{
	struct fragment *value;
	union fragment_key key;

	fragment_key(&key, p, at, zone, v6);
	value = v6 ? bpf_map_lookup_elem(&fragments6, &key.v6) : bpf_map_lookup_elem(&fragments4, &key.v4);
	if (!value || tick_before(value->tick + FRAGMENT_TICKS, now))
		return false;
	p->tuple.sport = value->sport;
	p->tuple.dport = value->dport;
	p->kind = value->kind;
	return true;
}

#endif
