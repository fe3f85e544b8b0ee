// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * bpf(2) itself, for commands and attributes that the oldest supported libbpf does not know (it ends at Linux 6.1).
 * The caller lays out `union bpf_attr` (include/uapi/linux/bpf.h).
 */

import { constants } from 'node:os';
import { UnsupportedError } from './errors.js';
import { errno, libc } from './native.js';

/** enum bpf_cmd, as far as this package uses it without libbpf. */
export const BpfCommand = {
  MAP_CREATE: 0,
  PROG_LOAD: 5,
  PROG_QUERY: 16,
  LINK_CREATE: 28,
  LINK_UPDATE: 29,
  LINK_GET_FD_BY_ID: 30,
  LINK_GET_NEXT_ID: 31,
  LINK_DETACH: 34,
} as const;

/** The system call's number differs between architectures; those not named share the generic table's 280. */
const SYSCALL_NUMBERS: Partial<Record<NodeJS.Architecture, number>> = {
  arm: 386,
  ia32: 357,
  ppc64: 361,
  s390x: 351,
  x64: 321,
};
const GENERIC_SYSCALL_NUMBER = 280;
const GENERIC_ARCHITECTURES: readonly string[] = ['arm64', 'riscv64', 'loong64'];

function syscallNumber(): number {
  const number = SYSCALL_NUMBERS[process.arch];
  if (number !== undefined) return number;
  if (GENERIC_ARCHITECTURES.includes(process.arch)) return GENERIC_SYSCALL_NUMBER;
  throw new UnsupportedError(
    `bpf(2) on ${process.arch}`,
    'a release of this package that knows the architecture',
  );
}

/** What bpf(2) returned: a descriptor or 0, or a negative errno, as libbpf's functions do. */
export function bpf(command: number, attributes: Buffer): number {
  for (;;) {
    const result = libc.syscall(syscallNumber(), command, attributes, attributes.length);
    if (result >= 0) return result;
    const reason = errno();
    // the verifier gives up when a signal comes in; libbpf tries again too
    if (reason !== constants.errno.EAGAIN || command !== BpfCommand.PROG_LOAD) return -reason;
  }
}
