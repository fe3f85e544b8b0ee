// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Where a key stands in the index, as bpf/index_hash.h computes it. */
import { endianness } from 'node:os';
import type { IndexHead } from './generated/layouts.gen.js';

const LITTLE_ENDIAN = endianness() === 'LE';
const WORD = (1n << 64n) - 1n;
const FACTORS = [0x9e3779b97f4a7c15n, 0xbf58476d1ce4e5b9n, 0x94d049bb133111ebn] as const;

export interface IndexPlace {
  readonly row: number;
  /** 64 bits, not 0. */
  readonly tag: bigint;
}

/** @param key struct tuple4_key or tuple6_key */
export function indexPlace({ rows, secrets }: IndexHead, key: Uint8Array, family: 4 | 6): IndexPlace {
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  const words = Array.from({ length: key.length / 4 }, (_, i) => view.getUint32(i * 4, LITTLE_ENDIAN));
  let a = (sum(words, secrets, 0) * FACTORS[0]) & WORD;
  let b = ((sum(words, secrets, 2) + (family === 6 ? 1n : 0n)) * FACTORS[1]) & WORD;
  a ^= a >> 32n;
  b ^= b >> 29n;
  let tag = ((a + b) * FACTORS[2]) & WORD;
  tag ^= tag >> 31n;
  const at = (((a ^ ((b << 21n) & WORD) ^ (b >> 43n)) * FACTORS[0]) & WORD) >> 32n;
  return { row: Number((at * BigInt(rows)) >> 32n), tag: tag || 1n };
}

/** NH of RFC 4418 section 5.2, over pairs of neighbours. */
function sum(words: readonly number[], secrets: readonly number[], first: number): bigint {
  let total = 0n;
  for (let i = 0; i < words.length; i += 2) {
    const factor = (at: number): bigint => BigInt((words[at]! + secrets[first + at]!) >>> 0);
    total += factor(i) * factor(i + 1);
  }
  return total & WORD;
}
