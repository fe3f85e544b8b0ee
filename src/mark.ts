// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Marks of packets and flows as text: VALUE or VALUE/MASK. */
import { quoted } from './errors.js';

/** Of a match: packets whose mark is `value` under `mask`. Of a change: the bits of `mask` become those of `value`. */
export interface Mark {
  readonly value: number;
  readonly mask: number;
}

/**
 * @throws RangeError for what is no mark, or has bits that its mask has not
 */
export function parseMark(text: string): Mark {
  const match = /^(0x[0-9a-f]{1,8}|[0-9]{1,10})(?:\/(0x[0-9a-f]{1,8}|[0-9]{1,10}))?$/i.exec(text);
  const [value, mask] = [Number(match?.[1]), Number(match?.[2] ?? 0xffffffff)];
  if (!match || value > 0xffffffff || mask > 0xffffffff) {
    throw new RangeError(`invalid mark ${quoted(text)}; give VALUE or VALUE/MASK, numbers of 32 bits`);
  }
  if ((value & ~mask) !== 0) {
    throw new RangeError(`mark ${quoted(text)} matches nothing: the value has bits that its mask has not`);
  }
  return { value, mask };
}

export function formatMark({ value, mask }: Mark): string {
  const hex = (word: number) => `0x${word.toString(16)}`;
  return mask === 0xffffffff ? hex(value) : `${hex(value)}/${hex(mask)}`;
}
