// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Numbers from repeated readings. The machine drifts (clock, caches, neighbours), so variants are read in
// turns, and only readings of one run are compared.

export interface Summary {
  median: number;
  /** Half the distance between the quartiles, as a share of the median: how far to trust it. */
  spread: number;
  readings: number;
}

export function summarize(readings: readonly number[]): Summary {
  const sorted = [...readings].sort((a, b) => a - b);
  const median = quantile(sorted, 0.5);
  const spread = median === 0 ? 0 : (quantile(sorted, 0.75) - quantile(sorted, 0.25)) / 2 / median;
  return { median, spread, readings: sorted.length };
}

/** Of sorted readings, between two of them where it falls between. */
export function quantile(sorted: readonly number[], share: number): number {
  if (sorted.length === 0) throw new RangeError('There are no readings to summarize');
  const at = (sorted.length - 1) * share;
  const [low, high] = [sorted[Math.floor(at)]!, sorted[Math.ceil(at)]!];
  return low + (high - low) * (at - Math.floor(at));
}

export type Variant = { name: string; read: () => number };

/** Reads every variant once a round, each round beginning with another one; the first round is thrown away. */
export function interleave(variants: readonly Variant[], rounds: number): Map<string, Summary> {
  const readings = new Map<string, number[]>(variants.map(({ name }) => [name, []]));
  for (let round = 0; round <= rounds; round++) {
    for (let i = 0; i < variants.length; i++) {
      const { name, read } = variants[(i + round) % variants.length]!;
      const value = read();
      if (round > 0) readings.get(name)!.push(value);
    }
  }
  return new Map([...readings].map(([name, values]) => [name, summarize(values)]));
}
