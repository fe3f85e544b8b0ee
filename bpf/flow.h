/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What every protocol's tracking does to a flow: deadline, status. The races are argued in conntrack.h. */
#ifndef CTNAT_FLOW_H
#define CTNAT_FLOW_H

#include "packet.h"
#include "settings.h"

enum track {
	TRACK_OK,
	TRACK_INVALID, /* not of this flow's life: nothing was changed */
	TRACK_REPLACE, /* the flow is over and the packet begins the next one */
	TRACK_LAST,    /* the flow ends with this packet, which still is its own */
};

inline_ __u32 timeout_of(const struct settings *s, __u32 which)
{
	hide(which); /* verifier: the register that is compared is the one that is used */
	if (which >= CT_TIMEOUT_COUNT)
		return 0;
	return s->timeouts[which];
}

inline_ void flow_prolong(struct flow *f, __u32 deadline)
{
	/* an unchanged deadline is not written: the line stays shared between CPUs */
	if (!(f->status & CT_FIXED_TIMEOUT) && f->deadline != deadline)
		write_once(f->deadline, deadline);
}

/* What a packet may change that is worth an event. */
inline_ __u32 flow_look(const struct flow *f)
{
	return read_once(f->status) | (__u32)read_once(f->state) << 16;
}

inline_ void flow_set_status(struct flow *f, __u16 bits)
{
	if ((f->status & bits) != bits)
		write_once(f->status, f->status | bits);
}

#endif
