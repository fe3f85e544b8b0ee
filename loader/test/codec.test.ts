// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { readBtf } from '../src/btf-parser.js';
import { type Codec, codecOf, type Value } from '../src/codec.js';
import { Layouts } from '../src/layout.js';
import type { ScalarName, StructLayout, ValueType } from '../src/struct-layout.js';
import { camelCase } from '../src/ts-codec.js';
import * as generated from './fixtures/layouts.gen.js';
import { fixtureElf } from './helpers/objects.js';
import { Random } from './helpers/random.js';

const btf = readBtf(await fixtureElf('layouts'));
if (btf === undefined) throw new Error('The fixture has no BTF');
const layouts = new Layouts(btf);
const random = new Random(2026);

function randomScalar(scalar: ScalarName): Value {
  if (scalar === 'bool') return random.below(2) === 1;
  if (scalar === 'f32' || scalar === 'f64') return random.below(1000) / 8;
  const bits = Number(/\d+$/.exec(scalar)?.[0]);
  const wide = (BigInt(random.word()) << 32n) | BigInt(random.word());
  const edges = [0n, (1n << BigInt(bits)) - 1n, 1n << BigInt(bits - 1)];
  const raw = random.below(4) === 0 ? (edges[random.below(3)] ?? 0n) : wide;
  const value = scalar.startsWith('i') ? BigInt.asIntN(bits, raw) : BigInt.asUintN(bits, raw);
  return bits === 64 ? value : Number(value);
}

function randomValue(type: ValueType): Value {
  switch (type.kind) {
    case 'scalar':
      return randomScalar(type.scalar);
    case 'text':
      return String.fromCharCode(
        ...Array.from({ length: random.below(type.size) }, () => 33 + random.below(90)),
      );
    case 'bytes':
      return Uint8Array.from({ length: type.size }, () => random.below(256));
    case 'array':
      return Array.from({ length: type.length }, () => randomValue(type.element));
    case 'struct':
      return randomStruct(layouts.struct(type.name));
  }
}

function randomStruct(layout: StructLayout): Record<string, Value> {
  const fields = layout.fields.filter((field) => !field.padding);
  return Object.fromEntries(fields.map(({ name, type }) => [name, randomValue(type)]));
}

/** The same value with the generated code's field names. */
function camel(value: Value): Value {
  if (Array.isArray(value)) return value.map(camel);
  if (typeof value !== 'object' || value instanceof Uint8Array) return value;
  return Object.fromEntries(Object.entries(value).map(([name, item]) => [camelCase(name), camel(item)]));
}

const codecs: Record<string, Codec<unknown>> = {
  numbers: generated.numbersCodec as Codec<unknown>,
  packed_record: generated.packedRecordCodec as Codec<unknown>,
  shapes: generated.shapesCodec as Codec<unknown>,
};

for (const [name, codec] of Object.entries(codecs)) {
  t.test(`random values of struct ${name} come back, and both codecs write the same bytes`, async (t) => {
    const layout = layouts.struct(name);
    const interpreted = codecOf({ kind: 'struct', size: layout.size, name }, layouts);
    const at = 3;
    for (let i = 0; i < 500; i++) {
      const value = randomStruct(layout);
      const mine = new Uint8Array(codec.size + at).fill(0xff);
      const other = new Uint8Array(codec.size + at).fill(0xff);

      codec.write(new DataView(mine.buffer), at, camel(value));
      interpreted.write(new DataView(other.buffer), at, value);

      if (Buffer.compare(mine, other) !== 0) t.strictSame(mine, other, 'the same bytes, padding zeroed');
      const back = codec.read(new DataView(mine.buffer), at);
      if (JSON.stringify(back, print) !== JSON.stringify(camel(value), print))
        t.strictSame(back, camel(value));
      const backToo = interpreted.read(new DataView(other.buffer), at);
      if (JSON.stringify(backToo, print) !== JSON.stringify(value, print)) t.strictSame(backToo, value);
    }
    t.pass('500 values');
  });
}

function print(_key: string, value: unknown): unknown {
  return typeof value === 'bigint' ? `${value}n` : value;
}

t.test('bytes are where C has them, network order as on the wire', async (t) => {
  const bytes = new Uint8Array(generated.NUMBERS.size);
  const view = new DataView(bytes.buffer);
  const zeros = generated.numbersCodec.read(view, 0);

  generated.numbersCodec.write(view, 0, {
    ...zeros,
    be16: 0x1234,
    le16: 0x1234,
    be32: 0xc0a80001,
    s8: -2,
    flag: true,
  });

  const { offset } = generated.NUMBERS;
  t.strictSame([...bytes.subarray(offset.be16, offset.be16 + 2)], [0x12, 0x34]);
  t.strictSame([...bytes.subarray(offset.le16, offset.le16 + 2)], [0x34, 0x12]);
  t.strictSame([...bytes.subarray(offset.be32, offset.be32 + 4)], [192, 168, 0, 1]);
  t.equal(bytes[offset.s8], 0xfe);
  t.equal(bytes[offset.flag], 1);
});

t.test('what does not fit is a RangeError that names the field', async (t) => {
  const view = new DataView(new ArrayBuffer(generated.SHAPES.size));
  const shapes = generated.shapesCodec.read(view, 0);
  const numbers = generated.numbersCodec.read(view, 0);
  const write = (change: Partial<generated.Shapes>) => () =>
    generated.shapesCodec.write(view, 0, { ...shapes, ...change });
  const writeNumbers = (change: Partial<generated.Numbers>) => () =>
    generated.numbersCodec.write(view, 0, { ...numbers, ...change });

  t.throws(writeNumbers({ u16: 65536 }), {
    name: 'RangeError',
    message: /numbers\.u16: 65536 is no whole number from 0 to 65535/,
  });
  t.throws(writeNumbers({ s8: -129 }), RangeError);
  t.throws(writeNumbers({ u32: 1.5 }), RangeError);
  t.throws(writeNumbers({ be32: Number.NaN }), RangeError);
  t.throws(writeNumbers({ u64: -1n }), { message: /numbers\.u64/ });
  t.throws(writeNumbers({ s64: 1n << 63n }), { message: /numbers\.s64/ });
  t.throws(write({ name: 'sixteen letters!' }), {
    message: /shapes\.name: "sixteen letters!" is not text of at most 15 bytes/,
  });
  t.throws(write({ name: 'a\0b' }), RangeError);
  t.throws(write({ longArray: [1, 2] }), { message: /shapes\.long_array: 2 elements where 9 are needed/ });
  t.throws(write({ either: new Uint8Array(7) }), { message: /shapes\.either/ });
  const small = new DataView(new ArrayBuffer(generated.SHAPES.offset.lastSeenNs));
  t.throws(() => generated.shapesCodec.read(small, 0), RangeError, 'reading beyond the view');
});

t.test('the interpreting codec refuses the same, and missing fields', async (t) => {
  const layout = layouts.struct('numbers');
  const codec = codecOf({ kind: 'struct', size: layout.size, name: 'numbers' }, layouts);
  const view = new DataView(new ArrayBuffer(layout.size));
  const value = codec.read(view, 0) as Record<string, Value>;

  t.throws(() => codec.write(view, 0, { ...value, u16: 65536 }), {
    name: 'RangeError',
    message: /numbers\.u16/,
  });
  t.throws(() => codec.write(view, 0, { ...value, u64: 5 }), RangeError, 'a number where a bigint is needed');
  t.throws(() => codec.write(view, 0, { u8: 1 }), {
    name: 'LayoutError',
    message: /numbers\.s8: no value is given/,
  });
});

t.test('text ends at its NUL, or at the end of its field', async (t) => {
  const view = new DataView(new ArrayBuffer(generated.SHAPES.size));
  new Uint8Array(view.buffer).set(new TextEncoder().encode('eth0\0junk'));
  t.equal(generated.shapesCodec.read(view, 0).name, 'eth0');

  new Uint8Array(view.buffer).fill(0x61, 0, 16);
  t.equal(generated.shapesCodec.read(view, 0).name, 'a'.repeat(16));
});
