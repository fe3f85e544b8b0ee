// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The ways in which the BPF sources are compiled, for kernels that can do more and more. */
import type { FeatureName, Flavour } from 'libbpf-ts';

/** A flavour and the kernel features without which it does not load. */
export interface DatapathFlavour extends Flavour {
  readonly needs: readonly FeatureName[];
  /** Whether it has XDP mode (bpf/xdp.bpf.c). */
  readonly xdp?: boolean;
}

/** What each flavour has that those before it have not: macros of bpf/compiler.h, and the features behind them. */
const LOOPS = { defines: { CTNAT_LOOPS: true }, needs: ['global-data', 'loops'] } as const;
const RINGBUF = {
  defines: { ...LOOPS.defines, CTNAT_RINGBUF: true, CTNAT_GSO_SIZE: true },
  needs: [...LOOPS.needs, 'ringbuf'],
} as const;
const FETCH = {
  defines: { ...RINGBUF.defines, CTNAT_COARSE_CLOCK: true, CTNAT_FETCH: true },
  needs: ['jmp32', ...RINGBUF.needs, 'coarse-clock', 'atomics'],
} as const;
const KERNEL_SKB = {
  defines: { ...FETCH.defines, CTNAT_KERNEL_SKB: true },
  needs: [...FETCH.needs, 'kernel-skb'],
} as const;

/** Oldest kernel's first. */
export const FLAVOURS = [
  /** Linux 4.19: no loops, no global data, instruction set v2. */
  { name: 'floor', cpu: 'v2', needs: [] },
  /**
   * 5.3: bounded loops and global data. In 64-bit arithmetic: the verifier knows no bounds of 32-bit values before 5.7,
   * and loses some until 5.10.
   */
  { name: 'v5_3', cpu: 'v2', ...LOOPS },
  /** 5.8: events go through the ring buffer; a packet tells whether it is to be segmented (5.7). */
  { name: 'v5_8', cpu: 'v2', ...RINGBUF },
  /** 5.13: the coarse clock, and atomic additions that say what was there before. */
  { name: 'v5_13', cpu: 'v3', ...FETCH, xdp: true },
  /** 6.2: a packet tells who fills in its checksum. */
  { name: 'v6_2', cpu: 'v3', ...KERNEL_SKB, xdp: true },
] as const satisfies readonly DatapathFlavour[];

export type FlavourName = (typeof FLAVOURS)[number]['name'];

/** Whether a flavour has XDP mode. */
export function hasXdp(name: FlavourName): boolean {
  const flavour: DatapathFlavour | undefined = FLAVOURS.find((each) => each.name === name);
  return flavour?.xdp ?? false;
}

/** The flavours for what the kernel has, the best first. `isAvailable` asks for one feature. */
export function usableFlavours(isAvailable: (feature: FeatureName) => boolean): FlavourName[] {
  return FLAVOURS.filter(({ needs }) => needs.every(isAvailable))
    .map(({ name }) => name)
    .reverse();
}

/** The flavour that makes the most of what the kernel has. `isAvailable` asks for one feature. */
export function bestFlavour(isAvailable: (feature: FeatureName) => boolean): FlavourName {
  return usableFlavours(isAvailable)[0] ?? FLAVOURS[0].name;
}

export function isFlavourName(name: string): name is FlavourName {
  return FLAVOURS.some((flavour) => flavour.name === name);
}
