// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import {
  BpfMap,
  be16,
  be32,
  bytes,
  type Codec,
  LayoutError,
  possibleCpus,
  TypedMap,
  u32,
  u64,
} from '../src/index.js';
import { catchError } from './helpers/catch-error.js';

function create(type: 'hash' | 'array' | 'percpu_hash', valueSize = 8): BpfMap {
  return BpfMap.create({ type, name: 'typed', keySize: 4, valueSize, maxEntries: 1000 });
}

t.test('values go in and come out', async (t) => {
  using map = create('hash');
  const typed = new TypedMap(map, u32, u64);

  t.equal(typed.get(1), undefined);
  t.equal(typed.set(1, 2n ** 63n), true);
  t.equal(typed.set(1, 5n, 'noexist'), false);
  t.equal(typed.set(2, 7n, 'noexist'), true);

  t.equal(typed.get(1), 2n ** 63n);
  t.equal(typed.has(3), false);
  t.same([...typed.entries()].sort(), [
    [1, 2n ** 63n],
    [2, 7n],
  ]);
  t.same([...typed.keys()].sort(), [1, 2]);
  t.same([...typed.values()].length, 2);
  t.same(new Map(typed).size, 2, 'it can be iterated over');
  t.equal(typed.count(), 2);
  t.equal(typed.delete(1), true);
  t.equal(typed.delete(1), false);
  typed.clear();
  t.equal(typed.count(), 0);
});

t.test('entries that were read stay as they were', async (t) => {
  using map = create('hash');
  const typed = new TypedMap(map, bytes(4), bytes(8));
  for (let i = 0; i < 1000; i++) typed.set(Buffer.from([i & 255, i >> 8, 0, 0]), Buffer.alloc(8, i & 255));

  const entries = [...typed.entries()];

  t.equal(entries.length, 1000);
  t.ok(entries.every(([key, value]) => value.every((byte) => byte === key[0])));
});

t.test('a codec of another size is refused with both sizes', async (t) => {
  using map = create('hash', 12);

  t.equal(
    catchError(() => new TypedMap(map, u32, u64)).message,
    'Cannot read map "typed": its values have 12 bytes, the layout\'s have 8. ' +
      'The map was made by another version of the program: remove its pin, or migrate it',
  );
  t.throws(() => new TypedMap(map, u64, bytes(12)), LayoutError);
});

t.test('per-CPU values come as one per CPU', async (t) => {
  using map = create('percpu_hash', 4);
  const typed = new TypedMap(map, u32, u32);
  const values = Array.from({ length: possibleCpus() }, (_, cpu) => cpu + 10);

  t.equal(typed.getPerCpu(1), undefined);
  t.equal(typed.setPerCpu(1, values), true);
  t.same(typed.getPerCpu(1), values);
  t.equal(typed.has(1), true);
  t.match(catchError(() => typed.get(1)).message, /its values are per CPU: use getPerCpu/);
  t.throws(() => typed.set(1, 5), LayoutError);
  t.throws(() => [...typed.entries()], LayoutError);
});

t.test('an array counts every index', async (t) => {
  using map = create('array');

  t.equal(new TypedMap(map, u32, u64).count(), 1000);
});

t.test('codecs write their byte order', async (t) => {
  const written = <T>(codec: Codec<T>, value: T) => {
    const buffer = Buffer.alloc(codec.size + 2);
    const view = new DataView(buffer.buffer, buffer.byteOffset, buffer.length);
    codec.write(view, 1, value);
    t.same(codec.read(view, 1), value, 'and read it back');
    return buffer.subarray(1, -1).toString('hex');
  };
  const hostOrder = (hex: string) =>
    new Uint8Array(new Uint16Array([1]).buffer)[0] === 1
      ? Buffer.from(hex, 'hex').reverse().toString('hex')
      : hex;

  t.equal(written(u32, 0x01020304), hostOrder('01020304'));
  t.equal(written(u64, 0x0102030405060708n), hostOrder('0102030405060708'));
  t.equal(written(be16, 0x0102), '0102');
  t.equal(written(be32, 0xfffefdfc), 'fffefdfc');
  t.equal(written(bytes(3), new Uint8Array([1, 2, 3])), '010203');
});

t.test('numbers that do not fit are refused instead of cut off', async (t) => {
  const view = new DataView(new ArrayBuffer(8));

  for (const value of [-1, 2 ** 32, 1.5, Number.NaN]) t.throws(() => u32.write(view, 0, value), RangeError);
  for (const value of [-1n, 2n ** 64n]) t.throws(() => u64.write(view, 0, value), RangeError);
  t.throws(() => be16.write(view, 0, 65536), RangeError);
  t.throws(() => be32.write(view, 0, -1), RangeError);
  t.throws(() => bytes(4).write(view, 0, new Uint8Array(3)), RangeError);
});
