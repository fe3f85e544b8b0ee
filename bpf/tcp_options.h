/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/*
 * What connection tracking reads from a TCP header's options: window scale (RFC 7323 section 2.2), SACK
 * permitted and SACK blocks (RFC 2018 sections 2, 3). It judges nothing and knows no packet: the caller
 * brings the option bytes into a buffer.
 *
 * What is malformed ends the search and what was found before it counts, as Netfilter has it. Cost: nothing
 * without options, one comparison for the usual timestamp, else some 15 instructions an option.
 */
#ifndef CTNAT_TCP_OPTIONS_H
#define CTNAT_TCP_OPTIONS_H

#include "compiler.h"

enum {
	TCP_OPTIONS_MAX = 40,  /* bytes that a header has for options */
	TCP_OPTIONS_ROOM = 80, /* bytes of a buffer for them; no byte beyond `length` influences anything */
	TCP_SCALE_MAX = 14,    /* RFC 7323 section 2.3: a greater shift count counts as this one */
#ifdef CTNAT_LOOPS
	TCP_OPTIONS_PASSES = TCP_OPTIONS_MAX / 2,
#else
	TCP_OPTIONS_PASSES = 8,
#endif
};

enum tcp_option_kind {
	TCP_OPTION_END = 0,
	TCP_OPTION_NOP = 1,
	TCP_OPTION_WINDOW_SCALE = 3,
	TCP_OPTION_SACK_PERMITTED = 4,
	TCP_OPTION_SACK = 5,
};

/* What a segment's options said; the first two are also flags of a sender (enum tcp_sender_flags). */
enum tcp_option_flags {
	TCP_HAS_SCALE = 1 << 0,
	TCP_HAS_SACK_PERMITTED = 1 << 1,
	TCP_HAS_OPTIONS = 1 << 2, /* the header is longer than 20 bytes, whatever is in it */
};

struct tcp_options {
	__u32 sack; /* highest right edge of a SACK block that is not below the acknowledgement, else this */
	__u8 scale; /* at most TCP_SCALE_MAX */
	__u8 flags; /* enum tcp_option_flags */
	__u16 pad;
};

/*
 * Whether options of `length` bytes that begin with this word (as in memory) say nothing to a tracker: no
 * options, or the two NOPs and a timestamp that nearly every segment carries (RFC 7323 appendix A).
 */
inline_ bool tcp_options_are_plain(__u32 length, __u32 first_word)
{
	return !length || (length == 12 && first_word == bpf_htonl(0x0101080a));
}

/* Big-endian word at any address. Bytes, because the verifier takes no unaligned load everywhere. */
inline_ __u32 tcp_options_word(const __u8 *at)
{
	return (__u32)at[0] << 24 | (__u32)at[1] << 16 | (__u32)at[2] << 8 | at[3];
}

/* The right edges of the one to four blocks of the SACK option at `option`, whose length was checked. */
inline_ __u32 tcp_options_highest_edge(const __u8 *option, __u32 size, __u32 ack)
{
	__u32 highest = ack, edge;

	UNROLL
	for (__u32 block = 0; block < 4; block++) {
		if (size < (block + 1) * 8 + 2)
			break;
		edge = tcp_options_word(option + block * 8 + 6);
		if ((__s32)(highest - edge) < 0)
			highest = edge;
	}
	return highest;
}

/*
 * Reads options of `length` bytes (0 to 40; more reads as 40). `ack`: the segment's acknowledgement, host
 * order. One walk serves SYNs and others. Of several window scales the last counts, of several SACK
 * options the first.
 *
 * buffer: TCP_OPTIONS_ROOM bytes of a map value (before 5.12 the verifier takes no variable offset into the
 * stack), of which the first `length` are the options; the byte behind them is overwritten.
 *
 * zero: settings.zero (blur in compiler.h), without which a verifier walks every way through all passes.
 *
 * Every pass takes two bytes at least. With bounded loops there are enough for anything that fits in; else
 * TCP_OPTIONS_PASSES, more than any known TCP's header needs, in some 350 instructions. Options that are
 * cut off so count as SACK permitted and, where no scale was found, the greatest: windows are then judged
 * too large, never too small.
 */
inline_ void tcp_options_read(__u8 *buffer, __u64 length, __u32 ack, __u8 zero, struct tcp_options *options)
{
	struct {
		__u8 scale_at; /* offset, plus one: 0 is none */
		__u8 sack_permitted;
		__u8 sack_at;
		__u8 sack_size;
	} found = {zero, zero, zero, zero};
	__u64 at = 0, next, kind, size;
	const __u8 *option;

	if (length > TCP_OPTIONS_MAX)
		length = TCP_OPTIONS_MAX;
	*options = (struct tcp_options){.sack = ack, .flags = length ? TCP_HAS_OPTIONS : 0};
	buffer[length] = TCP_OPTION_END;
	hide(length);
	/* Finds go to memory at once: kept in registers over the passes they would double the code. */
	UNROLL
	for (int pass = 0; pass < TCP_OPTIONS_PASSES; pass++) {
		/* verifier: every pass begins in the same state, and bounds `at` where it is used */
		blur(at, zero);
		hide(at);
		if (at >= TCP_OPTIONS_MAX)
			break;
		option = buffer + at;
		kind = option[0];
		if (kind == TCP_OPTION_NOP) {
			at++;
			option++;
			kind = option[0];
		}
		hide(kind);
		if (kind == TCP_OPTION_NOP) {
			at++;
			continue;
		}
		size = option[1];
		next = at + size;
		if (kind == TCP_OPTION_END || size < 2 || next > length)
			goto done;
		if (kind == TCP_OPTION_SACK) {
			if (size % 8 == 2 && size != 2 && !read_once(found.sack_size)) {
				write_once(found.sack_at, at);
				write_once(found.sack_size, size);
			}
		} else if (kind == TCP_OPTION_WINDOW_SCALE) {
			if (size == 3)
				write_once(found.scale_at, at + 1);
		} else if (kind == TCP_OPTION_SACK_PERMITTED) {
			if (size == 2)
				write_once(found.sack_permitted, TCP_HAS_SACK_PERMITTED);
		}
		at = next;
	}
	if (at < length) { /* more passes needed */
		options->scale = TCP_SCALE_MAX;
		options->flags |= TCP_HAS_SCALE | TCP_HAS_SACK_PERMITTED;
	}
done:
	options->flags |= read_once(found.sack_permitted);
	at = read_once(found.scale_at);
	/* verifier: a mask, because a comparison with 0 and a bound becomes one with another register */
	hide(at);
	at &= 63;
	if (at) {
		options->flags |= TCP_HAS_SCALE;
		options->scale = buffer[at + 1] > TCP_SCALE_MAX ? TCP_SCALE_MAX : buffer[at + 1];
	}
	at = read_once(found.sack_at);
	hide(at);
	if (read_once(found.sack_size) && at < TCP_OPTIONS_MAX)
		options->sack = tcp_options_highest_edge(buffer + at, read_once(found.sack_size), ack);
}

#endif
