// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a measurement says, and how it is printed.

export interface Figure {
  readonly name: string;
  /** Sorted when printed; times are in ms. */
  readonly samples: readonly number[];
  readonly unit: string;
  /** What issue or documentation promises, in the unit: at most this much. */
  readonly limit?: number;
}

export const HEAD = ['FIGURE', 'UNIT', 'MEDIAN', 'MIN', 'MAX', 'RUNS', 'LIMIT', ''];
/** Columns of numbers. */
export const NUMBERS = [2, 3, 4, 5, 6];

export function row({ name, samples, unit, limit }: Figure): string[] {
  const median = percentile(samples, 0.5);
  const verdict = limit === undefined ? '' : median <= limit ? 'ok' : 'OVER';
  return [
    name,
    unit,
    text(median),
    text(Math.min(...samples)),
    text(Math.max(...samples)),
    String(samples.length),
    limit === undefined ? '' : text(limit),
    verdict,
  ];
}

/** The sample below or at which so much of all lies (nearest rank). */
export function percentile(samples: readonly number[], share: number): number {
  const sorted = [...samples].sort((a, b) => a - b);
  return sorted[Math.max(0, Math.ceil(share * sorted.length) - 1)] ?? Number.NaN;
}

function text(value: number): string {
  return value >= 100 || Number.isInteger(value) ? value.toFixed(0) : value.toPrecision(3);
}
