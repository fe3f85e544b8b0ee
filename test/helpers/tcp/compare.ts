// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Two trackers, the same operations: where they differ, and the shortest sequence that shows it.

import { SLOW } from '../wait.js';
import { type Observation, type Operation, textOf } from './segment.js';
import type { Tracker } from './tracker.js';

/** Of a sender's flags: it has acknowledged something. */
const MAXACK_SET = 0x20;

/**
 * Where bpf/tcp.h differs from Netfilter on purpose, with the reason. docs/tcp.md tells it to users.
 */
const DELIBERATE: { reason: string; applies: (found: Difference) => boolean }[] = [
  {
    reason:
      'Netfilter takes the peer of a connection picked up in the middle to have sent up to number 0. So it ' +
      'learns from a first ACK that acknowledges a number just below 0 what it learns from no other.',
    applies: ({ expected, actual }) =>
      expected?.class === 'new' &&
      actual?.class === 'new' &&
      actual.entry?.state === 'ESTABLISHED' &&
      (expected.entry!.flags[0] & MAXACK_SET) > (actual.entry.flags[0] & MAXACK_SET),
  },
];

export interface Difference {
  /** The operations up to the one where they differ. */
  operations: Operation[];
  /** What the two saw of the last one. */
  expected: Observation | undefined;
  actual: Observation | undefined;
}

/** Seconds by which a timeout may be ahead of one that was read later and rounded down. */
const LATE_SECONDS = 2 * SLOW;

/** Runs the operations on both; undefined: they agree all the way, or up to a deliberate difference. */
export async function compare(
  expected: Tracker,
  actual: Tracker,
  operations: readonly Operation[],
): Promise<Difference | undefined> {
  const [wanted, got] = await Promise.all([expected.run(operations), actual.run(operations)]);
  const at = operations.findIndex((_, i) => !alike(wanted[i], got[i]));
  if (at < 0) return undefined;
  const found = { operations: operations.slice(0, at + 1), expected: wanted[at], actual: got[at] };
  return DELIBERATE.some(({ applies }) => applies(found)) ? undefined : found;
}

/** Whether two observations are the same but for the second in which the clock moved. */
export function alike(a: Observation | undefined, b: Observation | undefined): boolean {
  if (!a || !b) return a === b;
  if (a.class !== b.class || !a.entry !== !b.entry) return false;
  if (!a.entry || !b.entry) return true;
  const { timeout: x, ...left } = a.entry;
  const { timeout: y, ...right } = b.entry;
  return JSON.stringify(left) === JSON.stringify(right) && Math.abs(x - y) <= LATE_SECONDS;
}

/** Leaves out operations, in ever smaller runs, as long as the two still differ. */
export async function shrink(expected: Tracker, actual: Tracker, found: Difference): Promise<Difference> {
  let best = found;
  for (
    let size = Math.ceil(best.operations.length / 2);
    size >= 1;
    size = size > 1 ? Math.ceil(size / 2) : 0
  ) {
    for (let from = 0; from < best.operations.length; ) {
      const fewer = best.operations.toSpliced(from, size);
      const still = await compare(expected, actual, fewer);
      if (still) best = still;
      else from += size;
    }
  }
  return best;
}

/** The difference as a message. */
export function tell({ operations, expected, actual }: Difference): string {
  return [
    ...operations.map(textOf),
    `expected ${JSON.stringify(expected)}`,
    `actual   ${JSON.stringify(actual)}`,
  ].join('\n');
}
