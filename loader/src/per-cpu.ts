// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Per-CPU values as userspace sees them: one after the other, each padded to 8 bytes. */

import { possibleCpus } from './cpus.js';

/** Bytes from one CPU's value to the next one's (kernel/bpf/syscall.c, bpf_map_value_size). */
export function cpuStride(valueSize: number): number {
  return Math.ceil(valueSize / 8) * 8;
}

/** Each CPU's value of `valueSize` bytes, as parts of `all`. */
export function splitPerCpu(all: Buffer, valueSize: number): Buffer[] {
  const stride = cpuStride(valueSize);
  return Array.from({ length: possibleCpus() }, (_, cpu) =>
    all.subarray(cpu * stride, cpu * stride + valueSize),
  );
}

/** The opposite of splitPerCpu(). */
export function joinPerCpu(values: readonly Uint8Array[], valueSize: number): Buffer {
  const stride = cpuStride(valueSize);
  const all = Buffer.alloc(stride * values.length);
  for (const [cpu, value] of values.entries()) all.set(value, cpu * stride);
  return all;
}
