// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Where a NAT rule translates to: `--to` and the configuration's `to`. */
import { type Address, type AddressRange, compareAddresses, formatAddress, parseAddress } from './address.js';
import { quoted } from './errors.js';
import { formatPortRange, type PortRange, parsePortRange } from './port-range.js';

export interface NatTarget {
  /** Absent: the interface's own address (masquerade). */
  readonly to?: AddressRange;
  /** Absent: the port stays. */
  readonly ports?: PortRange;
}

const FORMS = 'ADDRESS[-ADDRESS][:PORT[-PORT]], with brackets around an IPv6 address that a port follows';

/**
 * Reads `masquerade[:PORTS]`, `A`, `A-B`, `A:PORTS`, `A-B:PORTS`, `[A]:PORTS`, `[A]-[B]:PORTS` and `[A-B]:PORTS`.
 * @throws RangeError that says what is allowed
 */
export function parseTarget(text: string): NatTarget {
  const masquerade = /^masquerade(?::(.*))?$/.exec(text);
  if (masquerade) return masquerade[1] === undefined ? {} : { ports: parsePortRange(masquerade[1]) };
  const { addresses, ports } = splitPorts(text);
  const ends = addresses.replace(/\]-\[/, '-').split('-');
  if (ends.length > 2 || ends.some((end) => end === '')) {
    throw new RangeError(`invalid target ${quoted(text)}; give ${FORMS}, or masquerade`);
  }
  const first = parseAddress(ends[0]!);
  const last = ends[1] === undefined ? first : parseAddress(ends[1]);
  if (first.family !== last.family) throw new RangeError(`${quoted(text)} mixes IPv4 and IPv6`);
  if (compareAddresses(first, last) > 0) {
    throw new RangeError(`address range ${quoted(text)} is upside down; give the lower address first`);
  }
  return { to: { first, last }, ...(ports !== undefined && { ports: parsePortRange(ports) }) };
}

function splitPorts(text: string): { addresses: string; ports?: string } {
  const bracketed = /^\[([^[\]]+(?:\]-\[[^[\]]+)?)\](?::(.*))?$/.exec(text);
  if (bracketed)
    return { addresses: bracketed[1]!, ...(bracketed[2] !== undefined && { ports: bracketed[2] }) };
  const colon = text.indexOf(':');
  if (colon < 0 || colon !== text.lastIndexOf(':')) return { addresses: text };
  return { addresses: text.slice(0, colon), ports: text.slice(colon + 1) };
}

/**
 * Reads one target or several with commas between them.
 * @throws RangeError that says what is allowed
 */
export function parseTargets(text: string): NatTarget[] {
  const targets = text.split(',').map((each) => parseTarget(each.trim()));
  if (targets.length === 1) return targets;
  const [first] = targets;
  for (const { to } of targets) {
    if (!to) throw new RangeError(`${quoted(text)}: masquerade is a target by itself, not one of several`);
    if (to.first.family !== first!.to!.first.family)
      throw new RangeError(`${quoted(text)} mixes IPv4 and IPv6`);
  }
  return targets;
}

/** The text that `parseTargets` reads back. */
export function formatTargets(targets: readonly NatTarget[]): string {
  return targets.map(formatTarget).join(',');
}

/** The text that `parseTarget` reads back. */
export function formatTarget({ to, ports }: NatTarget): string {
  const behind = ports ? `:${formatPortRange(ports)}` : '';
  if (!to) return `masquerade${behind}`;
  const wrap = (address: Address) =>
    ports && address.family === 'ipv6' ? `[${formatAddress(address)}]` : formatAddress(address);
  const range =
    compareAddresses(to.first, to.last) === 0 ? wrap(to.first) : `${wrap(to.first)}-${wrap(to.last)}`;
  return range + behind;
}
