// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Switches of the kernel's network stack. */
import { readFileSync } from 'node:fs';

/**
 * A number below /proc/sys/net, of the network namespace that the process is in; undefined if there is none: without
 * IPv4 or IPv6, or on an older kernel.
 */
export function netSysctl(path: string): number | undefined {
  try {
    return Number.parseInt(readFileSync(`/proc/sys/net/${path}`, 'utf8'), 10);
  } catch {
    return undefined;
  }
}
