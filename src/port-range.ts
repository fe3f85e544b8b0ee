// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Ports and ranges of them. */
import { quoted } from './errors.js';
import { IFACE_PORT_RANGES } from './generated/layouts.gen.js';

/** Both ends inclusive, host order. */
export interface PortRange {
  readonly min: number;
  readonly max: number;
}

/**
 * Reads `80` or `8000-8009`.
 * @param lowest the smallest port that makes sense here: 1 for a port to send to, 0 for one to look for
 * @throws RangeError that says what is allowed
 */
export function parsePortRange(text: string, lowest: 0 | 1 = 1): PortRange {
  const match = /^([0-9]{1,6})(?:-([0-9]{1,6}))?$/.exec(text);
  if (!match) throw new RangeError(`invalid port ${quoted(text)}; give PORT or LOW-HIGH`);
  const min = Number(match[1]);
  const max = match[2] === undefined ? min : Number(match[2]);
  if (min < lowest || max < lowest || min > 65535 || max > 65535) {
    throw new RangeError(`port ${quoted(text)} is out of range; ports are ${lowest} to 65535`);
  }
  if (min > max) throw new RangeError(`port range ${quoted(text)} is upside down; give the lower port first`);
  return { min, max };
}

/** As many ranges as an interface may have. */
export const MAX_PORT_RANGES = IFACE_PORT_RANGES;

/**
 * Checks ranges that ports are taken from and returns them.
 * @throws RangeError for too many, or two that share a port
 */
export function checkPortRanges(ranges: readonly PortRange[]): readonly PortRange[] {
  if (ranges.length > MAX_PORT_RANGES) {
    throw new RangeError(`${ranges.length} port ranges are too many; give at most ${MAX_PORT_RANGES}`);
  }
  for (const [i, range] of ranges.entries()) {
    const other = ranges.slice(0, i).find(({ min, max }) => min <= range.max && range.min <= max);
    if (!other) continue;
    throw new RangeError(
      `port ranges ${formatPortRange(other)} and ${formatPortRange(range)} overlap; give each port once`,
    );
  }
  return ranges;
}

/**
 * Reads one range or several with commas between them.
 * @throws RangeError that says what is allowed
 */
export function parsePortRanges(text: string): readonly PortRange[] {
  return checkPortRanges(text.split(',').map((each) => parsePortRange(each.trim())));
}

/** The text that `parsePortRanges` reads back. */
export function formatPortRanges(ranges: readonly PortRange[]): string {
  return ranges.map(formatPortRange).join(',');
}

/** `80` or `8000-8009`. */
export function formatPortRange(range: PortRange): string {
  return range.min === range.max ? String(range.min) : `${range.min}-${range.max}`;
}

/** How many ports the range holds. */
export function portCount(range: PortRange): number {
  return range.max - range.min + 1;
}
