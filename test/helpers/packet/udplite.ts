// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The UDP-Lite header (RFC 3828). Its pseudo header has the whole length, its checksum may cover less.
import { internetChecksum, onesSum, sumsToZero } from './checksum.js';
import type { Udplite } from './layer.js';

export const UDPLITE_BYTES = 8;

export function encodeUdplite(layer: Udplite, payload: Buffer, pseudo: Buffer | undefined): Buffer {
  const header = Buffer.alloc(UDPLITE_BYTES);
  header.writeUInt16BE(layer.sport, 0);
  header.writeUInt16BE(layer.dport, 2);
  header.writeUInt16BE(layer.coverage ?? 0, 4);
  const message = Buffer.concat([header, payload]);
  const covered = message.subarray(0, layer.coverage || message.length);
  const sum = internetChecksum(covered, onesSum(pseudo ?? Buffer.alloc(0)));
  header.writeUInt16BE(layer.checksum ?? (sum === 0 ? 0xffff : sum), 6);
  return header;
}

/** undefined: not a whole UDP-Lite header. */
export function decodeUdplite(bytes: Buffer): Udplite | undefined {
  if (bytes.length < UDPLITE_BYTES) return undefined;
  return {
    layer: 'udplite',
    sport: bytes.readUInt16BE(0),
    dport: bytes.readUInt16BE(2),
    coverage: bytes.readUInt16BE(4),
    checksum: bytes.readUInt16BE(6),
  };
}

/** What is wrong with a whole message; empty: nothing. */
export function udpliteProblems(layer: Udplite, message: Buffer, pseudo: Buffer): string[] {
  const coverage = layer.coverage || message.length;
  if (coverage < UDPLITE_BYTES || coverage > message.length) {
    return [`UDP-Lite coverage is ${layer.coverage}, there are ${message.length} bytes`];
  }
  if (layer.checksum === 0) return ['UDP-Lite checksum is 0 (RFC 3828 section 3.1)'];
  return sumsToZero(message.subarray(0, coverage), onesSum(pseudo)) ? [] : ['UDP-Lite checksum is wrong'];
}
