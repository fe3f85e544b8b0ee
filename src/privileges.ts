// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which capabilities the process has, and a clear word where one is missing. */
import { readFileSync } from 'node:fs';
import { CtnatError } from './errors.js';

/** Bits of include/uapi/linux/capability.h. */
const CAPABILITIES = { CAP_NET_ADMIN: 12, CAP_SYS_ADMIN: 21, CAP_BPF: 39 } as const;

export type Capability = keyof typeof CAPABILITIES;

/** The effective capabilities of /proc/PID/status as a bit set. */
export function parseCapabilities(status: string): bigint {
  const hex = /^CapEff:\s*([0-9a-f]+)$/m.exec(status)?.[1];
  return hex === undefined ? 0n : BigInt(`0x${hex}`);
}

/**
 * Those of the wanted capabilities that the set lacks. CAP_SYS_ADMIN stands in for CAP_BPF, as in the kernel
 * (bpf_capable() of include/linux/capability.h); before 5.8 there was no other.
 */
export function missingCapabilities(have: bigint, wanted: readonly Capability[]): Capability[] {
  const has = (name: Capability) => ((have >> BigInt(CAPABILITIES[name])) & 1n) === 1n;
  return wanted.filter((name) => !has(name) && !(name === 'CAP_BPF' && has('CAP_SYS_ADMIN')));
}

/** The process may not do what is asked for. */
export class PrivilegeError extends CtnatError {
  override readonly name = 'PrivilegeError';
}

/**
 * Refuses to begin what the kernel would refuse halfway.
 * @param action as it follows "can not": `attach wan0`
 * @throws CtnatError naming what is missing
 */
export function requireCapabilities(action: string, ...wanted: Capability[]): void {
  const missing = missingCapabilities(parseCapabilities(readFileSync('/proc/self/status', 'utf8')), wanted);
  if (missing.length === 0) return;
  const verb = missing.length === 1 ? 'is' : 'are';
  throw new PrivilegeError(
    `can not ${action}: ${missing.join(' and ')} ${verb} missing; run it as root, or with sudo`,
  );
}
