// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which external ports a mapping may get, in the order in which they are tried. */
import { type PortRange, portCount } from '../port-range.js';
import type { Inside, Outside } from './mapper.js';

/** Ports at random before they are tried one after the other. */
const RANDOM_TRIES = 256;
const WALK_TRIES = 2048;

const UDP = 17;

/** Where nobody says otherwise: ports below 1024 are for who gives them by name. */
const ANY: readonly PortRange[] = [{ min: 1024, max: 65_535 }];

export interface Wish {
  /** 0: any. */
  readonly port: number;
  /** That one or none. */
  readonly isStrict: boolean;
  /** Ports that a client may ask for. */
  readonly allowed: readonly PortRange[];
}

/**
 * The port that is asked for, if clients may and the outside address has it; the inside one, if it lies where ports are chosen; then others, of UDP odd
 * or even as the inside one (RFC 4787 REQ-4) before any.
 */
export function* externalPorts(
  { protocol, port }: Inside,
  { ranges }: Outside,
  wish: Wish,
): Generator<number> {
  const own = ranges.length > 0 ? ranges : ANY;
  const mayBeNamed = isIn(wish.port, wish.allowed) && (ranges.length === 0 || isIn(wish.port, ranges));
  if (wish.port !== 0 && mayBeNamed) yield wish.port;
  if (wish.isStrict && wish.port !== 0) return;
  if (isIn(port, own) && port !== wish.port) yield port;
  const total = own.reduce((sum, range) => sum + portCount(range), 0);
  for (let i = 0; i < RANDOM_TRIES; i++) {
    const other = portAt(own, Math.floor(Math.random() * total));
    const twin = (other & ~1) | (port & 1);
    yield protocol === UDP && isIn(twin, own) ? twin : other;
  }
  const start = Math.floor(Math.random() * total);
  for (let i = 0; i < Math.min(total, WALK_TRIES); i++) yield portAt(own, (start + i) % total);
}

function isIn(port: number, ranges: readonly PortRange[]): boolean {
  return ranges.some(({ min, max }) => port >= min && port <= max);
}

function portAt(ranges: readonly PortRange[], index: number): number {
  let left = index;
  for (const range of ranges) {
    if (left < portCount(range)) return range.min + left;
    left -= portCount(range);
  }
  throw new RangeError(`there is no port number ${index} in these ranges`);
}
