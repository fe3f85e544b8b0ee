/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * A flow's home: the slot that the hash of its original key names. A new flow is put there if the slot is
 * free, else wherever one is (slot.h). With many flows neither a row of hints nor a slot is in any cache, and
 * which slot to read is known only when the row has come (hint.h). Which is home is known at once, so both
 * are waited for together; most packets find their flow at home, and wait once.
 *
 * At home or not is no property of a flow: nothing but time depends on it. As for hints, the hash has no
 * secret: flows whose keys are chosen to share a home are elsewhere but for one, and found by their hints.
 */
#ifndef CTNAT_HOME_H
#define CTNAT_HOME_H

#include "slot.h"

/*
 * Of a key, for its home and its row of hints: the upper half chooses the row, the lower half the home, and
 * the bits from HINT_TAG_SHIFT on tell the row's hints apart.
 */
inline_ __u64 key_hash(const union paired_key *key, const bool v6)
{
	__u64 hash;

	in_memory(*key);
	hash = key->pairs[0] * 0x9e3779b97f4a7c15;
	if (v6) {
		hash = (hash ^ hash >> 32 ^ key->pairs[1]) * 0xbf58476d1ce4e5b9;
		hash = (hash ^ hash >> 32 ^ key->pairs[2]) * 0x9e3779b97f4a7c15;
		hash = (hash ^ hash >> 32 ^ key->pairs[3]) * 0xbf58476d1ce4e5b9;
		hash = (hash ^ hash >> 32 ^ key->pairs[4] ^ 6ULL << 56) * 0x94d049bb133111eb;
	} else {
		hash = (hash ^ hash >> 32 ^ key->pairs[1]) * 0x94d049bb133111eb;
	}
	return hash ^ hash >> 29;
}

/* By multiplication: slots need not be a power of 2. */
inline_ __u32 home_slot(const struct settings *s, __u64 hash, const bool v6)
{
	return (hash & 0xffffffff) * (v6 ? s->slots6 : s->slots4) >> 32;
}

/* Has a slot on its way before anybody waits for it: both lines, and what lies beside. */
inline_ void home_fetch(__u32 slot, const bool v6)
{
	const struct flow *f = flow_at(slot, v6);
	const struct flow_extra *extra = extra_at(slot, v6);

	if (f && extra) {
		(void)read_once(f->lock);
		(void)read_once(f->tcp.last_end);
		(void)read_once(extra->ifindex);
	}
}

/*
 * What comes in where sources are translated is replies, for the most part, and those find no flow at home:
 * they do not look there. Which interfaces that are is learnt from the flows that leave by them. Two may
 * share a bit, and one of them looks only at hints then.
 */
inline_ void outside_learn(struct settings *s, __u32 ifindex)
{
	__u16 bit = 1 << (ifindex & 15);

	if (HOMES && unlikely(!(read_once(s->outsides) & bit)))
		write_once(s->outsides,
			   s->outsides | bit); /* another CPU's bit that is lost is learnt again */
}

/* Whether a packet that has come in by the interface may be one whose flow is at home. */
inline_ bool home_is_likely(const struct settings *s, __u32 ifindex)
{
	return HOMES && !(read_once(s->outsides) >> (ifindex & 15) & 1);
}

/* What BIRTH is told of the flow that it makes: 1 + its home; 0: there are none. */
inline_ __u32 home_word(const struct settings *s, const union paired_key *key, const bool v6)
{
	return HOMES ? home_slot(s, key_hash(key, v6), v6) + 1 : 0;
}

/* Which of a slot's tuples a key is of, and whether that one's source is endpoint 1 of the key. */
enum look { LOOK_HIGH = 1 << 0, LOOK_REPLY = 1 << 1, LOOK_NOBODY = 1 << 2 };

/*
 * Tells which flow it can't be by the tuple's ends, in whichever order, and of IPv6's addresses by their
 * last words. What a flow must be, hint_is_true() sees.
 */
inline_ __u32 look(const struct flow *f, const union paired_key *key, const bool v6)
{
	const struct tuple4 *t4 = ((const struct flow4 *)f)->tuple;
	const struct tuple6 *t6 = ((const struct flow6 *)f)->tuple;
	__u64 low, high, ports, want, from, to, reply;

	if (v6) {
		low = key->tuple.v6.addr[0][3];
		high = key->tuple.v6.addr[1][3];
		reply = t6->saddr[3] ^ t6->daddr[3] ^ low ^ high;
	} else {
		low = (__u32)key->pairs[0];
		high = key->pairs[0] >> 32;
		reply = t4->saddr ^ t4->daddr ^ low ^ high;
	}
	reply = -reply >> 63;
	hide(reply);
	reply &= 1;
	if (v6) {
		t6 += reply;
		from = t6->saddr[3];
		to = t6->daddr[3];
		ports = *(const __u32 *)&t6->sport;
		want = (__u32)key->pairs[4];
	} else {
		t4 += reply;
		from = t4->saddr;
		to = t4->daddr;
		ports = *(const __u32 *)&t4->sport;
		want = (__u32)key->pairs[1];
	}
	if (!((from ^ low) | (to ^ high) | (ports ^ want)))
		return reply * LOOK_REPLY;
	if ((from ^ high) | (to ^ low) | (ports ^ (__u32)(want >> 16 | want << 16)))
		return LOOK_NOBODY;
	return reply * LOOK_REPLY | LOOK_HIGH;
}

#endif
