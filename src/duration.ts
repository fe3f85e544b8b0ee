// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Durations as text: 1500ms, 7440s, 5m, 2h, 1d. */

const UNITS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

/** Milliseconds of a duration with its unit, or undefined if the text is none. Fractions are allowed: 1.5s. */
export function parseDuration(text: string): number | undefined {
  const match = /^([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)$/.exec(text);
  if (!match) return undefined;
  return Math.round(Number(match[1]) * UNITS[match[2]!]!);
}
