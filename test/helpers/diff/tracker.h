/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * The lines that the differential test exchanges with a tracker, one in, one out, and the loop that serves
 * them. A tracker is a program that includes this and defines the functions at the end of the declarations.
 *
 *   sequence N                          what follows is sequence N's, of which nothing is known       -> ok
 *   resume N                            what follows is sequence N's, which goes on                   -> ok
 *   watch PROTO SOURCE DESTINATION SPORT DPORT
 *                                       look at the flow of this tuple after each packet. Addresses in hex,
 *                                       4 or 16 bytes; of ICMP SPORT is the identifier, DPORT the type -> ok
 *   packet IN OUT LENGTH HEX            the IP packet comes in at side IN and is to go out at side OUT (a, b,
 *                                       c, or - for the router itself). LENGTH: bytes, what HEX lacks is 0
 *   age SECONDS                         all watched flows live this long from now on; 0: no longer    -> ok,
 * none fix                                 the timeout of all watched flows is fixed                     ->
 * ok, none set NAME VALUE                      a setting of TCP tracking -> ok end deletes the watched flows
 * -> ok left                                -> flows in the table sync                                answers
 * are held back until this one                          -> ok
 *
 * A packet's answer: CLASS OUTCOME ENTRY... | TIMEOUT...
 *   CLASS     new, established, related, invalid, untracked; none: nothing judged it
 *   OUTCOME   lost: did not come out. same: as it went in. Or its first bytes in hex, TTL as it went in
 *   ENTRY     of each watched tuple: - or DIRECTION,STATE,STATUS,FLAGS,FLAGS,SCALE,SCALE,ORIGINAL,REPLY
 *             DIRECTION  o: the watched tuple is the flow's original one; r: its reply's
 *             STATE      of TCP and SCTP conntrack's number, of ICMP the query's type, else 0
 *             STATUS     conntrack's bits, those of STATUS_SHOWN
 *             FLAGS, SCALE   of TCP, what is known of the original and the reply side (IP_CT_TCP_FLAG_*)
 *   TIMEOUT   whole seconds to live, -1: there is no entry
 */
#ifndef DIFF_TRACKER_H
#define DIFF_TRACKER_H

#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
	SEQUENCES_MAX = 16384,
	WATCHES_MAX = 4,
	SIDES = 3,
	PACKET_MAX = 65535,
	SHOWN_MAX = 160,					    /* bytes of a changed packet */
	STATUS_SHOWN = 1 << 1 | 1 << 2 | 1 << 4 | 1 << 5 | 1 << 10, /* SEEN_REPLY to FIXED_TIMEOUT */
};

/* Network order; of IPv4 the first four bytes of an address. */
struct endpoints {
	uint8_t source[16];
	uint8_t destination[16];
	uint16_t sport;
	uint16_t dport;
};

struct watch {
	int family; /* 4 or 6 */
	uint8_t proto;
	struct endpoints tuple;
};

struct entry {
	bool found;
	bool reversed; /* the watched tuple is the reply's */
	uint32_t state;
	uint32_t status;
	long timeout;
	uint32_t flags[2];
	uint32_t scale[2];
	struct endpoints original;
	struct endpoints reply;
};

struct packet_line {
	char in;
	char out;
	int family;
	uint32_t length;
	uint8_t frame[14 + PACKET_MAX]; /* with room for the link header */
};

struct sequence {
	struct watch watches[WATCHES_MAX];
	uint32_t count;
};

struct outcome {
	const char *class;
	bool lost;
	uint8_t *packet; /* as it came out, if it did */
	uint32_t length;
};

/* What a tracker defines. */
static void tracker_packet(struct packet_line *packet, const struct sequence *sequence,
			   struct outcome *outcome);
static void tracker_entry(const struct watch *watch, struct entry *entry);
static bool tracker_age(const struct watch *watch, uint32_t seconds);
static bool tracker_fix(const struct watch *watch);
static void tracker_delete(const struct watch *watch);
static bool tracker_set(const char *name, uint32_t value);
static uint32_t tracker_left(void);

static void die(const char *what)
{
	fprintf(stderr, "%s: %s\n", what, strerror(errno));
	exit(1);
}

static bool watch_is_icmp(const struct watch *watch)
{
	return watch->proto == IPPROTO_ICMP || watch->proto == IPPROTO_ICMPV6;
}

static int hex_digit(char c)
{
	return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

/* Bytes read, -1: that is no hex, or too much. */
static long hex_read(const char *text, uint8_t *to, size_t room)
{
	size_t length = 0;

	for (; hex_digit(text[0]) >= 0; text += 2) {
		if (hex_digit(text[1]) < 0 || length == room)
			return -1;
		to[length++] = hex_digit(text[0]) << 4 | hex_digit(text[1]);
	}
	return length;
}

static void hex_write(const uint8_t *from, size_t length)
{
	for (size_t i = 0; i < length; i++)
		printf("%02x", from[i]);
}

static void endpoints_write(const struct endpoints *e, int family)
{
	hex_write(e->source, family == 4 ? 4 : 16);
	printf(":%u>", ntohs(e->sport));
	hex_write(e->destination, family == 4 ? 4 : 16);
	printf(":%u", ntohs(e->dport));
}

static void packet_serve(struct packet_line *packet, const struct sequence *sequence)
{
	struct outcome outcome = {.class = "none", .lost = true};
	struct entry entries[WATCHES_MAX];

	tracker_packet(packet, sequence, &outcome);
	printf("%s ", outcome.class);
	if (outcome.lost)
		printf("lost");
	else if (outcome.length == packet->length &&
		 !memcmp(outcome.packet, packet->frame + 14,
			 packet->length < SHOWN_MAX ? packet->length : SHOWN_MAX))
		printf("same");
	else
		hex_write(outcome.packet, outcome.length < SHOWN_MAX ? outcome.length : SHOWN_MAX);
	for (uint32_t i = 0; i < sequence->count; i++) {
		const struct watch *watch = &sequence->watches[i];
		struct entry *e = &entries[i];

		memset(e, 0, sizeof(*e));
		tracker_entry(watch, e);
		if (!e->found) {
			printf(" -");
			continue;
		}
		printf(" %c,%u,%u,%u,%u,%u,%u,", e->reversed ? 'r' : 'o', e->state, e->status & STATUS_SHOWN,
		       e->flags[0], e->flags[1], e->scale[0], e->scale[1]);
		endpoints_write(&e->original, watch->family);
		putchar(',');
		endpoints_write(&e->reply, watch->family);
	}
	printf(" |");
	for (uint32_t i = 0; i < sequence->count; i++)
		printf(" %ld", entries[i].found ? entries[i].timeout : -1);
	putchar('\n');
}

static bool packet_read(const char *line, struct packet_line *packet)
{
	int at = 0;
	long got;

	if (sscanf(line, "packet %c %c %u %n", &packet->in, &packet->out, &packet->length, &at) != 3 || !at ||
	    packet->length > PACKET_MAX)
		return false;
	got = hex_read(line + at, packet->frame + 14, packet->length);
	if (got < 20)
		return false;
	memset(packet->frame + 14 + got, 0, packet->length - got);
	packet->family = packet->frame[14] >> 4;
	return true;
}

static bool watch_read(const char *line, struct watch *watch)
{
	char source[33], destination[33];
	unsigned proto, sport, dport;
	long length;

	if (sscanf(line, "watch %u %32s %32s %u %u", &proto, source, destination, &sport, &dport) != 5)
		return false;
	memset(watch, 0, sizeof(*watch));
	watch->proto = proto;
	length = hex_read(source, watch->tuple.source, 16);
	if (hex_read(destination, watch->tuple.destination, 16) != length || (length != 4 && length != 16))
		return false;
	watch->family = length == 4 ? 4 : 6;
	watch->tuple.sport = htons(sport);
	watch->tuple.dport = htons(dport);
	return true;
}

/* One line. False: it is not one. */
static bool line_serve(const char *line, struct sequence *sequences, struct sequence **current)
{
	static struct packet_line packet;
	struct sequence *s = *current;
	unsigned number;
	char name[32];
	bool found = false;

	if (packet_read(line, &packet)) {
		packet_serve(&packet, s);
		return true;
	}
	if ((sscanf(line, "sequence %u", &number) == 1 || sscanf(line, "resume %u", &number) == 1) &&
	    number < SEQUENCES_MAX) {
		*current = &sequences[number];
		if (line[0] == 's')
			(*current)->count = 0;
	} else if (!strncmp(line, "watch ", 6)) {
		if (s->count == WATCHES_MAX || !watch_read(line, &s->watches[s->count]))
			return false;
		s->count++;
	} else if (sscanf(line, "age %u", &number) == 1) {
		for (uint32_t i = 0; i < s->count; i++)
			found |= tracker_age(&s->watches[i], number);
		puts(found ? "ok" : "none");
		return true;
	} else if (!strcmp(line, "fix\n")) {
		for (uint32_t i = 0; i < s->count; i++)
			found |= tracker_fix(&s->watches[i]);
		puts(found ? "ok" : "none");
		return true;
	} else if (!strcmp(line, "end\n")) {
		for (uint32_t i = 0; i < s->count; i++)
			tracker_delete(&s->watches[i]);
	} else if (!strcmp(line, "left\n")) {
		printf("%u\n", tracker_left());
		return true;
	} else if (sscanf(line, "set %31s %u", name, &number) == 2) {
		if (!tracker_set(name, number))
			return false;
	} else if (strcmp(line, "sync\n")) {
		return false;
	}
	puts("ok");
	return true;
}

static void tracker_serve(void)
{
	static struct sequence sequences[SEQUENCES_MAX];
	static char line[PACKET_MAX * 2 + 100];
	struct sequence *current = &sequences[0];

	setvbuf(stdout, NULL, _IOFBF, 1 << 16);
	while (fgets(line, sizeof(line), stdin)) {
		if (!line_serve(line, sequences, &current))
			printf("bad line: %s", line);
		if (!strcmp(line, "sync\n"))
			fflush(stdout);
	}
}

#endif
