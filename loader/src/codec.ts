// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Values to bytes and back. Generated files hold straight-line codecs of the same interface (bpf2ts.ts);
 * the ones made here interpret a layout and serve objects that nothing was generated for.
 *
 * Numbers: 64 bits are bigint, less is number. Arrays are arrays, char[N] is a string that ends at its NUL.
 * Padding is written as zero. What does not fit is a RangeError that names struct and field.
 */
import { endianness } from 'node:os';
import { LayoutError } from './errors.js';
import type { MapType } from './kernel-types.js';
import type { Layouts } from './layout.js';
import type { ScalarName, StructLayout, ValueType } from './struct-layout.js';

export interface Codec<T> {
  /** Bytes that a value takes. */
  readonly size: number;
  /** The value at `offset`. @throws RangeError if the view ends before its last field does */
  read(view: DataView, offset: number): T;
  /** Stores a value at `offset`. @throws RangeError if it does not fit its field, or the view ends */
  write(view: DataView, offset: number, value: T): void;
}

/** What a generated file says of a map: enough to open it and to refuse one that differs. */
export interface MapLayout<K, V> {
  readonly name: string;
  readonly type: MapType;
  /** Default: userspace may set another before it loads. */
  readonly maxEntries: number;
  /** BPF_F_* at creation. */
  readonly flags: number;
  readonly key: Codec<K>;
  /** Of per-CPU maps: one CPU's value. */
  readonly value: Codec<V>;
}

/** Values as decoded without a generated type. */
export type Value = number | bigint | boolean | string | Uint8Array | Value[] | { [field: string]: Value };

/** Whether this machine is little-endian: the byte order of every field that is not be/le. */
const HOST_LITTLE_ENDIAN = endianness() === 'LE';

/**
 * A codec that interprets a type's layout. Field names are as in C.
 * @param name how errors call the value
 */
export function codecOf(type: ValueType, layouts: Layouts, name = 'value'): Codec<Value> {
  switch (type.kind) {
    case 'scalar':
      return scalarCodec(type.scalar, name);
    case 'text':
      return textCodec(type.size, name);
    case 'bytes':
      return bytesCodec(type.size, name);
    case 'array':
      return arrayCodec(codecOf(type.element, layouts, name), type.length, name);
    case 'struct':
      return structCodec(layouts.struct(type.name), layouts);
  }
}

function structCodec(layout: StructLayout, layouts: Layouts): Codec<Value> {
  const fields = layout.fields
    .filter((field) => !field.padding)
    .map(({ name, offset, type }) => ({
      name,
      offset,
      codec: codecOf(type, layouts, `${layout.name}.${name}`),
    }));
  return {
    size: layout.size,
    read(view, offset) {
      return Object.fromEntries(
        fields.map((field) => [field.name, field.codec.read(view, offset + field.offset)]),
      );
    },
    write(view, offset, value) {
      new Uint8Array(view.buffer, view.byteOffset + offset, layout.size).fill(0);
      const record = value as Record<string, Value>;
      for (const field of fields) {
        const item = record[field.name];
        if (item === undefined)
          throw new LayoutError(`Cannot write ${layout.name}.${field.name}: no value is given`);
        field.codec.write(view, offset + field.offset, item);
      }
    },
  };
}

function arrayCodec(element: Codec<Value>, length: number, name: string): Codec<Value> {
  return {
    size: element.size * length,
    read: (view, offset) => Array.from({ length }, (_, i) => element.read(view, offset + i * element.size)),
    write(view, offset, value) {
      const items = value as Value[];
      if (items.length !== length) {
        throw new RangeError(`Cannot write ${name}: ${items.length} elements where ${length} are needed`);
      }
      items.forEach((item, i) => {
        element.write(view, offset + i * element.size, item);
      });
    },
  };
}

function textCodec(size: number, name: string): Codec<Value> {
  return {
    size,
    read(view, offset) {
      const bytes = new Uint8Array(view.buffer, view.byteOffset + offset, size);
      const end = bytes.indexOf(0);
      return new TextDecoder().decode(end < 0 ? bytes : bytes.subarray(0, end));
    },
    write(view, offset, value) {
      const bytes = new TextEncoder().encode(value as string);
      if (bytes.length >= size || bytes.includes(0)) {
        throw new RangeError(`Cannot write ${name}: "${value}" is not text of at most ${size - 1} bytes`);
      }
      const target = new Uint8Array(view.buffer, view.byteOffset + offset, size);
      target.fill(0);
      target.set(bytes);
    },
  };
}

function bytesCodec(size: number, name: string): Codec<Value> {
  return {
    size,
    read: (view, offset) => new Uint8Array(view.buffer, view.byteOffset + offset, size).slice(),
    write(view, offset, value) {
      const bytes = value as Uint8Array;
      if (bytes.length !== size)
        throw new RangeError(`Cannot write ${name}: ${bytes.length} bytes, not ${size}`);
      new Uint8Array(view.buffer, view.byteOffset + offset, size).set(bytes);
    },
  };
}

function scalarCodec(scalar: ScalarName, name: string): Codec<Value> {
  if (scalar === 'bool') {
    return {
      size: 1,
      read: (view, offset) => view.getUint8(offset) !== 0,
      write: (view, offset, value) => view.setUint8(offset, value ? 1 : 0),
    };
  }
  const bits = Number(/\d+$/.exec(scalar)?.[0]);
  const little = scalar.startsWith('le') || (!scalar.startsWith('be') && HOST_LITTLE_ENDIAN);
  if (scalar.startsWith('f')) {
    const [get, set] =
      bits === 32 ? (['getFloat32', 'setFloat32'] as const) : (['getFloat64', 'setFloat64'] as const);
    return {
      size: bits / 8,
      read: (view, offset) => view[get](offset, little),
      write: (view, offset, value) => view[set](offset, value as number, little),
    };
  }
  const signed = scalar.startsWith('i');
  const low = signed ? -(1n << BigInt(bits - 1)) : 0n;
  const high = (1n << BigInt(signed ? bits - 1 : bits)) - 1n;
  return {
    size: bits / 8,
    read(view, offset) {
      const wide = readWide(view, offset, bits / 8, little);
      const value = signed ? BigInt.asIntN(bits, wide) : wide;
      return bits === 64 ? value : Number(value);
    },
    write(view, offset, value) {
      const whole = bits === 64 ? typeof value === 'bigint' : Number.isInteger(value);
      if (!whole || (value as number) < low || (value as number) > high) {
        throw new RangeError(`Cannot write ${name}: ${value} is no whole number from ${low} to ${high}`);
      }
      writeWide(view, offset, bits / 8, little, BigInt(value as number));
    },
  };
}

function readWide(view: DataView, offset: number, size: number, little: boolean): bigint {
  let value = 0n;
  for (let i = 0; i < size; i++)
    value = (value << 8n) | BigInt(view.getUint8(offset + (little ? size - 1 - i : i)));
  return value;
}

function writeWide(view: DataView, offset: number, size: number, little: boolean, value: bigint): void {
  for (let i = 0; i < size; i++) {
    view.setUint8(offset + (little ? i : size - 1 - i), Number((value >> BigInt(8 * i)) & 0xffn));
  }
}
