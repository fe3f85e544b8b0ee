// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Work that gives way to everything else that wants the processor. */
import { readFileSync } from 'node:fs';
import { constants, getPriority, setPriority } from 'node:os';

/** Bit of CAP_SYS_NICE (include/uapi/linux/capability.h), without which nobody gets a priority back. */
const CAP_SYS_NICE = 1n << 23n;

let mayReturn: boolean | undefined;

function canReturn(): boolean {
  mayReturn ??= (effectiveCapabilities() & CAP_SYS_NICE) !== 0n;
  return mayReturn;
}

function effectiveCapabilities(): bigint {
  const found = /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync('/proc/self/status', 'utf8'));
  return BigInt(`0x${found?.[1] ?? '0'}`);
}

/**
 * Does the work with this thread at the lowest priority (nice 19), and gives it its own back. Where it could not have it
 * back (no CAP_SYS_NICE), it keeps its own.
 */
export function inBackground<T>(work: () => T): T {
  if (!canReturn()) return work();
  const own = getPriority(); // on Linux of the thread that asks: setpriority(2), "C library/kernel differences"
  setPriority(constants.priority.PRIORITY_LOW);
  try {
    return work();
  } finally {
    setPriority(own);
  }
}
