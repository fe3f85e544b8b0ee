// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The ways in which the BPF sources are compiled, for kernels that can do more and more. */
import type { Flavour } from 'libbpf-ts';

/** Oldest kernel's first; bpf/compiler.h says what the macros change. */
export const FLAVOURS = [
  /** Linux 4.19: no loops, no global data, instruction set v2. */
  { name: 'floor', cpu: 'v2' },
  /** 5.3: bounded loops and global data. */
  { name: 'v5_3', cpu: 'v3', defines: { CTNAT_LOOPS: true } },
  /** 5.13: the coarse clock as well. */
  { name: 'v5_13', cpu: 'v3', defines: { CTNAT_LOOPS: true, CTNAT_COARSE_CLOCK: true } },
] as const satisfies readonly Flavour[];

export type FlavourName = (typeof FLAVOURS)[number]['name'];
