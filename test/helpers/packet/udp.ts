// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The UDP header (RFC 768).
import { internetChecksum, onesSum } from './checksum.js';
import type { Udp } from './layer.js';

export const UDP_BYTES = 8;

export function encodeUdp(layer: Udp, payload: Buffer, pseudo: Buffer | undefined): Buffer {
  const header = Buffer.alloc(UDP_BYTES);
  header.writeUInt16BE(layer.sport, 0);
  header.writeUInt16BE(layer.dport, 2);
  header.writeUInt16BE(layer.length ?? (UDP_BYTES + payload.length) & 0xffff, 4);
  const sum = internetChecksum(Buffer.concat([header, payload]), onesSum(pseudo ?? Buffer.alloc(0)));
  // A computed zero is sent as minus zero: on the wire 0 means that there is none.
  header.writeUInt16BE(layer.checksum ?? (sum === 0 ? 0xffff : sum), 6);
  return header;
}

/** undefined: not a whole UDP header. */
export function decodeUdp(bytes: Buffer): Udp | undefined {
  if (bytes.length < UDP_BYTES) return undefined;
  return {
    layer: 'udp',
    sport: bytes.readUInt16BE(0),
    dport: bytes.readUInt16BE(2),
    length: bytes.readUInt16BE(4),
    checksum: bytes.readUInt16BE(6),
  };
}
