/* SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause) */
/* What the flavours differ in, and the few macros that everything else is written with. Nothing about
 * packets. */
#ifndef CTNAT_COMPILER_H
#define CTNAT_COMPILER_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>

#include "types.h"

/*
 * CTNAT_LOOPS: the kernel takes bounded loops (5.3). Without it every loop is unrolled, and what does not
 * fit is continued by a tail call or by running the program again.
 * CTNAT_FETCH: an atomic addition says what was there before it (5.12).
 * CTNAT_KERNEL_SKB: a program may look into the kernel's own skb (6.2).
 * CTNAT_XDP: the programs are XDP's (xdp.bpf.c), else those of TC.
 * CTNAT_RINGBUF: events go through the ring buffer (5.8), else through perf buffers (event.h).
 *
 * BIRTH_AT_ONCE: the usual new flow is made by one program (birth.h).
 * HOMES: a flow has a slot that it would rather have (home.h); the floor's programs are full without.
 * PORT_LOOK_STEP: ports looked at before a pass asks whether one of them was free; there are the fewer ways
 * through the pass for the verifier.
 */
#ifdef CTNAT_LOOPS
#define UNROLL_LONG
enum { SLOT_SCAN_STEP = 64 };
#ifdef CTNAT_FETCH
/* verifier: it walks through every round, and what it walks through is the time that loading takes */
enum { SWEEP_SCAN_STEP = 256, PORT_SCAN_STEP = 256, PORT_LOOK_STEP = 8, PORT_MAP_STEP = 256 };
#define UNROLL_SWEEP UNROLL_LONG
#else
#define UNROLL_SWEEP UNROLL
/* verifier: 5.4 and 5.10 tell the rounds of a long walk apart and give up after 1,000,000 instructions */
enum { SWEEP_SCAN_STEP = 32, PORT_SCAN_STEP = 24, PORT_LOOK_STEP = 6, PORT_MAP_STEP = 32 };
#endif
#else
#define UNROLL_LONG  UNROLL
#define UNROLL_SWEEP UNROLL
enum {
	SWEEP_SCAN_STEP = 32,
	SLOT_SCAN_STEP = 16,
	PORT_SCAN_STEP = 24,
	PORT_LOOK_STEP = 6,
	PORT_MAP_STEP = 32,
};
#endif
#define UNROLL _Pragma("clang loop unroll(full)")

#ifdef CTNAT_FETCH
enum { BIRTH_AT_ONCE = 1, HOMES = 1 };
#else
enum { BIRTH_AT_ONCE = 0, HOMES = 0 };
#endif

/* Rules looked at in one pass. */
enum { RULE_SCAN_STEP = 16 };

#define inline_ static __always_inline

#define likely(x)   __builtin_expect(!!(x), 1)
#define unlikely(x) __builtin_expect(!!(x), 0)

/*
 * verifier: forgets what it knows of x. `zero` comes from a map and is 0. Branches that leave different
 * constants in x would else each have all that follows walked through by itself.
 */
#define blur(x, zero) ((x) ^= (zero))

/* One access, neither torn nor repeated by the compiler: for fields that other CPUs write. */
#define read_once(x)	 (*(const volatile typeof(x) *)&(x))
#define write_once(x, v) (*(volatile typeof(x) *)&(x) = (v))

/* Ends a chain of assumptions that the compiler makes about a value; the verifier then sees it bounded anew.
 */
#define hide(x) asm volatile("" : "+r"(x))

/* Keeps x on the stack as it is laid out: in registers its fields would be spilled, with 8 bytes for each. */
#define in_memory(x) asm volatile("" : : "r"(&(x)) : "memory")

/* Keeps loads and stores on their side; the hardware's order is argued where it is used. */
#define barrier_compiler() asm volatile("" ::: "memory")

#ifdef CTNAT_XDP
#undef CTNAT_KERNEL_SKB /* there is none yet */
#include "xdp_packet.h"
#endif

#endif
