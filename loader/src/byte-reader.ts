// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads integers and strings from bytes that may lie. Every access is checked: what is out of bounds is a
 * FormatError that names the file part, never a RangeError from the depths of DataView.
 */
import { FormatError } from './errors.js';

export class ByteReader {
  readonly size: number;
  readonly littleEndian: boolean;
  readonly #bytes: Uint8Array;
  readonly #view: DataView;
  readonly #what: string;

  /** @param what names the bytes in errors, for example ".BTF" */
  constructor(bytes: Uint8Array, what: string, littleEndian: boolean) {
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.#what = what;
    this.size = bytes.byteLength;
    this.littleEndian = littleEndian;
  }

  u8(offset: number): number {
    this.check(offset, 1);
    return this.#view.getUint8(offset);
  }

  u16(offset: number): number {
    this.check(offset, 2);
    return this.#view.getUint16(offset, this.littleEndian);
  }

  u32(offset: number): number {
    this.check(offset, 4);
    return this.#view.getUint32(offset, this.littleEndian);
  }

  i32(offset: number): number {
    this.check(offset, 4);
    return this.#view.getInt32(offset, this.littleEndian);
  }

  u64(offset: number): bigint {
    this.check(offset, 8);
    return this.#view.getBigUint64(offset, this.littleEndian);
  }

  /** A 64-bit file offset or size as a number; one above 2^53 cannot be true of a file and is refused. */
  size64(offset: number): number {
    const value = this.u64(offset);
    if (value > BigInt(Number.MAX_SAFE_INTEGER)) {
      throw this.error(offset, `size ${value} is beyond any file`);
    }
    return Number(value);
  }

  /** The bytes [offset, offset + length), not copied. */
  bytes(offset: number, length: number): Uint8Array {
    this.check(offset, length);
    return this.#bytes.subarray(offset, offset + length);
  }

  /** A reader of a part, with offsets from 0. */
  slice(offset: number, length: number, what: string): ByteReader {
    return new ByteReader(this.bytes(offset, length), what, this.littleEndian);
  }

  /** The NUL-terminated UTF-8 string at offset. */
  string(offset: number): string {
    this.check(offset, 1);
    const end = this.#bytes.indexOf(0, offset);
    if (end < 0) throw this.error(offset, 'string has no end');
    return decodeText(this.#bytes.subarray(offset, end));
  }

  check(offset: number, length: number): void {
    if (offset >= 0 && length >= 0 && offset + length <= this.size) return;
    throw this.error(offset, `${length} bytes are needed and only ${this.size} exist`);
  }

  error(offset: number, reason: string): FormatError {
    return new FormatError(this.#what, offset, reason);
  }
}

const decoder = new TextDecoder();

function decodeText(bytes: Uint8Array): string {
  return decoder.decode(bytes);
}
