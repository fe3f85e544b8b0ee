// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP (RFC 792) and ICMPv6 (RFC 4443) headers, and what errors quote.
import { internetChecksum, onesSum } from './checksum.js';
import type { Icmp } from './layer.js';

export const ICMP_BYTES = 8;

/** Types whose body quotes the packet that they are about. */
const ERRORS: ReadonlySet<number> = new Set([3, 4, 5, 11, 12]);
const ERRORS6: ReadonlySet<number> = new Set([1, 2, 3, 4]);

/** @param pseudo ICMPv6 has one, ICMP has none */
export function encodeIcmp(layer: Icmp, payload: Buffer, pseudo: Buffer | undefined): Buffer {
  const header = Buffer.alloc(ICMP_BYTES);
  header[0] = layer.type;
  header[1] = layer.code;
  header.writeUInt32BE(layer.rest >>> 0, 4);
  const start = layer.layer === 'icmp6' && pseudo ? onesSum(pseudo) : 0;
  header.writeUInt16BE(layer.checksum ?? internetChecksum(Buffer.concat([header, payload]), start), 2);
  return header;
}

/** undefined: not a whole ICMP header. */
export function decodeIcmp(bytes: Buffer, layer: 'icmp' | 'icmp6'): Icmp | undefined {
  if (bytes.length < ICMP_BYTES) return undefined;
  return {
    layer,
    type: bytes[0]!,
    code: bytes[1]!,
    checksum: bytes.readUInt16BE(2),
    rest: bytes.readUInt32BE(4),
  };
}

export function isIcmpError(layer: Icmp): boolean {
  return (layer.layer === 'icmp' ? ERRORS : ERRORS6).has(layer.type);
}
