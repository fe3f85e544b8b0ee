// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A map seen through codecs: JavaScript values instead of bytes. */

import type { Codec } from './codec.js';
import { LayoutError } from './errors.js';
import type { BpfMap } from './map.js';
import type { SetMode } from './map-options.js';
import { LITTLE_ENDIAN } from './native.js';

const BATCH_ENTRIES = 512;

/** A map whose keys and values have a layout. It does not own the map: closing is the BpfMap's affair. */
export class TypedMap<K, V> {
  readonly map: BpfMap;
  readonly #key: Codec<K>;
  readonly #value: Codec<V>;
  readonly #keyBytes: Buffer;
  readonly #keyView: DataView;
  readonly #valueBytes: Buffer;
  readonly #valueView: DataView;

  /**
   * @param valueCodec of per-CPU maps: one CPU's value, for getPerCpu() and setPerCpu(); or all CPUs' values
   * @throws LayoutError if the codecs' sizes are not the map's
   */
  constructor(map: BpfMap, keyCodec: Codec<K>, valueCodec: Codec<V>) {
    checkSize(map, 'keys', map.keySize, keyCodec.size);
    if (valueCodec.size !== map.cpuValueSize) checkSize(map, 'values', map.valueSize, valueCodec.size);
    this.map = map;
    this.#key = keyCodec;
    this.#value = valueCodec;
    this.#keyBytes = Buffer.alloc(map.keySize);
    this.#keyView = viewOf(this.#keyBytes);
    this.#valueBytes = Buffer.alloc(map.valueSize);
    this.#valueView = viewOf(this.#valueBytes);
  }

  /** Returns a key's value, or undefined if there is none. */
  get(key: K): V | undefined {
    this.#checkWhole();
    this.#writeKey(key);
    if (!this.map.getInto(this.#keyBytes, this.#valueBytes)) return undefined;
    return this.#value.read(this.#valueView, 0);
  }

  /** Whether the key is there. */
  has(key: K): boolean {
    this.#writeKey(key);
    return this.map.getInto(this.#keyBytes, this.#valueBytes);
  }

  /** Stores a value; see BpfMap.set() for what `mode` and the result mean. */
  set(key: K, value: V, mode: SetMode = 'any'): boolean {
    this.#checkWhole();
    this.#writeKey(key);
    this.#value.write(this.#valueView, 0, value);
    return this.map.set(this.#keyBytes, this.#valueBytes, mode);
  }

  /** Deletes an entry. Returns whether it was there. */
  delete(key: K): boolean {
    this.#writeKey(key);
    return this.map.delete(this.#keyBytes);
  }

  /** Returns the key's value on each possible CPU, in CPU order; undefined if there is none. */
  getPerCpu(key: K): V[] | undefined {
    this.#writeKey(key);
    return this.map.getPerCpu(this.#keyBytes)?.map((bytes) => this.#value.read(viewOf(bytes), 0));
  }

  /** Stores a value for each possible CPU, in CPU order. */
  setPerCpu(key: K, values: readonly V[], mode: SetMode = 'any'): boolean {
    this.#writeKey(key);
    const encoded = values.map((value) => {
      const bytes = Buffer.alloc(this.#value.size);
      this.#value.write(viewOf(bytes), 0, value);
      return bytes;
    });
    return this.map.setPerCpu(this.#keyBytes, encoded, mode);
  }

  /** Walks over the keys; see BpfMap.keys(). */
  *keys(): Generator<K, void, undefined> {
    for (const key of this.map.keys()) yield this.#key.read(viewOf(key), 0);
  }

  /** Walks over the entries; see BpfMap.entries(). */
  *entries(): Generator<[key: K, value: V], void, undefined> {
    this.#checkWhole();
    for (const { keys, values, count } of this.map.lookupBatch(BATCH_ENTRIES)) {
      yield* this.#decode(keys, values, count);
    }
  }

  [Symbol.iterator](): Generator<[key: K, value: V], void, undefined> {
    return this.entries();
  }

  /** Walks over the values; see BpfMap.entries(). */
  *values(): Generator<V, void, undefined> {
    for (const [, value] of this.entries()) yield value;
  }

  /** Counts the entries by walking over them; of arrays, every index. */
  count(): number {
    if (this.map.type === 'array' || this.map.type === 'percpu_array') return this.map.maxEntries;
    let count = 0;
    for (const batch of this.map.lookupBatch(BATCH_ENTRIES)) count += batch.count;
    return count;
  }

  /** Deletes every entry; see BpfMap.clear(). */
  clear(): void {
    this.map.clear();
  }

  *#decode(keys: Buffer, values: Buffer, count: number): Generator<[key: K, value: V], void, undefined> {
    const keyView = viewOf(keys);
    const valueView = viewOf(values);
    for (let i = 0; i < count; i++) {
      yield [
        this.#key.read(keyView, i * this.map.keySize),
        this.#value.read(valueView, i * this.map.valueSize),
      ];
    }
  }

  #writeKey(key: K): void {
    this.#key.write(this.#keyView, 0, key);
  }

  /** One CPU's codec cannot read the values of all CPUs. */
  #checkWhole(): void {
    if (this.#value.size === this.map.valueSize) return;
    throw new LayoutError(
      `read map "${this.map.name}"`,
      `its values are per CPU: use getPerCpu() and setPerCpu()`,
    );
  }
}

/** A number of 32 bits in the host's byte order. */
export const u32: Codec<number> = {
  size: 4,
  read: (view, offset) => view.getUint32(offset, LITTLE_ENDIAN),
  write(view, offset, value) {
    checkRange('u32', value, 0xffff_ffff);
    view.setUint32(offset, value, LITTLE_ENDIAN);
  },
};

/** A number of 64 bits in the host's byte order. */
export const u64: Codec<bigint> = {
  size: 8,
  read: (view, offset) => view.getBigUint64(offset, LITTLE_ENDIAN),
  write(view, offset, value) {
    if (value < 0n || value > 0xffff_ffff_ffff_ffffn) throw rangeError('u64', value);
    view.setBigUint64(offset, value, LITTLE_ENDIAN);
  },
};

/** A number of 16 bits in network byte order, such as a port. */
export const be16: Codec<number> = {
  size: 2,
  read: (view, offset) => view.getUint16(offset),
  write(view, offset, value) {
    checkRange('be16', value, 0xffff);
    view.setUint16(offset, value);
  },
};

/** A number of 32 bits in network byte order, such as an IPv4 address. */
export const be32: Codec<number> = {
  size: 4,
  read: (view, offset) => view.getUint32(offset),
  write(view, offset, value) {
    checkRange('be32', value, 0xffff_ffff);
    view.setUint32(offset, value);
  },
};

/** `size` bytes as they are. What is read is a copy. */
export function bytes(size: number): Codec<Uint8Array> {
  return {
    size,
    read: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, size).slice(),
    write(view, offset, value) {
      if (value.length !== size)
        throw new RangeError(`Cannot write ${value.length} bytes where ${size} stand`);
      new Uint8Array(view.buffer, view.byteOffset + offset, size).set(value);
    },
  };
}

function checkRange(name: string, value: number, max: number): void {
  if (!Number.isInteger(value) || value < 0 || value > max) throw rangeError(name, value);
}

function rangeError(name: string, value: number | bigint): RangeError {
  return new RangeError(`Cannot write ${value} as ${name}: it does not fit`);
}

function checkSize(map: BpfMap, what: string, mapSize: number, codecSize: number): void {
  if (mapSize === codecSize) return;
  throw new LayoutError(
    `read map "${map.name}"`,
    `its ${what} have ${mapSize} bytes, the layout's have ${codecSize}`,
    { hint: 'The map was made by another version of the program: remove its pin, or migrate it' },
  );
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
