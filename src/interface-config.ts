// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** How one network interface is attached. */
import { quoted } from './errors.js';
import type { Limits } from './limits.js';
import type { PortRange } from './port-range.js';

export const ATTACH_MODES = ['auto', 'tc', 'xdp'] as const;
export type AttachMode = (typeof ATTACH_MODES)[number];

/** Mapping behaviour of RFC 4787 section 4.1: address-and-port-dependent, endpoint-independent. */
export const MAPPING_MODES = ['apdm', 'eim'] as const;
export type MappingMode = (typeof MAPPING_MODES)[number];

/**
 * Filtering behaviour of RFC 4787 section 5, of endpoint-independent mappings: who else may send to the outside
 * port. Nobody, the addresses that the inside host has sent to from it, anybody.
 */
export const FILTERING_MODES = ['apdf', 'adf', 'eif'] as const;
export type FilteringMode = (typeof FILTERING_MODES)[number];

/** Which families of forwarded flows get the interface's address. */
export type Masquerade = 4 | 6 | 'all' | false;

/** Mapping behaviour by protocol. */
export interface MappingModes {
  readonly udp: MappingMode;
  readonly tcp: MappingMode;
  readonly icmp: MappingMode;
}

/** Filtering behaviour by protocol. A query of ICMP is answered by whom it was sent to. */
export interface FilteringModes {
  readonly udp: FilteringMode;
  readonly tcp: FilteringMode;
}

export interface InterfaceOptions {
  readonly masquerade: Masquerade;
  readonly mode: AttachMode;
  readonly mapping: MappingModes;
  readonly filtering: FilteringModes;
  /** External ports of masquerade, at most MAX_PORT_RANGES ranges; undefined keeps each port's class (RFC 4787 REQ-3). */
  readonly ports?: readonly PortRange[];
  /** The greatest MSS that SYNs crossing the interface may announce: a number, or what the path leaves room for. */
  readonly mss?: MssLimit;
  /** Whether established flows skip the stack at TC, where nothing but ctnat has to see them. */
  readonly redirect?: boolean;
  /** Of what comes in by it: the same addresses in another zone are another flow. Absent: 0. */
  readonly zone?: number;
  /** Of each subscriber whose flows leave translated by it. */
  readonly limits?: Limits;
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

/**
 * The filtering behaviour of each protocol: as wanted, and where nothing is, full cone (eif) for
 * endpoint-independent mappings. One word is for those protocols that have such a mapping.
 * @throws RangeError if a filter other than apdf is wanted for a mapping that depends on the other side
 */
export function filteringFor(
  mapping: MappingModes,
  wanted: FilteringMode | Partial<FilteringModes> = {},
): FilteringModes {
  const modes: Record<keyof FilteringModes, FilteringMode> = { udp: 'apdf', tcp: 'apdf' };
  let isUsed = wanted === 'apdf';
  for (const proto of ['udp', 'tcp'] as const) {
    const isEim = mapping[proto] === 'eim';
    const mode = typeof wanted === 'string' ? (isEim ? wanted : 'apdf') : wanted[proto];
    if (!isEim && mode !== undefined && mode !== 'apdf') {
      throw new RangeError(`filtering ${mode} of ${proto} needs mapping eim for ${proto}`);
    }
    modes[proto] = mode ?? (isEim ? 'eif' : 'apdf');
    isUsed ||= isEim;
  }
  if (typeof wanted === 'string' && !isUsed) {
    throw new RangeError(`filtering ${wanted} needs mapping eim for udp or tcp`);
  }
  return modes;
}

/** Whether some protocol's mapping is endpoint-independent. */
export function hasEim(mapping: MappingModes): boolean {
  return Object.values(mapping).includes('eim');
}

/** Says the filtering behaviours: one word where they agree. */
export function filteringText({ udp, tcp }: FilteringModes): string {
  return udp === tcp ? udp : `udp=${udp} tcp=${tcp}`;
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
