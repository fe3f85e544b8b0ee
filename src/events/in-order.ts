// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Brings records of several CPUs, each CPU's in order, into the order of their time: a record is held back until it
 * is old enough that no earlier one can still come.
 */
import { endianness } from 'node:os';
import { setTimeout } from 'node:timers/promises';
import { EVENT } from '../generated/layouts.gen.js';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Longer than reading all the buffers once takes, and than a program takes from the time it reads to the output. */
const WINDOW_MS = 20;
const WINDOW_NS = BigInt(WINDOW_MS) * 1_000_000n;

/** What is older than `horizon`, taken out of `held`, in order. */
export function takeOlder(held: Buffer[], horizon: bigint): Buffer[] {
  const younger: Buffer[] = [];
  const older: Buffer[] = [];
  for (const record of held) (timeOf(record) < horizon ? older : younger).push(record);
  held.splice(0, held.length, ...younger);
  return sortByTime(older);
}

function sortByTime(records: Buffer[]): Buffer[] {
  return records
    .map((record) => ({ record, time: timeOf(record) }))
    .sort((a, b) => (a.time < b.time ? -1 : a.time > b.time ? 1 : 0))
    .map(({ record }) => record);
}

function timeOf(record: Buffer): bigint {
  const at = EVENT.offset.time;
  return LITTLE_ENDIAN ? record.readBigUInt64LE(at) : record.readBigUInt64BE(at);
}

/** @param now CLOCK_MONOTONIC in nanoseconds */
export async function* inOrder(
  batches: AsyncIterator<Buffer[]>,
  now: () => bigint,
): AsyncGenerator<Buffer[], void, undefined> {
  const held: Buffer[] = [];
  let next = batches.next();
  for (;;) {
    const timer = new AbortController();
    const result = await (held.length === 0
      ? next
      : Promise.race([next, setTimeout(WINDOW_MS, undefined, { signal: timer.signal }).catch(() => {})]));
    timer.abort();
    if (result?.done) break;
    if (result) {
      held.push(...result.value);
      next = batches.next();
    }
    const ready = takeOlder(held, now() - WINDOW_NS);
    if (ready.length > 0) yield ready;
  }
  if (held.length > 0) yield sortByTime(held);
}
