// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What ctnat needs of a kernel, what it uses where there is it, and what it does without. */
import { release } from 'node:os';
import { type FeatureName, feature, type KernelFeature } from 'libbpf-ts';
import { CtnatError } from './errors.js';

/** The oldest kernel that has all that cannot be done without. */
export const OLDEST_KERNEL = '4.19';

/** Nothing works without these; the first that is missing tells the most. */
const NEEDED = ['bpf', 'lpm-trie', 'fib-lookup'] as const satisfies readonly FeatureName[];

/** How programs get to interfaces: one is enough, the first is the better one. */
const ATTACH_WAYS = ['tcx', 'clsact'] as const satisfies readonly FeatureName[];

/** What is used where the kernel has it, and what takes its place elsewhere. */
const WANTED: Readonly<Partial<Record<FeatureName, string>>> = {
  tcx: 'filters of the clsact qdisc',
  jit: 'programs are interpreted, several times slower; try "sysctl -w net.core.bpf_jit_enable=1"',
  jmp32: 'the flavour floor of the programs',
  'global-data': 'the flavour floor of the programs',
  loops: 'the flavour floor of the programs',
  'coarse-clock': 'the exact clock, read for every packet',
  'kernel-skb': 'helpers that know who fills in a checksum, for every translated packet',
  mmap: 'tables are read by system calls',
  batch: 'tables are read and swept entry by entry',
  ringbuf: 'a perf buffer for each CPU',
};

/** In place of the ring buffer; without both there are no events. */
const PERF_BUFFERS = 'perf-output' satisfies FeatureName;

/** A feature that this kernel does not have. */
export interface MissingFeature {
  readonly name: string;
  /** The kernel that brought it, or the option that it needs. */
  readonly needs: string;
  /** The kernel's reason. */
  readonly why: string;
  /** What is done instead. */
  readonly instead: string;
}

/** Which of the features that ctnat makes use of are missing here, with what it does instead. */
export function missingFeatures(
  ask: (name: FeatureName) => KernelFeature = feature,
): readonly MissingFeature[] {
  const wanted: Partial<Record<FeatureName, string>> = { ...WANTED };
  if (!ask('ringbuf').available) wanted[PERF_BUFFERS] = 'nobody can listen to events';
  return (Object.entries(wanted) as [FeatureName, string][])
    .map(([name, instead]) => ({ ...ask(name), instead }))
    .filter(({ available }) => !available)
    .map(({ name, since, why, instead }) => ({ name, needs: since, why: why ?? 'not known', instead }));
}

/**
 * Refuses a kernel that the datapath can not work on, before anything is changed. What can not be found out, for lack
 * of privilege, is not refused here.
 * @param action as it follows "can not": `attach wan0`
 * @throws CtnatError naming what is missing and the option or version that has it
 */
export function requireKernel(
  action: string,
  ask: (name: FeatureName) => KernelFeature = feature,
  kernel = release(),
): void {
  const lacking = NEEDED.map((name) => ask(name)).find(({ state }) => state === 'no');
  if (lacking) throw unsupported(action, kernel, lacking);
  const ways = ATTACH_WAYS.map((name) => ask(name));
  if (ways.some(({ state }) => state !== 'no')) return;
  throw unsupported(action, kernel, ways.at(-1)!);
}

/**
 * Refuses to listen where programs have no way to tell.
 * @throws CtnatError naming the option that the kernel lacks
 */
export function requirePerfBuffers(ask: (name: FeatureName) => KernelFeature = feature): void {
  const found = ask(PERF_BUFFERS);
  if (found.state !== 'no') return;
  const { summary, since, why } = found;
  throw new CtnatError(
    `can not listen to events: this kernel lacks ${summary}, which needs ${since} (${why}); boot one that has it, or ` +
      'Linux 5.8 or newer, whose ring buffer does without',
  );
}

function unsupported(action: string, kernel: string, { summary, since, why }: KernelFeature): CtnatError {
  return new CtnatError(
    `can not ${action}: kernel ${kernel} lacks ${summary}, which needs ${since} (${why}); ` +
      `nothing was changed; boot a kernel that has it, Linux ${OLDEST_KERNEL} or newer`,
  );
}
