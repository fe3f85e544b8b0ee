// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What figures depend on.
import { cpus, loadavg, release, totalmem } from 'node:os';

/** One line each, as it is printed above the table. */
export function machineFacts(): string[] {
  const [cpu] = cpus();
  return [
    `CPU      ${cpus().length} x ${cpu?.model.trim() || 'unknown'}`,
    `memory   ${Math.round(totalmem() / 2 ** 20)} MiB`,
    `kernel   ${release()}`,
    `node     ${process.version}`,
    `load     ${loadavg()[0]!.toFixed(2)} (1 minute, before the first measurement)`,
  ];
}
