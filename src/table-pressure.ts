// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What a full flow table has cost so far: flows that gave way to new ones, and new ones that found no room. */
import type { Datapath } from './datapath.js';
import { Counter, HookDir, Reason } from './generated/layouts.gen.js';

/** All 0 in a table that was never full. */
export interface TablePressure {
  /** Flows that were not assured and gave way to new ones. */
  readonly evicted: number;
  /** Packets that would have begun a flow, dropped because there was no room (`drop_table_full`). */
  readonly refused: number;
}

/** Since the maps were made; both families together. */
export function tablePressure({ maps }: Datapath): TablePressure {
  const evicted = maps.counters.getPerCpu(Counter.EVICTED) ?? [];
  const refused = [HookDir.INGRESS, HookDir.EGRESS]
    .flatMap((hook) => maps.metrics.getPerCpu(Reason.DROP_TABLE_FULL * HookDir.DIR_COUNT + hook) ?? [])
    .map(({ packets }) => packets);
  return { evicted: sum(evicted), refused: sum(refused) };
}

function sum(cpus: readonly bigint[]): number {
  return Number(cpus.reduce((total, value) => total + value, 0n));
}
