/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The lines that the TCP tests exchange with a tracker: one line in, one line out.
 *
 *   new                      forget the connection, the next segment is another one's         -> ok
 *   set NAME VALUE           loose, liberal, ignore-invalid-rst, max-retrans                  -> ok
 *   seg SIDE FLAGS SEQ ACK WINDOW PAYLOAD OPTIONS   SIDE a or b; numbers, FLAGS too, decimal;
 *                            OPTIONS bytes in hex or -                -> what became of it, see below
 *   age SECONDS              the entry has this long to live from now on, unless that is fixed -> ok or none
 *   fix                      the entry's timeout is fixed                                     -> ok or none
 *   sync                     answers are held back until this one                             -> ok
 *
 * A segment's answer: CLASS ORIGIN STATE STATUS TIMEOUT FLAGS FLAGS SCALE SCALE
 *   CLASS    new, established, invalid; lost: the packet did not come out
 *   ORIGIN   the side that began the connection, - when there is no entry (then the line ends)
 *   STATE, STATUS   conntrack's numbers, of STATUS only SEEN_REPLY and ASSURED
 *   TIMEOUT  whole seconds to live
 *   FLAGS, SCALE    what is known of the original and of the reply side (IP_CT_TCP_FLAG_*)
 */
#ifndef TCP_TEST_LINE_H
#define TCP_TEST_LINE_H

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { STATUS_SHOWN = 1 << 1 | 1 << 2 };

struct line_segment {
	char side;
	uint8_t flags;
	uint32_t seq;
	uint32_t ack;
	uint16_t window;
	uint32_t payload;
	uint8_t options[40];
	uint32_t options_length; /* a multiple of 4 */
};

static int line_read_segment(const char *line, struct line_segment *seg)
{
	unsigned flags, window;
	char hex[2 * sizeof(seg->options) + 1];

	memset(seg, 0, sizeof(*seg));
	if (sscanf(line, "seg %c %u %u %u %u %u %80s", &seg->side, &flags, &seg->seq, &seg->ack, &window,
		   &seg->payload, hex) != 7)
		return 0;
	if ((seg->side != 'a' && seg->side != 'b') || flags > 0xff || window > 0xffff || seg->payload > 65000)
		return 0;
	seg->flags = flags;
	seg->window = window;
	if (!strcmp(hex, "-"))
		return 1;
	for (const char *at = hex; *at; at += 2) {
		unsigned byte;

		if (!at[1] || sscanf(at, "%2x", &byte) != 1)
			return 0;
		seg->options[seg->options_length++] = byte;
	}
	return seg->options_length % 4 == 0;
}

#endif
