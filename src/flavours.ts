// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The ways in which the BPF sources are compiled, for kernels that can do more and more. */
import type { FeatureName, Flavour } from 'libbpf-ts';

/** A flavour and the kernel features without which it does not load. */
export interface DatapathFlavour extends Flavour {
  readonly needs: readonly FeatureName[];
  /** Whether it has XDP mode (bpf/xdp.bpf.c). */
  readonly xdp?: boolean;
}

/** Oldest kernel's first; bpf/compiler.h says what the macros change. */
export const FLAVOURS = [
  /** Linux 4.19: no loops, no global data, instruction set v2. */
  { name: 'floor', cpu: 'v2', needs: [] },
  /**
   * 5.3: bounded loops and global data. In 64-bit arithmetic: the verifier knows no bounds of 32-bit values before 5.7,
   * and loses some until 5.10.
   */
  { name: 'v5_3', cpu: 'v2', defines: { CTNAT_LOOPS: true }, needs: ['global-data', 'loops'] },
  /** 5.8: events go through the ring buffer; a packet tells whether it is to be segmented (5.7). */
  {
    name: 'v5_8',
    cpu: 'v2',
    defines: { CTNAT_LOOPS: true, CTNAT_RINGBUF: true, CTNAT_GSO_SIZE: true },
    needs: ['global-data', 'loops', 'ringbuf'],
  },
  /** 5.13: the coarse clock, and atomic additions that say what was there before. */
  {
    name: 'v5_13',
    cpu: 'v3',
    defines: {
      CTNAT_LOOPS: true,
      CTNAT_RINGBUF: true,
      CTNAT_GSO_SIZE: true,
      CTNAT_COARSE_CLOCK: true,
      CTNAT_FETCH: true,
    },
    needs: ['jmp32', 'global-data', 'loops', 'ringbuf', 'coarse-clock', 'atomics'],
    xdp: true,
  },
  /** 6.2: a packet tells who fills in its checksum. */
  {
    name: 'v6_2',
    cpu: 'v3',
    defines: {
      CTNAT_LOOPS: true,
      CTNAT_RINGBUF: true,
      CTNAT_GSO_SIZE: true,
      CTNAT_COARSE_CLOCK: true,
      CTNAT_FETCH: true,
      CTNAT_KERNEL_SKB: true,
    },
    needs: ['jmp32', 'global-data', 'loops', 'ringbuf', 'coarse-clock', 'atomics', 'kernel-skb'],
    xdp: true,
  },
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
