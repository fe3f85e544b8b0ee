// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** IP protocol numbers and their names (IANA's registry, in lower case as conntrack prints them). */
import { quoted } from './errors.js';
import { didYouMean } from './suggest.js';

export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const DCCP = 33;
export const GRE = 47;
export const ICMPV6 = 58;
export const SCTP = 132;
export const UDPLITE = 136;

const NUMBERS: ReadonlyMap<string, number> = new Map([
  ['icmp', ICMP],
  ['igmp', 2],
  ['ipip', 4],
  ['tcp', TCP],
  ['udp', UDP],
  ['dccp', DCCP],
  ['ipv6', 41],
  ['gre', GRE],
  ['esp', 50],
  ['ah', 51],
  ['icmpv6', ICMPV6],
  ['eigrp', 88],
  ['ospf', 89],
  ['pim', 103],
  ['vrrp', 112],
  ['l2tp', 115],
  ['sctp', SCTP],
  ['udplite', UDPLITE],
]);

/** Other spellings that are read, never written. */
const ALIASES: ReadonlyMap<string, number> = new Map([
  ['icmp6', ICMPV6],
  ['ipv6-icmp', ICMPV6],
  ['udp-lite', UDPLITE],
]);

const NAMES: readonly string[] = Array.from({ length: 256 }, (_, number) => {
  for (const [name, value] of NUMBERS) if (value === number) return name;
  return String(number);
});

/** The names that `parseProtocol` knows, for help and completion. */
export const PROTOCOL_NAMES: readonly string[] = [...NUMBERS.keys()];

/** Protocols that are tracked by ports. DCCP is not, as in Linux since 6.18: a flow of it is known by its addresses. */
export const PORT_PROTOCOLS: readonly string[] = ['tcp', 'udp', 'sctp', 'udplite'];

/** The protocol's name, or its number as text where it has none here. */
export function protocolName(number: number): string {
  return NAMES[number] ?? String(number);
}

/**
 * The number of a protocol given by name or number (0 to 255), in any case.
 * @throws RangeError that says what is allowed
 */
export function parseProtocol(text: string): number {
  const lower = text.toLowerCase();
  const named = NUMBERS.get(lower) ?? ALIASES.get(lower);
  if (named !== undefined) return named;
  if (/^[0-9]{1,3}$/.test(text) && Number(text) <= 255) return Number(text);
  throw new RangeError(
    `unknown protocol ${quoted(text)}${didYouMean(lower, NUMBERS.keys())}; ` +
      'give a name such as tcp, udp, icmp, icmpv6, sctp, gre, or a number from 0 to 255',
  );
}

/** True for the protocols that are tracked by ports. */
export function hasPorts(number: number): boolean {
  return number === TCP || number === UDP || number === SCTP || number === UDPLITE;
}

/** True for ICMP and ICMPv6, whose identifier takes the ports' place. */
export function isIcmp(number: number): boolean {
  return number === ICMP || number === ICMPV6;
}
