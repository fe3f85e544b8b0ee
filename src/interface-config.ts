// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** How one network interface is attached. */
import { quoted } from './errors.js';
import type { PortRange } from './port-range.js';

export const ATTACH_MODES = ['auto', 'tc', 'xdp'] as const;
export type AttachMode = (typeof ATTACH_MODES)[number];

/** Mapping behaviour of RFC 4787 section 4.1: address-and-port-dependent, endpoint-independent. */
export const MAPPING_MODES = ['apdm', 'eim'] as const;
export type MappingMode = (typeof MAPPING_MODES)[number];

/** Which families of forwarded flows get the interface's address. */
export type Masquerade = 4 | 6 | 'all' | false;

/** Mapping behaviour by protocol. */
export interface MappingModes {
  readonly udp: MappingMode;
  readonly tcp: MappingMode;
  readonly icmp: MappingMode;
}

export interface InterfaceOptions {
  readonly masquerade: Masquerade;
  readonly mode: AttachMode;
  readonly mapping: MappingModes;
  /** External ports of masquerade; undefined keeps each port's class (RFC 4787 REQ-3). */
  readonly ports?: PortRange;
  /** The greatest MSS that SYNs crossing the interface may announce: a number, or what the path leaves room for. */
  readonly mss?: MssLimit;
  /** Whether established flows skip the stack at TC, where nothing but ctnat has to see them. */
  readonly redirect?: boolean;
  /** Of what comes in by it: the same addresses in another zone are another flow. Absent: 0. */
  readonly zone?: number;
}

/** See InterfaceOptions.mss. */
export type MssLimit = number | 'pmtu';

/** What IPv4 hosts take without being asked (RFC 9293 section 3.7.1), and what no header leaves room for. */
const MSS_BOUNDS = [88, 65_495] as const;

/**
 * Reads `pmtu` or a number of bytes.
 * @throws RangeError
 */
export function parseMss(text: string): MssLimit {
  if (text === 'pmtu') return text;
  const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN;
  const [min, max] = MSS_BOUNDS;
  if (value >= min && value <= max) return value;
  throw new RangeError(`invalid MSS ${quoted(text)}; give pmtu, or ${min} to ${max} bytes`);
}

const ZONE_MAX = 0xffff;

/**
 * Reads a zone's number.
 * @throws RangeError
 */
export function parseZone(text: string): number {
  const value = /^[0-9]{1,5}$/.test(text) ? Number(text) : Number.NaN;
  if (value <= ZONE_MAX) return value;
  throw new RangeError(`invalid zone ${quoted(text)}; give 0 to ${ZONE_MAX}`);
}

export interface InterfaceConfig extends InterfaceOptions {
  readonly name: string;
}

/** One mapping behaviour for all protocols. */
export function mappingForAll(mode: MappingMode): MappingModes {
  return { udp: mode, tcp: mode, icmp: mode };
}

/** Says masquerade in words: no, ipv4, ipv6, ipv4+ipv6. */
export function masqueradeText(masquerade: Masquerade): string {
  if (masquerade === false) return 'no';
  return masquerade === 'all' ? 'ipv4+ipv6' : `ipv${masquerade}`;
}

/** Says the mapping behaviours: one word where they agree. */
export function mappingText(mapping: MappingModes): string {
  const { udp, tcp, icmp } = mapping;
  return udp === tcp && tcp === icmp ? udp : `udp=${udp} tcp=${tcp} icmp=${icmp}`;
}

/**
 * Checks an interface's name by the kernel's rules (dev_valid_name() of net/core/dev.c) and returns it.
 * @throws RangeError
 */
export function checkInterfaceName(name: string): string {
  const bytes = Buffer.byteLength(name);
  // The kernel would take control characters; no listing could show them.
  const isValid = bytes > 0 && bytes < 16 && name !== '.' && name !== '..' && !/[/:\s\p{Cc}]/u.test(name);
  if (isValid) return name;
  throw new RangeError(
    `invalid interface name ${quoted(name)}; it has 1 to 15 bytes, no white space, no slash and no colon`,
  );
}
