/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * bpf/tcp.h and bpf/tcp_options.h as a program: a table of one connection, its clock stands still.
 * Besides the lines of line.h:
 *
 *   timeout INDEX SECONDS         settings.timeouts[INDEX] (enum ct_timeout)           -> ok
 *   next STATE FLAGS REPLY        -> the transition table's digit
 *   valid FLAGS                   -> 0 or 1
 *   options ACK HEX               -> scale, flags and SACK edge
 *   usual                         -> how many segments tcp_track_usual took
 *   put STATE STATUS FILL         an entry begun by side a, in this state, every byte of its track FILL  ->
 * ok
 */
#include "tcp.h"
#include "line.h"

#include <math.h>

static const double TICKS_PER_SECOND = 1e9 / (1 << TICK_SHIFT);

static struct settings settings;
static struct flow flow;
static char origin; /* side that began the connection, 0: there is none */
static unsigned usual_count;

static uint32_t ticks(double seconds)
{
	return lround(seconds * TICKS_PER_SECOND);
}

static long seconds(uint32_t ticks)
{
	return lround(ticks / TICKS_PER_SECOND);
}

/* As the datapath fills it in. */
static void segment_of(const struct line_segment *line, struct tcp_segment *seg)
{
	struct tcp_options options = {.sack = line->ack, .flags = line->options_length ? TCP_HAS_OPTIONS : 0};
	__u8 buffer[TCP_OPTIONS_ROOM];
	__u32 first;

	memset(buffer, 0xff, sizeof(buffer));
	memcpy(buffer, line->options, line->options_length);
	memcpy(&first, buffer, sizeof(first));
	if (!tcp_options_are_plain(line->options_length, first))
		tcp_options_read(buffer, line->options_length, line->ack, 0, &options);
	*seg = (struct tcp_segment){
		.seq = line->seq,
		.ack = line->ack,
		.end = tcp_segment_end(line->seq, line->payload, line->flags),
		.sack = options.sack,
		.window = line->window,
		.flags = line->flags,
		.scale = options.scale,
		.option_flags = options.flags,
		.dir = origin && line->side != origin ? CT_DIR_REPLY : CT_DIR_ORIGINAL,
	};
}

/* The connection's first segment. */
static const char *begin(const struct line_segment *line)
{
	struct tcp_segment seg;
	struct tcp_result result;

	origin = 0;
	segment_of(line, &seg);
	memset(&flow, 0, sizeof(flow));
	if (!tcp_begin(&flow.tcp, &seg, &settings, &result))
		return "invalid";
	origin = line->side;
	flow.state = result.state;
	flow.status = CT_CONFIRMED | result.status;
	flow.deadline = result.timeout;
	return "new";
}

/* The short way for the segment, where its options let it be tried: 0, it is not for this, or the timeout. */
static __u32 follow_usual(struct flow *usual, const struct line_segment *line, const struct tcp_segment *seg)
{
	struct tcp_ack ack = {seg->seq, line->seq + line->payload, seg->ack, seg->ack, seg->window};
	__u32 first = 0;

	memcpy(&first, line->options, line->options_length < 4 ? line->options_length : 4);
	if (!tcp_options_are_plain(line->options_length, first))
		return 0;
	return tcp_track_usual(usual, &ack, seg->flags, seg->dir, &settings);
}

/* Whether the short way has done what the whole machine did, or has left it all to that. */
static bool usual_agrees(const struct flow *before, const struct flow *usual, __u32 timeout,
			 const struct tcp_result *result)
{
	if (!timeout)
		return !memcmp(before, usual, sizeof(*before));
	usual_count++;
	return !memcmp(&usual->tcp, &flow.tcp, sizeof(flow.tcp)) && result->verdict == TCP_VERDICT_ACCEPT &&
	       result->state == before->state && !(result->status & ~before->status) &&
	       result->timeout == (before->status & CT_FIXED_TIMEOUT ? 0 : timeout);
}

static const char *follow(const struct line_segment *line)
{
	const char *class = flow.status & CT_SEEN_REPLY || line->side != origin ? "established" : "new";
	struct flow before = flow, usual = flow;
	struct tcp_segment seg;
	struct tcp_result result;
	__u32 timeout;

	segment_of(line, &seg);
	timeout = follow_usual(&usual, line, &seg);
	tcp_track_segment(&flow, &seg, flow.deadline, &settings, &result);
	if (!usual_agrees(&before, &usual, timeout, &result))
		return "the-short-way-differs";
	if (result.timeout)
		flow.deadline = result.timeout;
	flow.status |= result.status;
	flow.state = result.state;
	switch (result.verdict) {
	case TCP_VERDICT_ACCEPT:
	case TCP_VERDICT_IGNORE:
		return class;
	case TCP_VERDICT_REPLACE:
		return begin(line);
	case TCP_VERDICT_DELETE:
		origin = 0;
		return class;
	default:
		return "invalid";
	}
}

/* A sender's flags in Netfilter's numbers. */
static unsigned shown_flags(__u8 flags, __u8 unacked)
{
	return (flags & 0xf) | (unacked ? 0x10 : 0) | (flags & TCP_SENDER_ACKED ? 0x20 : 0);
}

static void show(const char *class)
{
	const struct tcp_track *track = &flow.tcp;

	if (!origin)
		printf("%s -\n", class);
	else
		printf("%s %c %u %u %ld %u %u %u %u\n", class, origin, flow.state, flow.status & STATUS_SHOWN,
		       seconds(flow.deadline), shown_flags(track->original_flags, track->original_unacked),
		       shown_flags(track->reply_flags, track->reply_unacked), track->scale & 0xf,
		       track->scale >> 4);
}

static void show_options(const char *line)
{
	struct line_segment seg;
	struct tcp_segment read;
	char as_segment[200];
	unsigned ack;
	char hex[100];

	if (sscanf(line, "options %u %90s", &ack, hex) != 2)
		goto bad;
	snprintf(as_segment, sizeof(as_segment), "seg a 2 0 %u 0 0 %s", ack, hex);
	if (!line_read_segment(as_segment, &seg))
		goto bad;
	segment_of(&seg, &read);
	printf("%u %u %u\n", read.scale, read.option_flags, read.sack);
	return;
bad:
	printf("bad line\n");
}

static int set(const char *line)
{
	char name[32];
	unsigned value, flag;

	if (sscanf(line, "set %31s %u", name, &value) != 2)
		return 0;
	if (!strcmp(name, "max-retrans")) {
		settings.tcp_max_retrans = value;
		return 1;
	}
	if (!strcmp(name, "loose"))
		flag = SETTING_TCP_LOOSE;
	else if (!strcmp(name, "liberal"))
		flag = SETTING_TCP_LIBERAL;
	else if (!strcmp(name, "ignore-invalid-rst"))
		flag = SETTING_TCP_IGNORE_INVALID_RST;
	else
		return 0;
	settings.flags = value ? settings.flags | flag : settings.flags & ~flag;
	return 1;
}

int main(void)
{
	struct line_segment seg;
	char line[256];
	unsigned a, b, c;
	double number;

	settings.flags = SETTING_TCP_LOOSE;
	settings.tcp_max_retrans = 3;
	while (fgets(line, sizeof(line), stdin)) {
		if (line_read_segment(line, &seg)) {
			show(origin ? follow(&seg) : begin(&seg));
		} else if (!strcmp(line, "new\n")) {
			origin = 0;
			puts("ok");
		} else if (set(line)) {
			puts("ok");
		} else if (sscanf(line, "timeout %u %lf", &a, &number) == 2 && a < CT_TIMEOUT_COUNT) {
			settings.timeouts[a] = ticks(number);
			puts("ok");
		} else if (sscanf(line, "age %lf", &number) == 1) {
			if (!(flow.status & CT_FIXED_TIMEOUT))
				flow.deadline = ticks(number);
			puts(origin && !(flow.status & CT_FIXED_TIMEOUT) ? "ok" : "none");
		} else if (!strcmp(line, "usual\n")) {
			printf("%u\n", usual_count);
		} else if (!strcmp(line, "sync\n")) {
			puts("ok");
			fflush(stdout);
		} else if (!strcmp(line, "fix\n")) {
			flow.status |= CT_FIXED_TIMEOUT;
			puts(origin ? "ok" : "none");
		} else if (sscanf(line, "next %u %u %u", &a, &b, &c) == 3) {
			printf("%u\n", tcp_next_state(a, b, c));
		} else if (sscanf(line, "valid %u", &a) == 1) {
			printf("%u\n", tcp_flags_are_valid(a));
		} else if (!strncmp(line, "options ", 8)) {
			show_options(line);
		} else if (sscanf(line, "put %u %u %u", &a, &b, &c) == 3) {
			memset(&flow, 0, sizeof(flow));
			memset(&flow.tcp, c, sizeof(flow.tcp));
			flow.state = a;
			flow.status = b;
			flow.deadline = ticks(1000);
			origin = 'a';
			puts("ok");
		} else {
			printf("bad line: %s", line);
		}
	}
	return 0;
}
