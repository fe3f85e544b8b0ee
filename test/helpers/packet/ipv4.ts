// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The IPv4 header (RFC 791).
import { ip4Bytes, ip4Text } from './address.js';
import { internetChecksum } from './checksum.js';
import type { Ipv4 } from './layer.js';

const BASE_BYTES = 20;

/** @param protocol of what follows, if the layer does not say one */
export function encodeIpv4(layer: Ipv4, payload: Buffer, protocol: number): Buffer {
  const options = layer.options ?? new Uint8Array();
  const headerBytes = BASE_BYTES + Math.ceil(options.length / 4) * 4;
  const header = Buffer.alloc(headerBytes);
  const flags = (layer.evil ? 0x8000 : 0) | (layer.df ? 0x4000 : 0) | (layer.mf ? 0x2000 : 0);
  header[0] = ((layer.version ?? 4) << 4) | (layer.words ?? headerBytes / 4);
  header[1] = layer.tos ?? 0;
  header.writeUInt16BE(layer.length ?? headerBytes + payload.length, 2);
  header.writeUInt16BE(layer.id ?? 0, 4);
  header.writeUInt16BE(flags | ((layer.offset ?? 0) / 8), 6);
  header[8] = layer.ttl ?? 64;
  header[9] = layer.protocol ?? protocol;
  ip4Bytes(layer.src).copy(header, 12);
  ip4Bytes(layer.dst).copy(header, 16);
  header.set(options, BASE_BYTES);
  header.writeUInt16BE(layer.checksum ?? internetChecksum(header), 10);
  return header;
}

/** undefined: not a whole IPv4 header. */
export function decodeIpv4(bytes: Buffer): Ipv4 | undefined {
  const words = (bytes[0] ?? 0) & 15;
  if (bytes.length < BASE_BYTES || bytes[0]! >> 4 !== 4 || words < 5 || bytes.length < words * 4)
    return undefined;
  const flags = bytes.readUInt16BE(6);
  return {
    layer: 'ipv4',
    src: ip4Text(bytes.subarray(12)),
    dst: ip4Text(bytes.subarray(16)),
    version: 4,
    words,
    tos: bytes[1]!,
    length: bytes.readUInt16BE(2),
    id: bytes.readUInt16BE(4),
    evil: (flags & 0x8000) !== 0,
    df: (flags & 0x4000) !== 0,
    mf: (flags & 0x2000) !== 0,
    offset: (flags & 0x1fff) * 8,
    ttl: bytes[8]!,
    protocol: bytes[9]!,
    checksum: bytes.readUInt16BE(10),
    options: bytes.subarray(BASE_BYTES, words * 4),
  };
}

/** The pseudo-header that TCP and UDP checksums begin with (RFC 9293 section 3.1, RFC 768). */
export function pseudoHeader4(ip: Ipv4, protocol: number, length: number): Buffer {
  const tail = Buffer.alloc(4);
  tail[1] = protocol;
  tail.writeUInt16BE(length & 0xffff, 2);
  return Buffer.concat([ip4Bytes(ip.src), ip4Bytes(ip.dst), tail]);
}
