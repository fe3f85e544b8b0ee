// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The TCP header (RFC 9293 section 3.1).
import { internetChecksum, onesSum } from './checksum.js';
import type { Tcp } from './layer.js';

const BASE_BYTES = 20;
const FLAG_LETTERS = 'FSRPAUEW'; // bit 0 first

/** @param pseudo the pseudo-header; undefined: there is no address to take one from, the checksum is without */
export function encodeTcp(layer: Tcp, payload: Buffer, pseudo: Buffer | undefined): Buffer {
  const options = layer.options ?? new Uint8Array();
  const headerBytes = BASE_BYTES + Math.ceil(options.length / 4) * 4;
  const header = Buffer.alloc(headerBytes);
  header.writeUInt16BE(layer.sport, 0);
  header.writeUInt16BE(layer.dport, 2);
  header.writeUInt32BE((layer.seq ?? 0) >>> 0, 4);
  header.writeUInt32BE((layer.ack ?? 0) >>> 0, 8);
  header[12] = (layer.words ?? headerBytes / 4) << 4;
  header[13] = flagBits(layer.flags ?? 'A');
  header.writeUInt16BE(layer.window ?? 64240, 14);
  header.writeUInt16BE(layer.urgent ?? 0, 18);
  header.set(options, BASE_BYTES);
  const sum = onesSum(pseudo ?? Buffer.alloc(0));
  header.writeUInt16BE(layer.checksum ?? internetChecksum(Buffer.concat([header, payload]), sum), 16);
  return header;
}

/** undefined: not a whole TCP header. */
export function decodeTcp(bytes: Buffer): Tcp | undefined {
  const words = (bytes[12] ?? 0) >> 4;
  if (bytes.length < BASE_BYTES || words < 5 || bytes.length < words * 4) return undefined;
  return {
    layer: 'tcp',
    sport: bytes.readUInt16BE(0),
    dport: bytes.readUInt16BE(2),
    seq: bytes.readUInt32BE(4),
    ack: bytes.readUInt32BE(8),
    words,
    flags: flagLetters(bytes[13]!),
    window: bytes.readUInt16BE(14),
    checksum: bytes.readUInt16BE(16),
    urgent: bytes.readUInt16BE(18),
    options: bytes.subarray(BASE_BYTES, words * 4),
  };
}

function flagBits(letters: string): number {
  return Array.from(letters).reduce((bits, letter) => {
    const bit = FLAG_LETTERS.indexOf(letter);
    if (bit < 0) throw new TypeError(`Not a TCP flag: "${letter}" (flags are letters of ${FLAG_LETTERS})`);
    return bits | (1 << bit);
  }, 0);
}

function flagLetters(bits: number): string {
  return Array.from(FLAG_LETTERS)
    .filter((_, bit) => bits & (1 << bit))
    .join('');
}

/** The options that a Linux SYN carries: MSS, SACK permitted, timestamps, window scale. */
export function synOptions(fields: { mss?: number; scale?: number } = {}): Buffer {
  const options = Buffer.from('020405b40402080a00000001000000000103030a', 'hex');
  options.writeUInt16BE(fields.mss ?? 1460, 2);
  options[19] = fields.scale ?? 7;
  return options;
}
