// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The GRE header (RFC 2784, with key and sequence number of RFC 2890).
import { internetChecksum } from './checksum.js';
import type { Gre } from './layer.js';

const HAS_CHECKSUM = 0x8000;
const HAS_KEY = 0x2000;
const HAS_SEQUENCE = 0x1000;

export function encodeGre(layer: Gre, payload: Buffer): Buffer {
  const words: number[] = [];
  let flags = layer.version ?? 0;
  if (layer.checksum !== undefined) {
    flags |= HAS_CHECKSUM;
    words.push(layer.checksum === true ? 0 : (layer.checksum << 16) >>> 0);
  }
  if (layer.key !== undefined) {
    flags |= HAS_KEY;
    words.push(layer.key);
  }
  if (layer.sequence !== undefined) {
    flags |= HAS_SEQUENCE;
    words.push(layer.sequence);
  }
  const header = Buffer.alloc(4 + words.length * 4);
  header.writeUInt16BE(flags, 0);
  header.writeUInt16BE(layer.protocol, 2);
  words.forEach((word, i) => {
    header.writeUInt32BE(word >>> 0, 4 + i * 4);
  });
  if (layer.checksum === true) header.writeUInt16BE(internetChecksum(Buffer.concat([header, payload])), 4);
  return header;
}

/** undefined: not a whole GRE header. */
export function decodeGre(bytes: Buffer): { layer: Gre; bytes: number } | undefined {
  if (bytes.length < 4) return undefined;
  const flags = bytes.readUInt16BE(0);
  const present = [HAS_CHECKSUM, HAS_KEY, HAS_SEQUENCE].filter((flag) => flags & flag);
  const size = 4 + present.length * 4;
  if (bytes.length < size) return undefined;
  const layer: Gre = { layer: 'gre', protocol: bytes.readUInt16BE(2), version: flags & 7 };
  present.forEach((flag, i) => {
    const word = bytes.readUInt32BE(4 + i * 4);
    if (flag === HAS_CHECKSUM) layer.checksum = word >>> 16;
    else if (flag === HAS_KEY) layer.key = word;
    else layer.sequence = word;
  });
  return { layer, bytes: size };
}
