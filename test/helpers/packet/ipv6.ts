// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The IPv6 header and its extension headers (RFC 8200).
import { ip6Bytes, ip6Text } from './address.js';
import { type Extension, type Fragment6, type Ipv6, PROTOCOL } from './layer.js';

const BASE_BYTES = 40;
export const FRAGMENT6_BYTES = 8;

/** Extension headers of the common shape: next header, length, body. */
export const EXTENSIONS: ReadonlySet<number> = new Set([
  PROTOCOL.hopByHop,
  PROTOCOL.routing,
  PROTOCOL.destination,
]);

/** @param next header, if the layer does not say one */
export function encodeIpv6(layer: Ipv6, payload: Buffer, next: number): Buffer {
  const header = Buffer.alloc(BASE_BYTES);
  const first = ((layer.version ?? 6) << 28) | ((layer.trafficClass ?? 0) << 20) | (layer.flowLabel ?? 0);
  header.writeUInt32BE(first >>> 0, 0);
  header.writeUInt16BE(layer.length ?? payload.length, 4);
  header[6] = layer.next ?? next;
  header[7] = layer.hopLimit ?? 64;
  ip6Bytes(layer.src).copy(header, 8);
  ip6Bytes(layer.dst).copy(header, 24);
  return header;
}

/** undefined: not a whole IPv6 header. */
export function decodeIpv6(bytes: Buffer): Ipv6 | undefined {
  if (bytes.length < BASE_BYTES || bytes[0]! >> 4 !== 6) return undefined;
  const first = bytes.readUInt32BE(0);
  return {
    layer: 'ipv6',
    src: ip6Text(bytes.subarray(8)),
    dst: ip6Text(bytes.subarray(24)),
    version: 6,
    trafficClass: (first >>> 20) & 0xff,
    flowLabel: first & 0xfffff,
    length: bytes.readUInt16BE(4),
    next: bytes[6]!,
    hopLimit: bytes[7]!,
  };
}

export function encodeExtension(layer: Extension, next: number): Buffer {
  const size = Math.ceil((layer.body.length + 2) / 8) * 8;
  const header = Buffer.alloc(size);
  header[0] = layer.next ?? next;
  header[1] = layer.units ?? size / 8 - 1;
  header.set(layer.body, 2);
  return header;
}

export function decodeExtension(bytes: Buffer, kind: number): Extension | undefined {
  const size = ((bytes[1] ?? 0) + 1) * 8;
  if (bytes.length < size) return undefined;
  return { layer: 'extension', kind, next: bytes[0]!, units: bytes[1]!, body: bytes.subarray(2, size) };
}

export function encodeFragment6(layer: Fragment6, next: number): Buffer {
  const header = Buffer.alloc(FRAGMENT6_BYTES);
  header[0] = layer.next ?? next;
  header.writeUInt16BE(layer.offset | (layer.more ? 1 : 0), 2);
  header.writeUInt32BE(layer.id, 4);
  return header;
}

export function decodeFragment6(bytes: Buffer): Fragment6 | undefined {
  if (bytes.length < FRAGMENT6_BYTES) return undefined;
  const word = bytes.readUInt16BE(2);
  return {
    layer: 'fragment6',
    next: bytes[0]!,
    offset: word & 0xfff8,
    more: (word & 1) !== 0,
    id: bytes.readUInt32BE(4),
  };
}

/** The pseudo-header of the protocols above IPv6 (RFC 8200 section 8.1). */
export function pseudoHeader6(ip: Ipv6, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(8);
  tail.writeUInt32BE(length, 0);
  tail[7] = protocol;
  return Buffer.concat([ip6Bytes(ip.src), ip6Bytes(ip.dst), tail]);
}
