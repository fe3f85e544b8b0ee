/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is to become of a new flow: which rule speaks for it, and from that the reply tuple that it would
 * like and the ports that it may have instead. Decides; claims nothing.
 */
#ifndef CTNAT_PLAN_H
#define CTNAT_PLAN_H

#include "calls.h"
#include "clock.h"
#include "slot.h"
#include "tuple.h"

struct plan {
	struct tuple6 reply; /* with the port that is asked for first */
	__u16 port_min;	     /* for the source's outside port, host order, inclusive */
	__u16 port_max;
	__u16 rule;	 /* id */
	__u8 type;	 /* enum nat_type */
	bool keep_first; /* the first choice is inside the range */
};

enum {
	RULE_NONE = 0xffffffff,	      /* all looked at, none matches */
	RULE_UNFINISHED = 0xfffffffe, /* more to look at */
};

/* One branch for the whole address: sixteen of them in an unrolled search are too many for an old verifier.
 */
inline_ bool prefix_matches(const __be32 *address, const __be32 *value, const __be32 *mask, const bool v6)
{
	__u32 differs = (address[0] & mask[0]) ^ value[0];

	if (v6) {
		differs |= (address[1] & mask[1]) ^ value[1];
		differs |= (address[2] & mask[2]) ^ value[2];
		differs |= (address[3] & mask[3]) ^ value[3];
	}
	return !differs;
}

/* Of this hook: ingress changes destinations, egress sources. */
inline_ bool rule_is_for(const struct nat_rule *r, const enum hook_dir at)
{
	const __u32 out = 1 << NAT_RULE_SNAT | 1 << NAT_RULE_MASQUERADE | 1 << NAT_RULE_NETMAP_OUT;
	const __u32 in = 1 << NAT_RULE_DNAT | 1 << NAT_RULE_REDIRECT | 1 << NAT_RULE_NETMAP_IN;

	return (at == HOOK_INGRESS ? in : out) >> (r->kind & 31) & 1;
}

inline_ bool rule_matches(const struct nat_rule *r, const struct packet *p, __u32 ifindex, __u32 mark,
			  const enum hook_dir at, const bool v6)
{
	__u16 port = bpf_ntohs(p->tuple.dport);

	if (!rule_is_for(r, at))
		return false;
	if (r->family != (v6 ? 6 : 4) ||
	    (r->ifindex && r->ifindex != ifindex && !(r->flags & NAT_RULE_HAIRPIN)) ||
	    (r->proto && r->proto != p->proto) || (mark & r->mark_mask) != r->mark)
		return false;
	if (r->dport_max != 0xffff || r->dport_min)
		if (!proto_has_ports(p->proto) || port < r->dport_min || port > r->dport_max)
			return false;
	return prefix_matches(p->tuple.saddr, r->saddr, r->smask, v6) &&
	       prefix_matches(p->tuple.daddr, r->daddr, r->dmask, v6);
}

/* The first rule from `cursor` on that matches: its index in nat_rules, RULE_NONE or RULE_UNFINISHED. */
inline_ __u32 rule_search(const struct settings *s, const struct packet *p, __u32 ifindex, __u32 mark,
			  __u32 cursor, const enum hook_dir at, const bool v6)
{
	__u32 base = s->rule_bank ? NAT_RULES_PER_BANK : 0, count = s->rule_count;

	if (cursor >= count)
		return RULE_NONE;
	UNROLL
	for (__u32 i = 0; i < RULE_SCAN_STEP; i++) {
		__u32 index = base + cursor + i;
		struct nat_rule *r;

		if (cursor + i >= count)
			return RULE_NONE;
		r = bpf_map_lookup_elem(&nat_rules, &index);
		if (!r)
			return RULE_NONE;
		if (rule_matches(r, p, ifindex, mark, at, v6))
			return index;
	}
	return cursor + RULE_SCAN_STEP >= count ? RULE_NONE : RULE_UNFINISHED;
}

inline_ bool destination_is_exempt(const struct packet *p, const bool v6)
{
	if (v6) {
		struct exempt6_key key = {.prefix = 128};

		address_copy(key.addr, p->tuple.daddr, true);
		return bpf_map_lookup_elem(&exempt6, &key);
	} else {
		struct exempt4_key key = {.prefix = 32, .addr = p->tuple.daddr[0]};

		return bpf_map_lookup_elem(&exempt4, &key);
	}
}

/* The same for one inside host whatever it talks to (RFC 4787 REQ-2, paired pooling). */
inline_ __u32 host_hash(const __be32 *address, const bool v6)
{
	__u32 h = address[0];

	if (v6)
		h ^= address[1] * 0x9e3779b1 ^ address[2] * 0x85ebca77 ^ address[3] * 0xc2b2ae3d;
	h ^= h >> 16;
	h *= 0x7feb352d;
	h ^= h >> 15;
	h *= 0x846ca68b;
	return h ^ (h >> 16);
}

/* An address of the range min..max, which differs in the last 32 bits only. */
inline_ void range_pick(__be32 *to, const __be32 *min, const __be32 *max, const __be32 *host, const bool v6)
{
	const int last = v6 ? 3 : 0;
	__u32 low = bpf_ntohl(min[last]), span = bpf_ntohl(max[last]) - low;

	address_copy(to, min, v6);
	if (span)
		to[last] = bpf_htonl(
			low + (span == 0xffffffff ? host_hash(host, v6) : host_hash(host, v6) % (span + 1)));
}

/*
 * Ports stay in their class where no range is given: a server may tell trusted clients by a port below
 * 1024 (RFC 4787 REQ-3a). The bounds are Netfilter's. An ICMP identifier has no classes.
 */
inline_ void port_class(struct plan *plan, const struct packet *p, __u16 port)
{
	if (!packet_port_is_free(p)) {
		plan->port_min = port;
		plan->port_max = port;
	} else if (!proto_has_ports(p->proto)) {
		plan->port_min = 0;
		plan->port_max = 0xffff;
	} else if (port < 512) {
		plan->port_min = 1;
		plan->port_max = 511;
	} else if (port < 1024) {
		plan->port_min = 600;
		plan->port_max = 1023;
	} else {
		plan->port_min = 1024;
		plan->port_max = 0xffff;
	}
}

/* False: the range asks for another port of a packet whose port can't change. */
inline_ bool plan_ports(struct plan *plan, const struct packet *p, __u16 min, __u16 max)
{
	__u16 port = bpf_ntohs(p->tuple.sport);
	bool has = (min || max) && proto_has_ports(p->proto), inside = port >= min && port <= max;

	port_class(plan, p, port);
	plan->keep_first = !has || inside;
	if (has && !packet_port_is_free(p))
		return inside;
	if (has) {
		plan->port_min = min;
		plan->port_max = max;
	}
	return true;
}

/* No translation; also the start of every other plan. Its ports are chosen at its end (plan_ports). */
inline_ void plan_plain(struct plan *plan, const struct packet *p, const bool v6)
{
	__builtin_memset(plan, 0, sizeof(*plan));
	tuple_reverse(&plan->reply, &p->tuple, v6);
}

/* One's complement addition. */
inline_ __u32 word_add(__u32 a, __u32 b)
{
	a += b;
	return (a & 0xffff) + (a >> 16);
}

inline_ __u32 words_sum(const __be32 *a)
{
	__u32 sum = 0;

	UNROLL
	for (int i = 0; i < 4; i++)
		sum = word_add(word_add(sum, a[i] & 0xffff), a[i] >> 16);
	return sum;
}

/*
 * RFC 6296 section 3.1: what the new prefix has added to the address's sum is taken from one of its 16-bit
 * words, so that no checksum above it changes: that of the subnet for prefixes up to /48, else the first of
 * the interface identifier that is not 0xffff (sections 3.4 and 3.5).
 */
inline_ void netmap_neutral(__be32 *to, const __be32 *address, const __be32 *mask)
{
	__u32 change = word_add(words_sum(address), 0xffff - words_sum(to)), which, word;

	UNROLL
	for (int i = 1; i < 4; i++) {
		UNROLL
		for (int half = 0; half < 2; half++) {
			which = half * 16;
			word = to[i] >> which & 0xffff;
			if (i == 1 ? !half || (mask[1] >> 16) : word == 0xffff)
				continue;
			word = word_add(word, change);
			if (word == 0xffff)
				word = 0;
			to[i] = (to[i] & ~(0xffffU << which)) | word << which;
			return;
		}
	}
}

/* An address's counterpart in another prefix of the same length. */
inline_ void netmap(__be32 *to, const __be32 *address, const __be32 *prefix, const __be32 *mask, __u8 flags,
		    const bool v6)
{
	to[0] = prefix[0] | (address[0] & ~mask[0]);
	if (v6) {
		to[1] = prefix[1] | (address[1] & ~mask[1]);
		to[2] = prefix[2] | (address[2] & ~mask[2]);
		to[3] = prefix[3] | (address[3] & ~mask[3]);
		if (flags & NAT_RULE_NEUTRAL)
			netmap_neutral(to, address, mask);
	}
}

inline_ void plan_netmap_out(struct plan *plan, const struct packet *p, const struct nat_rule *r,
			     const bool v6)
{
	plan->type = NAT_NETMAP;
	plan->rule = r->id;
	netmap(plan->reply.daddr, p->tuple.saddr, r->to_min, r->smask, r->flags, v6);
}

/* `hairpin`: between two inside hosts, of which each is to see the other's outside address. */
inline_ void plan_netmap_in(struct plan *plan, const struct packet *p, const struct nat_rule *r, bool hairpin,
			    const bool v6)
{
	plan->type = NAT_NETMAP;
	plan->rule = r->id;
	netmap(plan->reply.saddr, p->tuple.daddr, r->to_min, r->dmask, r->flags, v6);
	if (hairpin && prefix_matches(p->tuple.saddr, r->to_min, r->dmask, v6))
		netmap(plan->reply.daddr, p->tuple.saddr, r->daddr, r->dmask, r->flags, v6);
}

/*
 * Where a port forward leads: one of a range of addresses or of a list, the same for one client whatever port
 * it comes from. A range of ports is shifted as a whole when both are as long.
 */
inline_ enum reason plan_destination(struct plan *plan, const struct packet *p, const struct nat_rule *r,
				     const bool v6)
{
	__u32 port_min = r->to_port_min, port_max = r->to_port_max, span, offset, index;
	const struct pool_entry *entry;

	plan->type = NAT_DNAT;
	plan->rule = r->id;
	if (r->pool_size) {
		index = r->pool_first + host_hash(p->tuple.saddr, v6) % r->pool_size;
		entry = bpf_map_lookup_elem(&nat_pools, &index);
		if (!entry)
			return REASON_DROP_INTERNAL;
		address_copy(plan->reply.saddr, entry->addr, v6);
		port_min = entry->port_min;
		port_max = entry->port_max;
	} else {
		range_pick(plan->reply.saddr, r->to_min, r->to_max, p->tuple.saddr, v6);
	}
	if (port_min && proto_has_ports(p->proto)) {
		span = port_max - port_min;
		offset = bpf_ntohs(p->tuple.dport) - r->dport_min;
		if (span != (__u32)r->dport_max - r->dport_min)
			offset = span ? bpf_get_prandom_u32() % (span + 1) : 0;
		plan->reply.sport = bpf_htons(port_min + offset);
		if (plan->reply.sport != p->tuple.dport && !packet_port_is_free(p))
			return REASON_DROP_PORT_FIXED;
	}
	return 0;
}

/*
 * A host's entry of a pool is always the same. When it has no port left, the address's other port ranges are
 * next; then, if the rule lets a host have several addresses, the entries behind those.
 */
inline_ const struct pool_entry *pool_pick(struct __sk_buff *skb, const struct nat_rule *r,
					   const __be32 *host, const bool v6)
{
	__u32 place = host_hash(host, v6) % r->pool_size, attempt = hop_attempt(skb), index, first;
	const struct pool_entry *entry;

	index = r->pool_first + place;
	entry = bpf_map_lookup_elem(&nat_pools, &index);
	if (!entry)
		return NULL;
	hop_allow_attempts(skb, r->flags & NAT_RULE_SPILL ? r->pool_size : entry->places);
	if (!attempt)
		return entry;
	first = place - entry->place;
	if (attempt < entry->places)
		attempt = (entry->place + attempt) % entry->places;
	index = r->pool_first + (first + attempt) % r->pool_size;
	return bpf_map_lookup_elem(&nat_pools, &index);
}

/* False: the rule's pool is not there. */
inline_ bool plan_source(struct plan *plan, struct __sk_buff *skb, const struct packet *p,
			 const struct nat_rule *r, __u16 *min, __u16 *max, const bool v6)
{
	const struct pool_entry *entry;

	plan->type = NAT_SNAT;
	if (!r->pool_size) {
		range_pick(plan->reply.daddr, r->to_min, r->to_max, p->tuple.saddr, v6);
		return true;
	}
	entry = pool_pick(skb, r, p->tuple.saddr, v6);
	if (!entry)
		return false;
	address_copy(plan->reply.daddr, entry->addr, v6);
	*min = entry->port_min;
	*max = entry->port_max;
	return true;
}

inline_ bool iface_has_address(const struct iface *iface, const bool v6)
{
	return v6 ? iface->addr6[0] | iface->addr6[1] | iface->addr6[2] | iface->addr6[3] : iface->addr4;
}

/*
 * One of an interface's port ranges: the one that the port is in, for it may stay then, or else one that is
 * the host's. The others follow by attempts.
 */
inline_ void plan_iface_ports(const struct packet *p, const struct iface *iface, __u32 attempt, __u16 *min,
			      __u16 *max, const bool v6)
{
	__u32 port = bpf_ntohs(p->tuple.sport), ranges = iface->port_ranges, which, within;

	if (!ranges)
		return;
	which = host_hash(p->tuple.saddr, v6) % ranges;
	UNROLL
	for (__u32 i = 0; i < IFACE_PORT_RANGES; i++) {
		/* verifier: without a branch; a range that there is not is from 0 to 0 */
		within = ~((port - iface->port_min[i]) | (iface->port_max[i] - port)) >> 31;
		hide(within);
		which += (i - which) * (within & 1);
	}
	which = (which + attempt) % ranges % IFACE_PORT_RANGES;
	*min = iface->port_min[which];
	*max = iface->port_max[which];
}

/* False: the interface has no address to give. */
inline_ bool plan_masquerade(struct plan *plan, const struct iface *iface, const bool v6)
{
	const __be32 *address = v6 ? iface->addr6 : &iface->addr4;

	plan->type = NAT_MASQUERADE;
	if (!iface_has_address(iface, v6))
		return false;
	address_copy(plan->reply.daddr, address, v6);
	return true;
}

/* verifier: whichever way the plan was made, what follows is walked through once */
inline_ void plan_blur(struct plan *plan, __u32 zero)
{
	blur(plan->reply.sport, zero);
	blur(plan->reply.dport, zero);
	blur(plan->port_min, zero);
	blur(plan->port_max, zero);
	blur(plan->rule, zero);
	blur(plan->type, zero);
	plan->keep_first ^= zero & 1;
}

#endif
