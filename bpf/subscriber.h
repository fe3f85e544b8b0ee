/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * Who a translated flow is counted for: its inside address, or that address's IPv6 prefix, behind one
 * outgoing interface. A flow is counted when it is complete, just before it is published, and taken off by
 * its teardown, which only one CPU does (slot.h): so nothing that fails in between has to give anything back.
 * Until then flow.nat says that it is to be counted, from then on that it was, and how long the prefix is:
 * whatever the interface's limits are by then, the same entry is found.
 */
#ifndef CTNAT_SUBSCRIBER_H
#define CTNAT_SUBSCRIBER_H

#include "extra.h"
#include "tuple.h"
#include "zone.h"

/* `prefix`: enum nat_limit. */
inline_ void subscriber_key(struct subscriber_key *key, const struct flow *f, __u32 ifindex, __u32 prefix,
			    const bool v6)
{
	__u32 shift = NAT_LIMIT_64 - prefix, last = 0;

	__builtin_memset(key, 0, sizeof(*key));
	if (v6) {
		const struct tuple6 *t = &((const struct flow6 *)f)->tuple[CT_DIR_ORIGINAL];

		if (prefix >= NAT_LIMIT_64)
			shift = 0;
		if (prefix == NAT_LIMIT_ADDRESS)
			last = ~0U;
		key->addr[0] = t->saddr[0];
		key->addr[1] = t->saddr[1] & bpf_htonl(~0U << (shift & 31));
		key->addr[2] = t->saddr[2] & last;
		key->addr[3] = t->saddr[3] & last;
	} else {
		key->addr[0] = ((const struct flow4 *)f)->tuple[CT_DIR_ORIGINAL].saddr;
	}
	key->ifindex = ifindex;
	key->zone = flow_zone(f, CT_DIR_ORIGINAL);
	key->family = v6 ? 6 : 4;
	key->prefix = prefix;
}

inline_ struct subscriber *subscriber_of(const struct flow *f, __u32 slot, const bool v6)
{
	struct subscriber_key key;

	subscriber_key(&key, f, flow_ifindex(slot, v6), f->nat >> NAT_LIMIT_SHIFT, v6);
	return bpf_map_lookup_elem(&subscribers, &key);
}

/* The flow is complete, and nobody may end it yet. */
inline_ void subscriber_take(struct flow *f, __u32 slot, const bool v6)
{
	struct subscriber *s = subscriber_of(f, slot, v6);

	if (s)
		__sync_fetch_and_add(&s->flows, 1);
	else
		f->nat &= NAT_TYPE_MASK;
}

/* Its teardown. */
inline_ void subscriber_give(const struct flow *f, __u32 slot, const bool v6)
{
	struct subscriber *s = subscriber_of(f, slot, v6);

	if (s)
		__sync_fetch_and_add(&s->flows, -1);
}

#endif
