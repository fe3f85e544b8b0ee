// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Addresses as the generated layouts hold them: 32-bit words, each read in network order. */
import type { Address } from './address.js';

/** Bytes of an address, any multiple of four, as words. */
export function addressWords(bytes: Uint8Array): number[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return Array.from({ length: bytes.length / 4 }, (_, i) => view.getUint32(4 * i));
}

/** Four words: an IPv4 address stands in the first, and the others are 0. */
export function fourWords(bytes: Uint8Array): number[] {
  return [...addressWords(bytes), 0, 0, 0].slice(0, 4);
}

/** The address of words. */
export function wordsAddress(words: readonly number[], family: Address['family']): Address {
  const bytes = new Uint8Array(family === 'ipv4' ? 4 : 16);
  const view = new DataView(bytes.buffer);
  for (let i = 0; i < bytes.length / 4; i++) view.setUint32(4 * i, words[i] ?? 0);
  return { family, bytes };
}
