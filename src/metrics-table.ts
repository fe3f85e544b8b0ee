// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Counters of the datapath, summed over the CPUs. */
import type { Datapath } from './datapath.js';
import { HookDir, NAT_RETRIES_BUCKETS, Reason } from './generated/layouts.gen.js';
import type { Metric, RetryHistogram } from './product.js';

/** No reasons: a bound, and where the drops begin. */
const BOUNDS: ReadonlySet<string> = new Set<keyof typeof Reason>(['COUNT', 'DROP_FIRST']);

/** Every reason's name as it is shown, and its number. */
export const REASONS: readonly (readonly [name: string, reason: Reason])[] = Object.entries(Reason)
  .filter(([name]) => !BOUNDS.has(name))
  .map(([name, reason]) => [name.toLowerCase(), reason] as const);

export const DIRECTIONS = [
  ['ingress', HookDir.INGRESS],
  ['egress', HookDir.EGRESS],
] as const;

/** Packets and bytes of every reason in both directions, in the reasons' order; zeros too. */
export function readMetrics(datapath: Datapath): Metric[] {
  return REASONS.flatMap(([reason, number]) =>
    DIRECTIONS.map(([direction, dir]) => ({ reason, direction, ...readCount(datapath, number, dir) })),
  );
}

/** One entry of the metrics map: of a reason, or of one of enum metric_extra. */
export function readCount(
  { maps }: Datapath,
  which: number,
  dir: HookDir,
): { packets: number; bytes: number } {
  const cpus = maps.metrics.getPerCpu(which * HookDir.DIR_COUNT + dir) ?? [];
  return {
    packets: sum(cpus.map(({ packets }) => packets)),
    bytes: sum(cpus.map(({ bytes }) => bytes)),
  };
}

/** How many attempts port allocations took. The kernel counts both families together. */
export function readRetries({ maps }: Datapath): RetryHistogram {
  const buckets = Array.from({ length: NAT_RETRIES_BUCKETS }, (_, i) =>
    sum(maps.nat_retries.getPerCpu(i) ?? []),
  );
  return { retries: buckets.slice(0, -1), refused: buckets.at(-1) ?? 0 };
}

function sum(cpus: readonly bigint[]): number {
  return Number(cpus.reduce((total, value) => total + value, 0n));
}
