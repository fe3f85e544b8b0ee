// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import type { Btf } from '../src/btf.js';
import { lineAt, readBtfExt } from '../src/btf-ext.js';
import { parseBtf, readBtf } from '../src/btf-parser.js';
import { FormatError } from '../src/errors.js';
import { readMapSpecs } from '../src/map-spec.js';
import { fixtureElf } from './helpers/objects.js';

/** A BTF section of the given types (each a list of 32-bit words) and strings. */
function makeBtf(types: number[][], strings: string, littleEndian = true): Uint8Array {
  const words = types.flat();
  const bytes = new Uint8Array(24 + words.length * 4 + strings.length + 2);
  const view = new DataView(bytes.buffer);
  view.setUint16(0, 0xeb9f, littleEndian);
  view.setUint8(2, 1);
  [24, 0, words.length * 4, words.length * 4, strings.length + 2].forEach((word, i) => {
    view.setUint32(4 + i * 4, word, littleEndian);
  });
  words.forEach((word, i) => {
    view.setUint32(24 + i * 4, word >>> 0, littleEndian);
  });
  bytes.set(new TextEncoder().encode(`\0${strings}\0`), 24 + words.length * 4);
  return bytes;
}

const INT = [1, (1 << 24) >>> 0, 4, (1 << 24) | 32];

async function fixtureBtf(name: string): Promise<Btf> {
  const btf = readBtf(await fixtureElf(name));
  if (btf === undefined) throw new Error('The fixture has no BTF');
  return btf;
}

t.test('readBtf finds structs, enums and tags of an object', async (t) => {
  const btf = await fixtureBtf('layouts');

  const packed = btf.find('struct', 'packed_record');
  t.match(packed, { size: 7 });
  t.strictSame(
    packed?.members.map(({ name, bitOffset }) => [name, bitOffset]),
    [
      ['kind', 0],
      ['value', 8],
      ['tail', 40],
    ],
  );
  t.match(btf.find('enum', 'signed_level')?.values, [
    { name: 'LEVEL_LOW', value: -2n },
    { name: 'LEVEL_HIGH', value: 2n },
  ]);
  t.match(btf.find('enum64', 'wide')?.values.at(-1), { name: 'WIDE_LARGE', value: 1n << 60n });
  const shapes = btf.find('struct', 'shapes');
  const index = shapes?.members.findIndex((member) => member.name === 'last_seen_ns') ?? -1;
  t.strictSame(btf.tags(shapes?.id ?? 0, index), ['doc:from a tag']);
  t.strictSame(btf.tags(shapes?.id ?? 0, index - 1), [], 'the tag is of that member only');
  t.equal(btf.find('struct', 'nobody'), undefined);
});

t.test('resolve follows typedefs and qualifiers, and stops at a definition by itself', async (t) => {
  const typedef = (target: number): number[] => [1, (8 << 24) >>> 0, target];
  const btf = parseBtf(makeBtf([INT, typedef(1), typedef(2)], 'x'));
  const circle = parseBtf(makeBtf([typedef(2), typedef(1)], 'x'));

  t.equal(btf.resolve(3).id, 1);
  t.throws(() => circle.resolve(1), { message: /defined by itself/ });
});

t.test('parseBtf reads big-endian sections', async (t) => {
  t.match(parseBtf(makeBtf([INT], 'int', false), false).type(1), {
    kind: 'int',
    name: 'int',
    size: 4,
    bits: 32,
  });
});

t.test('parseBtf refuses sections that contradict themselves', async (t) => {
  const cases: [string, Uint8Array, RegExp][] = [
    ['no magic', new Uint8Array(24), /magic/],
    ['a type beyond the last', makeBtf([[0, (2 << 24) >>> 0, 9]], 'x'), /refers to 9 of 2/],
    ['a name beyond the strings', makeBtf([[99, (2 << 24) >>> 0, 0]], 'x'), /1 bytes are needed/],
    ['a kind that is not there', makeBtf([[0, (31 << 24) >>> 0, 0]], 'x'), /kind 31 is unknown/],
    ['more members than bytes', makeBtf([[0, ((4 << 24) | 60000) >>> 0, 8]], 'x'), /720000 bytes are needed/],
    ['an int wider than its bytes', makeBtf([[1, (1 << 24) >>> 0, 1, 32]], 'x'), /32 bits in 1 bytes/],
  ];
  for (const [what, bytes, message] of cases) {
    t.throws(() => parseBtf(bytes), { name: 'FormatError', message }, what);
  }
  t.throws(() => parseBtf(makeBtf([INT], 'x').subarray(0, 30)), FormatError, 'a cut section');
});

t.test('readMapSpecs reads the maps of an object by name', async (t) => {
  const specs = readMapSpecs(await fixtureBtf('layouts'));

  t.match(
    specs.map(({ name, typeName, maxEntries, flags }) => [name, typeName, maxEntries, flags]),
    [
      ['counters', 'percpu_array', 34, 0],
      ['events', 'perf_event_array', 0, 0],
      ['labels', 'array', 1, 0],
      ['shapes', 'hash', 128, 1],
    ],
  );
  t.match(specs[1], { keySize: 4, valueSize: 4 });
});

t.test('lineAt names the C line of an instruction', async (t) => {
  const elf = await fixtureElf('floor/good');
  const btf = readBtf(elf);
  const ext = btf && readBtfExt(elf, btf);

  const line = lineAt(ext, 'xdp', 16);
  t.match(line, { file: 'floor/good.bpf.c', text: /return bpf_redirect/ });
  t.equal(lineAt(ext, 'nowhere', 0), undefined);
});
