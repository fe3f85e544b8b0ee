// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The kernel features that a network program may want, each with the question that tells whether it is there. */

import * as ask from './feature-questions.js';
import { helperQuestion, instructionQuestion, mapQuestion } from './feature-questions.js';
import * as asm from './instructions.js';
import { MapFlag } from './kernel-types.js';
import { libc } from './native.js';
import type { Answer } from './probe.js';

interface FeatureSpec {
  since: string;
  summary: string;
  probe: () => Answer;
}

const SCHED_CLS = 'sched_cls';

export const FEATURES = {
  bpf: {
    since: 'Linux 3.18 with CONFIG_BPF_SYSCALL',
    summary: 'the system call bpf(2)',
    probe: mapQuestion({ type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 }),
  },
  clsact: {
    since: 'Linux 4.5 with CONFIG_NET_SCH_INGRESS and CONFIG_NET_CLS_BPF',
    summary: 'programs on the clsact qdisc',
    probe: ask.probeClsact,
  },
  'perf-output': {
    since: 'Linux 4.4 with CONFIG_BPF_EVENTS',
    summary: 'records from programs in perf buffers (bpf_perf_event_output)',
    probe: ask.probePerfOutput,
  },
  'lpm-trie': {
    since: 'Linux 4.11',
    summary: 'maps keyed by prefix',
    probe: mapQuestion({
      type: 'lpm_trie',
      keySize: 8,
      valueSize: 4,
      maxEntries: 1,
      flags: MapFlag.NO_PREALLOC,
    }),
  },
  'test-run': {
    since: 'Linux 4.12',
    summary: 'running a program on a packet given by hand',
    probe: ask.probeTestRun,
  },
  jit: {
    since: 'CONFIG_BPF_JIT and the sysctl net.core.bpf_jit_enable',
    summary: 'programs as machine code',
    probe: ask.probeJit,
  },
  memlock: {
    since: 'Linux up to 5.10',
    summary: 'maps are charged to the limit of locked memory (ulimit -l)',
    probe: ask.probeMemlock,
  },
  'fib-lookup': {
    since: 'Linux 4.18',
    summary: 'route look-up in programs (bpf_fib_lookup)',
    probe: helperQuestion(SCHED_CLS, 69),
  },
  jmp32: {
    since: 'Linux 5.1',
    summary: '32-bit jumps (clang -mcpu=v3)',
    probe: instructionQuestion([
      asm.move('r0', 0),
      asm.jumpIfEqual32('r0', 0, 1),
      asm.move('r0', 1),
      asm.exit(),
    ]),
  },
  'global-data': {
    since: 'Linux 5.2',
    summary: 'global variables and constants (.data, .rodata)',
    probe: ask.probeGlobalData,
  },
  loops: {
    since: 'Linux 5.3',
    summary: 'bounded loops',
    probe: instructionQuestion([
      asm.move('r0', 0),
      asm.add('r0', 1),
      asm.jumpIfLess('r0', 8, -2),
      asm.exit(),
    ]),
  },
  btf: {
    since: 'Linux 5.4 with CONFIG_DEBUG_INFO_BTF',
    summary: "the kernel's own types",
    probe: ask.probeBtf,
  },
  mmap: { since: 'Linux 5.5', summary: 'arrays mapped into memory', probe: ask.probeMmap },
  jiffies64: {
    since: 'Linux 5.5',
    summary: 'the tick counter in programs (bpf_jiffies64)',
    probe: helperQuestion(SCHED_CLS, 118),
  },
  batch: { since: 'Linux 5.6', summary: 'many map entries in one call', probe: ask.probeBatch },
  'boot-clock': {
    since: 'Linux 5.8',
    summary: 'a clock that counts suspended time (bpf_ktime_get_boot_ns)',
    probe: helperQuestion(SCHED_CLS, 125),
  },
  ringbuf: {
    since: 'Linux 5.8',
    summary: 'the ring buffer shared by all CPUs',
    probe: () => mapQuestion({ type: 'ringbuf', keySize: 0, valueSize: 0, maxEntries: libc.getpagesize() })(),
  },
  link: { since: 'Linux 5.9', summary: 'attachments as objects (bpf_link for XDP)', probe: ask.probeLink },
  'redirect-neigh': {
    since: 'Linux 5.10',
    summary: 'redirection with neighbour look-up (bpf_redirect_neigh)',
    probe: helperQuestion(SCHED_CLS, 152),
  },
  'redirect-peer': {
    since: 'Linux 5.10',
    summary: 'redirection into the other namespace of a veth (bpf_redirect_peer)',
    probe: helperQuestion(SCHED_CLS, 155),
  },
  'coarse-clock': {
    since: 'Linux 5.11',
    summary: 'a cheap clock (bpf_ktime_get_coarse_ns)',
    probe: helperQuestion(SCHED_CLS, 160),
  },
  atomics: {
    since: 'Linux 5.12',
    summary: 'atomic operations that return the old value',
    probe: instructionQuestion([
      asm.store('r10', -8, 0),
      asm.move('r2', 1),
      asm.fetchAdd('r10', -8, 'r2'),
      asm.move('r0', 0),
      asm.exit(),
    ]),
  },
  'for-each': {
    since: 'Linux 5.13',
    summary: 'walking a map in the kernel (bpf_for_each_map_elem)',
    probe: helperQuestion(SCHED_CLS, 164),
  },
  'loop-helper': {
    since: 'Linux 5.17',
    summary: 'long loops (bpf_loop)',
    probe: helperQuestion(SCHED_CLS, 181),
  },
  'live-frames': {
    since: 'Linux 5.18',
    summary: 'test runs whose packets really leave',
    probe: ask.probeLiveFrames,
  },
  'kernel-skb': {
    since: 'Linux 6.2 with CONFIG_DEBUG_INFO_BTF and the JIT',
    summary: "programs see the kernel's own sk_buff (bpf_cast_to_kern_ctx)",
    probe: ask.kernelFunctionQuestion(SCHED_CLS, 'bpf_cast_to_kern_ctx'),
  },
  tcx: { since: 'Linux 6.6', summary: 'programs on interfaces without a qdisc', probe: ask.probeTcx },
} as const satisfies Record<string, FeatureSpec>;

/** The names that feature() and LIBBPF_TS_DISABLE know. */
export type FeatureName = keyof typeof FEATURES;
