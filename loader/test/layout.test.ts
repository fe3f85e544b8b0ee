// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { Btf, type BtfType } from '../src/btf.js';
import { readBtf } from '../src/btf-parser.js';
import { ByteReader } from '../src/byte-reader.js';
import { LayoutError } from '../src/errors.js';
import { Layouts } from '../src/layout.js';
import { shapeDifferences, shapeOf } from '../src/shape.js';
import { typeText } from '../src/struct-layout.js';
import { fixtureElf } from './helpers/objects.js';

const btf = readBtf(await fixtureElf('layouts'));
if (btf === undefined) throw new Error('The fixture has no BTF');

/** Layouts of types written by hand; void is added. */
function layoutsOf(...types: BtfType[]): Layouts {
  const all: BtfType[] = [{ id: 0, kind: 'void', name: '' }, ...types];
  return new Layouts(new Btf(all, new ByteReader(new Uint8Array(1), 'strings', true)));
}

const u32: BtfType = {
  id: 1,
  kind: 'int',
  name: 'unsigned int',
  size: 4,
  bits: 32,
  signed: false,
  encoding: 'number',
};

t.test('a struct has its fields with offset, byte order and gaps', async (t) => {
  const { size, fields, gaps } = new Layouts(btf).struct('numbers');

  t.equal(size, 72);
  t.strictSame(
    fields.map(({ name, offset, type }) => `${name} ${offset} ${typeText(type)}`),
    [
      'u8 0 u8',
      's8 1 i8',
      'u16 2 u16',
      's16 4 i16',
      'u32 8 u32',
      's32 12 i32',
      'u64 16 u64',
      's64 24 i64',
      'be16 32 be16',
      'le16 34 le16',
      'be32 36 be32',
      'be64 40 be64',
      'flag 48 bool',
      'warmth 52 u32',
      'level 56 i32',
      'pointer 64 u64',
    ],
  );
  t.strictSame(gaps, [
    { offset: 6, size: 2 },
    { offset: 49, size: 3 },
    { offset: 60, size: 4 },
  ]);
});

t.test('unnamed structs are part of their parent, named ones are called after it', async (t) => {
  const layouts = new Layouts(btf);
  const fields = layouts
    .struct('shapes')
    .fields.map(({ name, type, padding }) => [name, typeText(type), padding]);

  t.strictSame(fields.slice(5), [
    ['point', 'struct point_t', false],
    ['inner_a', 'u8', false],
    ['inner_b', 'u32', false],
    ['named_inner', 'struct shapes_named_inner', false],
    ['either', 'union(8)', false],
    ['pad', 'u8[2]', true],
    ['last_seen_ns', 'u8', false],
    ['reserved0', 'u8', true],
  ]);
  t.strictSame([...layouts.structs.keys()], ['numbers', 'point_t', 'shapes_named_inner', 'shapes']);
});

t.test('arrays keep the order of their lengths, also of text', async (t) => {
  const fields = new Layouts(btf).struct('shapes').fields;

  t.strictSame(
    fields.slice(0, 5).map(({ type }) => typeText(type)),
    ['char[16]', 'char[2][4]', 'be32[2][4]', 'u16[9]', 'struct numbers[2]'],
  );
});

t.test('what cannot be laid out says which struct and field, and why', async (t) => {
  const member = (name: string, bitOffset: number, bitfieldSize = 0) => ({
    name,
    type: 1,
    bitOffset,
    bitfieldSize,
  });
  const struct = (size: number, ...members: ReturnType<typeof member>[]): Layouts =>
    layoutsOf(u32, { id: 2, kind: 'struct', name: 's', size, members });

  t.throws(() => struct(4, member('f', 0, 3)).struct('s'), {
    name: 'LayoutError',
    message: /s: f is a bit field/,
  });
  t.throws(() => struct(4, member('f', 32)).struct('s'), { message: /s: f ends beyond its 4 bytes/ });
  t.throws(() => struct(8, member('f', 0), member('g', 16)).struct('s'), { message: /s: g overlaps/ });
  t.throws(() => layoutsOf(u32).struct('s'), { message: /struct s: the object's BTF has none/ });
  t.throws(() => layoutsOf(u32).of(0, 'nothing'), { message: /nothing: void/ });
  t.throws(
    () => layoutsOf({ ...u32, kind: 'array', name: '', element: 1, index: 1, length: 2 }).of(1),
    LayoutError,
    'an array of itself',
  );
});

t.test('shapeDifferences names what differs', async (t) => {
  const shape = { name: 'flow', size: 12, fields: [{ name: 'a', offset: 0, type: 'u32' }] };
  const other = (offset: number, type: string, name = 'a') => ({
    name: 'flow',
    size: 12,
    fields: [{ name, offset, type }],
  });

  t.strictSame(shapeDifferences(shape, shape), []);
  t.strictSame(shapeDifferences(shape, other(4, 'u32')), ['flow.a: at 4, expected 0']);
  t.strictSame(shapeDifferences(shape, other(0, 'be32')), ['flow.a: be32, expected u32']);
  t.strictSame(shapeDifferences(shape, other(0, 'u32', 'b')), ['flow.a: missing', 'flow.b: not expected']);
  t.strictSame(shapeDifferences(shape, { ...shape, size: 16 }), ['flow: 16 bytes, expected 12']);
  const numbers = shapeOf(new Layouts(btf).struct('numbers'));
  t.strictSame(shapeDifferences(numbers, numbers), []);
});
