// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Text written as bytes: numbers and addresses without a string in between. */
import { formatIpv6 } from './address.js';

const DOT = 0x2e;
const ZERO = 0x30;

export class ByteWriter {
  #bytes: Buffer;
  #at = 0;

  constructor(size: number) {
    this.#bytes = Buffer.allocUnsafe(size);
  }

  /** Whether so many bytes more can be written; nothing else checks it. */
  hasRoom(bytes: number): boolean {
    return this.#at + bytes <= this.#bytes.length;
  }

  /** What was written, valid until the next write; writing begins anew, with room for so many bytes at least. */
  take(room = 0): Uint8Array {
    const taken = this.#bytes.subarray(0, this.#at);
    if (room > this.#bytes.length) this.#bytes = Buffer.allocUnsafe(room);
    this.#at = 0;
    return taken;
  }

  bytes(bytes: Uint8Array): void {
    const to = this.#bytes;
    const at = this.#at;
    for (let i = 0; i < bytes.length; i++) to[at + i] = bytes[i]!;
    this.#at = at + bytes.length;
  }

  /** Any text: at most three bytes a character. */
  text(text: string): void {
    this.#at += this.#bytes.write(text, this.#at);
  }

  /** A whole number, not negative. */
  number(number: number): void {
    if (number > 0x7fff_ffff) {
      this.ascii(String(number));
      return;
    }
    let digits = 1;
    for (let bound = 10; number >= bound; bound *= 10) digits++;
    const end = this.#at + digits;
    let rest = number | 0;
    for (let i = end - 1; i >= this.#at; i--) {
      const tenth = (rest / 10) | 0;
      this.#bytes[i] = ZERO + rest - tenth * 10;
      rest = tenth;
    }
    this.#at = end;
  }

  /** Tenths as a number with a decimal only where it is not 0, as JavaScript writes it. */
  tenths(tenths: number): void {
    this.number(Math.floor(tenths / 10));
    if (tenths % 10 === 0) return;
    this.#bytes[this.#at++] = DOT;
    this.number(tenths % 10);
  }

  /** The address of 4 or 16 bytes at `offset`. */
  address(bytes: Uint8Array, offset: number, size: 4 | 16): void {
    if (size === 16) {
      this.ascii(formatIpv6(bytes, offset));
      return;
    }
    for (let i = offset; i < offset + 4; i++) {
      if (i > offset) this.#bytes[this.#at++] = DOT;
      this.number(bytes[i]!);
    }
  }

  ascii(text: string): void {
    for (let i = 0; i < text.length; i++) this.#bytes[this.#at++] = text.charCodeAt(i);
  }
}
