// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The datapath's counters CPU by CPU, in the words of conntrack(8)'s statistics. */
import type { Datapath } from './datapath.js';
import type { CpuStatistics } from './flow-editor.js';
import { Counter, HookDir, Reason } from './generated/layouts.gen.js';

const INVALID = [Reason.PASSED_INVALID, Reason.DROP_INVALID, Reason.DROP_TRUNCATED];

/** A new flow whose tuple could not be had. */
const INSERT_FAILED = [Reason.DROP_NO_PORT, Reason.DROP_TUPLE_MAP, Reason.DROP_CLASH, Reason.DROP_RACE];

/** A new flow that came to nothing. */
const DROPPED = [...INSERT_FAILED, Reason.DROP_TABLE_FULL, Reason.DROP_NO_ADDRESS];

export function readCpuStatistics({ maps }: Datapath): CpuStatistics[] {
  const counts = (counter: Counter) => (maps.counters.getPerCpu(counter) ?? []).map(Number);
  const packets = (reasons: readonly Reason[]) =>
    sumByCpu(reasons.flatMap((reason) => ofReason(maps, reason)));
  const [invalid, insertFailed, dropped] = [INVALID, INSERT_FAILED, DROPPED].map(packets);
  const inserted = counts(Counter.INSERTED);
  const joined = counts(Counter.CLASH_JOINED);
  return counts(Counter.EVICTED).map((evicted, cpu) => ({
    cpu,
    invalid: invalid![cpu]!,
    inserted: inserted[cpu]!,
    insertFailed: insertFailed![cpu]!,
    dropped: dropped![cpu]!,
    evicted,
    clashJoined: joined[cpu]!,
  }));
}

/** Packets of a reason at both hooks, each an array by CPU. */
function ofReason(maps: Datapath['maps'], reason: Reason): number[][] {
  return [HookDir.INGRESS, HookDir.EGRESS].map((hook) => {
    const cpus = maps.metrics.getPerCpu(reason * HookDir.DIR_COUNT + hook) ?? [];
    return cpus.map(({ packets }) => Number(packets));
  });
}

function sumByCpu(rows: readonly (readonly number[])[]): number[] {
  const [first = []] = rows;
  return first.map((_, cpu) => rows.reduce((sum, row) => sum + row[cpu]!, 0));
}
