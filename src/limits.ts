// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What one subscriber may have behind an interface (RFC 6888 REQ-4 and REQ-5). */
import type { Datapath } from './datapath.js';
import { quoted } from './errors.js';
import { type Iface, LIMIT_TOKEN_SHIFT, NatLimit, SettingsFlags } from './generated/layouts.gen.js';
import { TICK_MS } from './ticks.js';
import type { Undo } from './undo.js';

export interface Limits {
  /** Translated flows that live at a time; absent: any number. */
  readonly ports?: number;
  /** New translated flows a second; absent: any number. */
  readonly rate?: number;
  /** New ones at once after a rest; absent: as many as a second may see. */
  readonly burst?: number;
  /** Bits of an IPv6 address that are the subscriber's; absent: 64. IPv4: the whole address. */
  readonly prefix?: number;
}

/** `ports` and `rate` at most; a rate below one a second would be no more than a limit of ports. */
export const LIMIT_BOUNDS = { ports: [1, 1_000_000], rate: [1, 65_535], burst: [1, 65_535] } as const;

const DEFAULT_PREFIX = 64;
const PREFIX_BOUNDS = [35, 64] as const;
const WHOLE_ADDRESS = 128;

function parseNumber(text: string, what: string, [min, max]: readonly [number, number]): number {
  const value = /^[0-9]{1,7}$/.test(text) ? Number(text) : Number.NaN;
  if (value >= min && value <= max) return value;
  throw new RangeError(`invalid ${what} ${quoted(text)}; give ${min} to ${max}`);
}

/**
 * Reads a number of flows.
 * @throws RangeError
 */
export function parseLimitPorts(text: string): number {
  return parseNumber(text, 'limit of ports', LIMIT_BOUNDS.ports);
}

/**
 * Reads `N/s` or `N/s,BURST`.
 * @throws RangeError
 */
export function parseLimitRate(text: string): Pick<Limits, 'rate' | 'burst'> {
  const [, rate, burst] = /^([0-9]+)\/s(?:,([0-9]+))?$/.exec(text) ?? [];
  if (rate === undefined)
    throw new RangeError(`invalid limit of new flows ${quoted(text)}; give N/s or N/s,BURST`);
  return {
    rate: parseNumber(rate, 'rate', LIMIT_BOUNDS.rate),
    ...(burst !== undefined && { burst: parseNumber(burst, 'burst', LIMIT_BOUNDS.burst) }),
  };
}

/**
 * Reads the length of a subscriber's IPv6 prefix.
 * @throws RangeError
 */
export function parseLimitPrefix(text: string): number {
  const value = /^[0-9]{1,3}$/.test(text) ? Number(text) : Number.NaN;
  if (isLimitPrefix(value)) return value;
  throw new RangeError(`invalid prefix length ${quoted(text)}; give ${PREFIX_BOUNDS.join(' to ')}, or 128`);
}

export function isLimitPrefix(length: number): boolean {
  const [min, max] = PREFIX_BOUNDS;
  return length === WHOLE_ADDRESS || (length >= min && length <= max);
}

/** Says the limits: `1000 ports, 50/s burst 100, /56`; empty for none. */
export function limitsText({ ports, rate, burst = rate, prefix = DEFAULT_PREFIX }: Limits = {}): string {
  return [
    ...(ports === undefined ? [] : [`${ports} ports`]),
    ...(rate === undefined ? [] : [`${rate}/s burst ${burst}`]),
    ...(prefix === DEFAULT_PREFIX ? [] : [`/${prefix}`]),
  ].join(', ');
}

/** What the ifaces map says of them. */
export function limitEntry({
  ports = 0,
  rate = 0,
  burst = rate,
  prefix = DEFAULT_PREFIX,
}: Limits = {}): Pick<Iface, 'limitPorts' | 'limitRate' | 'limitBurst' | 'limitPrefix'> {
  return {
    limitPorts: ports,
    limitRate: Math.round((rate * TICK_MS * 2 ** LIMIT_TOKEN_SHIFT) / 1000),
    limitBurst: burst,
    limitPrefix: ports === 0 && rate === 0 ? 0 : limitCode(prefix),
  };
}

function limitCode(prefix: number): number {
  return prefix === WHOLE_ADDRESS ? NatLimit.LIMIT_ADDRESS : NatLimit.LIMIT_64 - (DEFAULT_PREFIX - prefix);
}

/** The length of the prefix that a code of enum nat_limit stands for. */
export function limitPrefixOf(code: number): number {
  return code === NatLimit.LIMIT_ADDRESS ? WHOLE_ADDRESS : DEFAULT_PREFIX - (NatLimit.LIMIT_64 - code);
}

/** The setting without which no program asks for limits. */
export function settleLimits(datapath: Datapath, entries: Iterable<Iface>, undo: Undo): void {
  const { flags } = datapath.settings;
  const some = [...entries].some(({ limitPrefix }) => limitPrefix !== 0);
  const wanted = some ? flags | SettingsFlags.LIMITS : flags & ~SettingsFlags.LIMITS;
  if (wanted === flags) return;
  undo.push(() => datapath.updateSettings({ flags }));
  datapath.updateSettings({ flags: wanted });
}
