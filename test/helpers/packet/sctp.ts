// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The SCTP common header (RFC 9260 section 3.1). Its CRC32c covers no addresses.
import { crc32c } from './checksum.js';
import type { Sctp } from './layer.js';

export const SCTP_BYTES = 12;

export function encodeSctp(layer: Sctp, payload: Buffer): Buffer {
  const header = Buffer.alloc(SCTP_BYTES);
  header.writeUInt16BE(layer.sport, 0);
  header.writeUInt16BE(layer.dport, 2);
  header.writeUInt32BE(layer.tag >>> 0, 4);
  header.writeUInt32LE(layer.checksum ?? crc32c(Buffer.concat([header, payload])), 8);
  return header;
}

/** undefined: not a whole common header. */
export function decodeSctp(bytes: Buffer): Sctp | undefined {
  if (bytes.length < SCTP_BYTES) return undefined;
  return {
    layer: 'sctp',
    sport: bytes.readUInt16BE(0),
    dport: bytes.readUInt16BE(2),
    tag: bytes.readUInt32BE(4),
    checksum: bytes.readUInt32LE(8),
  };
}

/** One chunk (RFC 9260 section 3.2), padded to whole words. */
export function sctpChunk(type: number, flags: number, value: Uint8Array): Buffer {
  const chunk = Buffer.alloc(Math.ceil((4 + value.length) / 4) * 4);
  chunk[0] = type;
  chunk[1] = flags;
  chunk.writeUInt16BE(4 + value.length, 2);
  chunk.set(value, 4);
  return chunk;
}
