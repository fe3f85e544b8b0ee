/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What is known of a flow and no usual packet needs (struct flow_extra): in a map of its own, by the flow's
 * slot, and whose the slot is says whose it is (slot.h). Who reads it without holding the slot may read the
 * next flow's, as with the slot itself; what he does with that, he does by the generation that he came with.
 */
#ifndef CTNAT_EXTRA_H
#define CTNAT_EXTRA_H

#include "maps.h"

inline_ struct flow_extra *extra_at(__u32 slot, const bool v6)
{
	return v6 ? bpf_map_lookup_elem(&extras6, &slot) : bpf_map_lookup_elem(&extras4, &slot);
}

/* The interface whose hook created the flow in the slot. */
inline_ __u32 flow_ifindex(__u32 slot, const bool v6)
{
	const struct flow_extra *extra = extra_at(slot, v6);

	return extra ? extra->ifindex : 0;
}

/* Of a slot that is claimed. */
inline_ void extra_fill(__u32 slot, __u32 ifindex, __u32 mark, const bool v6)
{
	struct flow_extra *extra = extra_at(slot, v6);

	if (extra)
		*extra = (struct flow_extra){.ifindex = ifindex, .mark = mark};
}

inline_ void flow_set_ifindex(__u32 slot, __u32 ifindex, const bool v6)
{
	struct flow_extra *extra = extra_at(slot, v6);

	if (extra)
		extra->ifindex = ifindex;
}

#endif
