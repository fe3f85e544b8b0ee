// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TCP options as header bytes in hex, padded to whole words.

export const NOP = '01';
export const END = '00';
export const SACK_PERMITTED = '0402';
export const TIMESTAMP = '080a0011223300445566';

export function mss(bytes: number): string {
  return `0204${hex(bytes, 4)}`;
}

export function windowScale(shift: number): string {
  return `0303${hex(shift, 2)}`;
}

/** Blocks are left and right edges. */
export function sack(...blocks: [number, number][]): string {
  const edges = blocks.map(([left, right]) => hex(left >>> 0, 8) + hex(right >>> 0, 8));
  return `05${hex(2 + 8 * blocks.length, 2)}${edges.join('')}`;
}

/** All in this order, then END or NOPs up to a whole word. Cut to the 40 bytes that a header has. */
export function header(options: readonly string[], padding: string = END): string {
  let bytes = options.join('');
  while (bytes.length % 8) bytes += padding;
  return bytes.slice(0, 80);
}

/** What Linux sends in a SYN. */
export function linuxSyn(shift: number): string {
  return header([mss(1460), SACK_PERMITTED, TIMESTAMP, NOP, windowScale(shift)]);
}

/** What nearly every other segment carries. */
export const PLAIN = header([NOP, NOP, TIMESTAMP]);

function hex(value: number, digits: number): string {
  return value.toString(16).padStart(digits, '0');
}
