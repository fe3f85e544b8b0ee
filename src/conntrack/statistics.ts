// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-S`: what has happened on each CPU. What ctnat has no equal of counts 0. */
import type { CpuStatistics } from '../flow-editor.js';

/** A line as conntrack(8) prints it, with its blank at the end. */
export function statisticsLine(of: CpuStatistics): string {
  const { cpu, invalid, inserted, insertFailed, dropped, evicted, clashJoined } = of;
  return (
    `${cpuText(cpu)}found=0 invalid=${invalid} insert=${inserted} insert_failed=${insertFailed} ` +
    `drop=${dropped} early_drop=${evicted} error=0 search_restart=0 clash_resolve=${clashJoined} chaintoolong=0 \n`
  );
}

/** `-S expect`. */
export function expectStatisticsLine({ cpu }: CpuStatistics): string {
  return `${cpuText(cpu)}expect_new=0 expect_create=0 expect_delete=0 \n`;
}

function cpuText(cpu: number): string {
  return `cpu=${String(cpu).padEnd(4)}\t`;
}
