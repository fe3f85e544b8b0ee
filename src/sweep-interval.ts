// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * How long to wait until the next sweep. Expired flows do no harm but that they take room, so what matters is their
 * share of those found: if more than a quarter were dead, sweep twice as often; if less than a twentieth, half as
 * often. In between the pace is right. A crowded table is swept at the quickest pace whatever was found: a new flow
 * would search long for a free slot.
 */

export interface SweepBounds {
  readonly minIntervalMs: number;
  readonly maxIntervalMs: number;
}

/** What a sweep found, over all tables. */
export interface SweepFindings {
  readonly live: number;
  readonly deleted: number;
  /** Slots that there are. */
  readonly looked: number;
}

const MANY_DEAD = 1 / 4;
const FEW_DEAD = 1 / 20;
const CROWDED = 9 / 10;

/** The interval after a sweep, given the one before it. */
export function nextInterval(
  currentMs: number,
  { live, deleted, looked }: SweepFindings,
  bounds: SweepBounds,
): number {
  const found = live + deleted;
  if (found > looked * CROWDED) return bounds.minIntervalMs;
  const share = found === 0 ? 0 : deleted / found;
  const factor = share > MANY_DEAD ? 1 / 2 : share < FEW_DEAD ? 2 : 1;
  return Math.min(bounds.maxIntervalMs, Math.max(bounds.minIntervalMs, currentMs * factor));
}
