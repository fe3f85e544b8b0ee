// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { checkResult, libbpf } from './native.js';

let count: number | undefined;

/** How many CPUs this machine may ever have: the length of a per-CPU map's values. Constant until reboot. */
export function possibleCpus(): number {
  count ??= checkResult(libbpf.libbpf_num_possible_cpus(), 'count the possible CPUs');
  return count;
}
