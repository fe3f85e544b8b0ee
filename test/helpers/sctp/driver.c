/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf/sctp.h as a program, with one flow. A line in, a line out:
 *
 *   next STATE TYPE REPLY                   -> the transition table's digit
 *   put STATE VTAG VTAG NOTES               the flow: state, both directions' tags, notes  -> ok
 *   begin VTAG INIT_TAG CHUNK...            a packet that no flow knows -> state, tags, notes; 0: begins none
 *   sum CHANGE LENGTH                       bpf/crc32c.h: by what the CRC32c of so many bytes changes
 *   packet REPLY VTAG INIT_TAG CHUNK...     a packet of the flow -> verdict, state, tags, notes, 1 if it
 * assures
 *
 * CHUNK is TYPE:FLAGS:LENGTH.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "crc32c.h"
#include "sctp.h"

static struct sctp_track track;
static __u32 state;

static void read_chunks(char *text, struct sctp_packet *pkt)
{
	unsigned type, flags, length;

	for (char *word = strtok(text, " "); word; word = strtok(NULL, " "))
		if (sscanf(word, "%u:%u:%u", &type, &flags, &length) == 3)
			sctp_packet_add(pkt, type, flags, length);
}

int main(void)
{
	char line[4096];

	setvbuf(stdout, NULL, _IOLBF, 0);
	while (fgets(line, sizeof(line), stdin)) {
		struct sctp_packet pkt = {0};
		struct sctp_result result;
		unsigned a, b, c, d;
		int used = 0;

		line[strcspn(line, "\n")] = 0;
		if (sscanf(line, "next %u %u %u", &a, &b, &c) == 3) {
			printf("%u\n", sctp_next_state(a, b, c));
		} else if (sscanf(line, "sum %u %u", &a, &b) == 2) {
			printf("%u\n", crc32c_change(a, b));
		} else if (sscanf(line, "put %u %u %u %u", &a, &b, &c, &d) == 4) {
			state = a;
			track = (struct sctp_track){.vtag = {b, c}, .notes = d};
			printf("ok\n");
		} else if (sscanf(line, "begin %u %u %n", &a, &b, &used) == 2) {
			pkt.vtag = a;
			pkt.init_tag = b;
			read_chunks(line + used, &pkt);
			c = sctp_begin(&pkt, 0);
			state = c & 0xf;
			if (c)
				sctp_begin_track(&track, c >> 4, a, b);
			printf("%u %u %u %u\n", state, track.vtag[0], track.vtag[1], track.notes);
		} else if (sscanf(line, "packet %u %u %u %n", &c, &a, &b, &used) == 3) {
			pkt.vtag = a;
			pkt.init_tag = b;
			read_chunks(line + used, &pkt);
			sctp_track_packet(&track, &pkt, state, c, 0, &result);
			state = result.state;
			printf("%u %u %u %u %u %u\n", result.verdict, state, track.vtag[0], track.vtag[1],
			       track.notes, result.assures);
		} else {
			printf("bad line\n");
		}
	}
	return 0;
}
