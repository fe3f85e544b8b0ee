/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What of a packet the short ways need (fast.h). */
#ifndef CTNAT_FAST_PACKET_H
#define CTNAT_FAST_PACKET_H

#include "tcp.h"

struct fast_packet {
	__be32 saddr[4]; /* IPv4: word 0 */
	__be32 daddr[4];
	__u32 ports;  /* as in memory: the source's low */
	__u32 length; /* of the IP packet */
	__u32 proto;
	__u32 header; /* bytes of the L4 header, options included */
	struct tcp_ack seg;
	__u32 tcp_flags;
	__u32 tos; /* IPv4 */
};

#endif
