// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * IPv4 and IPv6 addresses, prefixes and ranges as text and as bytes in network order.
 * Formatting is by hand: a listing writes four million addresses.
 */
import { createRequire } from 'node:module';
import type Ipaddr from 'ipaddr.js';
import { quoted } from './errors.js';

const require = createRequire(import.meta.url);
let loaded: typeof Ipaddr | undefined;

/** The parser, loaded when the first address is read: a listing only writes them. */
function parser(): typeof Ipaddr {
  loaded ??= require('ipaddr.js') as typeof Ipaddr;
  return loaded;
}

export type Family = 'ipv4' | 'ipv6';

/** 4 or 16 bytes in network order. */
export interface Address {
  readonly family: Family;
  readonly bytes: Uint8Array;
}

/** A prefix; the bits of `bytes` behind it are 0. */
export interface Cidr extends Address {
  readonly prefix: number;
}

/** Both ends inclusive, of one family, in order. */
export interface AddressRange {
  readonly first: Address;
  readonly last: Address;
}

const OCTETS: readonly string[] = Array.from({ length: 256 }, (_, i) => String(i));

/** Text of the 4 bytes at `offset`. */
export function formatIpv4(bytes: Uint8Array, offset = 0): string {
  return `${OCTETS[bytes[offset]!]}.${OCTETS[bytes[offset + 1]!]}.${OCTETS[bytes[offset + 2]!]}.${OCTETS[bytes[offset + 3]!]}`;
}

/** Text of the 16 bytes at `offset` as RFC 5952 sections 4 and 5 want it. */
export function formatIpv6(bytes: Uint8Array, offset = 0): string {
  let bestStart = -1;
  let bestLength = 1; // section 4.2.2: a single zero field is not shortened
  let start = -1;
  for (let i = 0; i < 8; i++) {
    if ((bytes[offset + 2 * i]! | bytes[offset + 2 * i + 1]!) !== 0) {
      start = -1;
      continue;
    }
    if (start < 0) start = i;
    if (i - start + 1 > bestLength) {
      bestStart = start;
      bestLength = i - start + 1;
    }
  }
  if (bestStart === 0 && bestLength === 5 && bytes[offset + 10] === 0xff && bytes[offset + 11] === 0xff) {
    return `::ffff:${formatIpv4(bytes, offset + 12)}`;
  }
  let text = '';
  for (let i = 0; i < 8; i++) {
    if (i === bestStart) {
      text += '::';
      i += bestLength - 1;
      continue;
    }
    if (text !== '' && !text.endsWith(':')) text += ':';
    text += ((bytes[offset + 2 * i]! << 8) | bytes[offset + 2 * i + 1]!).toString(16);
  }
  return text;
}

/** Canonical text of an address. */
export function formatAddress(address: Address): string {
  return address.family === 'ipv4' ? formatIpv4(address.bytes) : formatIpv6(address.bytes);
}

/** Canonical text of a prefix; a whole address stands without `/32` or `/128`. */
export function formatCidr(cidr: Cidr): string {
  const text = formatAddress(cidr);
  return cidr.prefix === cidr.bytes.length * 8 ? text : `${text}/${cidr.prefix}`;
}

/** `ADDRESS:PORT`, with brackets around IPv6 (RFC 5952 section 6). */
export function formatEndpoint(address: string, port: number | string): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}

/**
 * Reads one address: dotted decimal with four parts, or any RFC 4291 form of IPv6 without a zone.
 * @throws RangeError naming the text
 */
export function parseAddress(text: string): Address {
  const ipaddr = parser();
  if (ipaddr.IPv4.isValidFourPartDecimal(text)) {
    return { family: 'ipv4', bytes: Uint8Array.from(ipaddr.IPv4.parse(text).toByteArray()) };
  }
  if (text.includes('%') && ipaddr.IPv6.isValid(text)) {
    throw new RangeError(`address ${quoted(text)} has a zone; leave out what follows the %`);
  }
  if (ipaddr.IPv6.isValid(text)) {
    return { family: 'ipv6', bytes: Uint8Array.from(ipaddr.IPv6.parse(text).toByteArray()) };
  }
  throw new RangeError(`invalid address ${quoted(text)}; give IPv4 as 192.0.2.1 or IPv6 as 2001:db8::1`);
}

/**
 * Reads `ADDRESS` or `ADDRESS/PREFIX`; bits behind the prefix are cleared.
 * @throws RangeError naming the text
 */
export function parseCidr(text: string): Cidr {
  const slash = text.indexOf('/');
  const address = parseAddress(slash < 0 ? text : text.slice(0, slash));
  const bits = address.bytes.length * 8;
  const length = slash < 0 ? String(bits) : text.slice(slash + 1);
  if (!/^[0-9]{1,3}$/.test(length) || Number(length) > bits) {
    throw new RangeError(
      `invalid prefix length in ${quoted(text)}; for ${address.family} it is 0 to ${bits}`,
    );
  }
  const prefix = Number(length);
  return { family: address.family, prefix, bytes: maskBytes(address.bytes, prefix) };
}

function maskBytes(bytes: Uint8Array, prefix: number): Uint8Array {
  return bytes.map((byte, i) => byte & prefixByte(prefix, i));
}

/** Byte `i` of a prefix's mask. */
function prefixByte(prefix: number, i: number): number {
  const bits = Math.min(8, Math.max(0, prefix - 8 * i));
  return (0xff00 >> bits) & 0xff;
}

/** The mask of a prefix, as many bytes as the address has. */
export function prefixMask(cidr: Cidr): Uint8Array {
  return maskBytes(new Uint8Array(cidr.bytes.length).fill(0xff), cidr.prefix);
}

/** True if the address at `offset` of `bytes` (of the prefix's family) lies in the prefix. */
export function cidrContains(cidr: Cidr, bytes: Uint8Array, offset = 0): boolean {
  const whole = cidr.prefix >> 3;
  for (let i = 0; i < whole; i++) if (bytes[offset + i] !== cidr.bytes[i]) return false;
  return (
    (cidr.prefix & 7) === 0 || (bytes[offset + whole]! & prefixByte(cidr.prefix, whole)) === cidr.bytes[whole]
  );
}

/** Orders addresses of one family: negative, 0 or positive. */
export function compareAddresses(a: Address, b: Address): number {
  for (let i = 0; i < a.bytes.length; i++) {
    const difference = a.bytes[i]! - (b.bytes[i] ?? 0);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** True for addresses that no host has as its own: unspecified, multicast, IPv4's broadcast and class E. */
export function isNotUnicast(address: Address): boolean {
  const { bytes, family } = address;
  if (family === 'ipv4') return bytes[0] === 0 || bytes[0]! >= 224;
  return bytes[0] === 0xff || bytes.every((byte) => byte === 0);
}
