// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import t from 'tap';
import {
  BpfMap,
  LayoutError,
  MapFlag,
  type MapOptions,
  type MapType,
  possibleCpus,
  SyscallError,
} from '../src/index.js';
import { catchError } from './helpers/catch-error.js';
import { lacking } from './helpers/lacking.js';

/** A number as a key or value of `size` bytes. */
function number(value: number, size = 4): Buffer {
  const bytes = Buffer.alloc(size);
  bytes.writeUInt32LE(value);
  return bytes;
}

function create(type: MapType, options: Partial<MapOptions> = {}): BpfMap {
  return BpfMap.create({ type, name: `test_${type}`, keySize: 4, valueSize: 8, maxEntries: 64, ...options });
}

/** The numbers that are keys of a map, ascending. */
function keysOf(map: BpfMap): number[] {
  return [...map.keys()].map((key) => key.readUInt32LE()).sort((a, b) => a - b);
}

/** Why a test is skipped that needs maps of this type, or false. */
function refused(type: MapType): string | false {
  try {
    create(type, { keySize: 0 }).close();
    return false;
  } catch (error) {
    return `this kernel has no maps of type ${type}: ${(error as Error).message}`;
  }
}

/** Since Linux 5.14, which no feature tells; this one is of 5.17. */
const withoutTake = lacking('loop-helper');

const hashTypes: [MapType, number][] = [
  ['hash', 0],
  ['hash', MapFlag.NO_PREALLOC],
  ['lru_hash', 0],
  ['percpu_hash', 0],
  ['lru_percpu_hash', 0],
];

for (const [type, flags] of hashTypes) {
  t.test(`${type} (flags ${flags}) stores, reads, walks and deletes`, async (t) => {
    using map = create(type, { flags });
    const value = (n: number) => Buffer.alloc(map.valueSize, n);

    t.equal(map.get(number(1)), undefined);
    t.equal(map.has(number(1)), false);
    for (const n of [1, 2, 3]) t.equal(map.set(number(n), value(n)), true);

    t.same(map.get(number(2)), value(2));
    t.equal(map.has(number(2)), true);
    t.same(keysOf(map), [1, 2, 3]);
    t.same(
      [...map.entries()].map(([key, bytes]) => [key.readUInt32LE(), bytes]).sort(),
      [1, 2, 3].map((n) => [n, value(n)]),
    );
    t.equal(map.delete(number(2)), true);
    t.equal(map.delete(number(2)), false, 'it is gone already');
    t.same(keysOf(map), [1, 3]);
    map.clear();
    t.same(keysOf(map), []);
  });
}

t.test('set() tells new keys from existing ones', async (t) => {
  using map = create('hash');
  const [first, second] = [Buffer.alloc(8, 1), Buffer.alloc(8, 2)];

  t.equal(map.set(number(1), first, 'exist'), false, 'exist on a missing key');
  t.equal(map.set(number(1), first, 'noexist'), true, 'noexist on a missing key');
  t.equal(map.set(number(1), second, 'noexist'), false, 'noexist on an existing key');
  t.same(map.get(number(1)), first, 'which changes nothing');
  t.equal(map.set(number(1), second, 'exist'), true, 'exist on an existing key');
  t.same(map.get(number(1)), second);
});

t.test('an array has every index and no deletion', async (t) => {
  using map = create('array', { maxEntries: 3 });
  map.set(number(2), Buffer.alloc(8, 7));

  t.same(keysOf(map), [0, 1, 2]);
  t.same(map.get(number(0)), Buffer.alloc(8));
  t.equal(map.get(number(3)), undefined, 'beyond its end');
  t.equal(map.set(number(1), Buffer.alloc(8), 'noexist'), false);
  t.match(
    catchError(() => map.delete(number(1))),
    { errnoName: 'EINVAL' },
  );
  map.clear();
  t.same(map.get(number(2)), Buffer.alloc(8), 'clear() writes zeros');
});

t.test('a per-CPU map has a value for every possible CPU', async (t) => {
  for (const type of ['percpu_hash', 'percpu_array', 'lru_percpu_hash'] as const) {
    using map = create(type, { valueSize: 12 });
    const values = Array.from({ length: possibleCpus() }, (_, cpu) => Buffer.alloc(12, cpu + 1));

    t.equal(map.isPerCpu, true);
    t.equal(map.cpuValueSize, 12);
    t.equal(map.valueSize, 16 * possibleCpus(), 'each CPU’s value is padded to 8');
    t.equal(map.setPerCpu(number(1), values), true);
    t.same(map.getPerCpu(number(1)), values);
    t.equal(map.get(number(1))?.length, map.valueSize);
    t.throws(() => map.setPerCpu(number(1), [Buffer.alloc(12)].slice(possibleCpus())), LayoutError);
    t.throws(
      () =>
        map.setPerCpu(
          number(1),
          values.map(() => Buffer.alloc(11)),
        ),
      LayoutError,
    );
    if (type !== 'percpu_array') t.equal(map.getPerCpu(number(9)), undefined);
  }
  using plain = create('hash');
  t.match(catchError(() => plain.getPerCpu(number(1))).message, /its type hash has one value for all CPUs/);
});

t.test('an lpm_trie finds the longest prefix', async (t) => {
  using map = create('lpm_trie', { keySize: 8, flags: MapFlag.NO_PREALLOC });
  const prefix = (length: number, ...address: number[]) => Buffer.from([length, 0, 0, 0, ...address]);
  map.set(prefix(8, 10, 0, 0, 0), Buffer.alloc(8, 8));
  map.set(prefix(24, 10, 1, 2, 0), Buffer.alloc(8, 24));

  t.same(map.get(prefix(32, 10, 1, 2, 3)), Buffer.alloc(8, 24));
  t.same(map.get(prefix(32, 10, 9, 9, 9)), Buffer.alloc(8, 8));
  t.equal(map.get(prefix(32, 11, 0, 0, 1)), undefined);
  t.equal([...map.entries()].length, 2);
  map.clear();
  t.equal([...map.keys()].length, 0);
});

t.test('a queue gives in order, a stack in reverse', { skip: refused('queue') }, async (t) => {
  const nothing = Buffer.alloc(0);
  for (const [type, expected] of [
    ['queue', [1, 2]],
    ['stack', [2, 1]],
  ] as const) {
    using map = create(type, { keySize: 0 });
    map.set(nothing, Buffer.alloc(8, 1));
    map.set(nothing, Buffer.alloc(8, 2));

    t.same(map.get(nothing), Buffer.alloc(8, expected[0]), 'a look leaves it there');
    t.same(map.take(nothing), Buffer.alloc(8, expected[0]));
    t.same(map.take(nothing), Buffer.alloc(8, expected[1]));
    t.equal(map.take(nothing), undefined);
  }
});

t.test('a map of maps holds maps and reads as their ids', async (t) => {
  using inner = create('array');
  using outer = create('hash_of_maps', { valueSize: 4, inner });

  outer.set(number(1), number(inner.fd));

  t.equal(outer.get(number(1))?.readUInt32LE(), inner.id);
  t.same(keysOf(outer), [1]);
});

t.test('take() returns and deletes at once', { skip: withoutTake }, async (t) => {
  using map = create('hash');
  map.set(number(1), Buffer.alloc(8, 5));

  t.same(map.take(number(1)), Buffer.alloc(8, 5));
  t.equal(map.take(number(1)), undefined);
});

t.test('a full map says so', async (t) => {
  using map = create('hash', { maxEntries: 2 });
  map.set(number(1), Buffer.alloc(8));
  map.set(number(2), Buffer.alloc(8));

  const error = catchError(() => map.set(number(3), Buffer.alloc(8)));

  t.ok(error instanceof SyscallError);
  t.equal(
    error.message,
    'Cannot write an entry of map "test_hash": argument list too long (E2BIG). It has 2 entries at most',
  );
});

t.test('keys and values of a wrong size never reach the kernel', async (t) => {
  using map = create('hash');

  t.equal(
    catchError(() => map.get(Buffer.alloc(3))).message,
    'Cannot use map "test_hash": its key has 4 bytes, 3 were given',
  );
  t.throws(() => map.set(number(1), Buffer.alloc(7)), LayoutError);
  t.throws(() => map.getInto(number(1), Buffer.alloc(9)), LayoutError);
  t.throws(() => map.delete(Buffer.alloc(5)), LayoutError);
  t.throws(() => map.deleteBatch(Buffer.alloc(7), 2), LayoutError);
});

t.test('a map is found by its id and described as it was created', async (t) => {
  using map = create('lru_hash', { name: 'a_name_that_the_kernel_cuts_off', keySize: 6, maxEntries: 100 });

  using same = BpfMap.fromId(map.id);

  t.match(map, { name: 'a_name_that_the_kernel_cuts_off' });
  t.match(same, {
    id: map.id,
    name: 'a_name_that_the',
    type: 'lru_hash',
    keySize: 6,
    valueSize: 8,
    maxEntries: 100,
    flags: 0,
  });
  t.not(same.fd, map.fd);
  t.ok(map.memoryBytes() > 100 * 14, `${map.memoryBytes()} bytes`);
});

t.test('creation errors say what was to be created', async (t) => {
  t.equal(
    catchError(() => create('hash', { keySize: 0 })).message,
    'Cannot create map "test_hash" (hash of 64 entries, keys of 0 and values of 8 bytes): invalid argument (EINVAL)',
  );
});

t.test('without privileges the error names the capability', async (t) => {
  const index = new URL('../src/index.js', import.meta.url).href;
  const script = `import { BpfMap } from '${index}';
    process.setgroups([]); process.setgid(65534); process.setuid(65534);
    try { BpfMap.create({ type: 'lru_hash', name: 'x', keySize: 4, valueSize: 4, maxEntries: 1 }); }
    catch (error) { console.log(error.errnoName, error.message); }`;

  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' });

  t.match(
    stdout,
    /^EPERM Cannot create map "x" .*operation not permitted \(EPERM\)\. Run as root, or with .*CAP_BPF/,
  );
});

t.test('a frozen map refuses writes', { skip: lacking('global-data') }, async (t) => {
  using map = create('array');
  map.freeze();

  t.match(
    catchError(() => map.set(number(0), Buffer.alloc(8))),
    { errnoName: 'EPERM' },
  );
});

t.test('a file descriptor that is no map is refused', async (t) => {
  t.match(
    catchError(() => BpfMap.fromFd(9999)),
    { errnoName: 'EBADF' },
  );
  t.match(
    catchError(() => BpfMap.fromId(0xffff_fff0)),
    { errnoName: 'ENOENT' },
  );
});

t.test('close() closes what is owned, once, and leaves what is borrowed', async (t) => {
  const map = create('hash');
  const { fd } = map;
  const borrowed = BpfMap.fromFd(fd, { borrowed: true });
  borrowed.close();
  t.equal(map.get(number(1)), undefined, 'still open');
  map.close();
  // the number is free for another map now, which a second close() must not hit
  using other = create('hash');

  map.close();

  t.equal(other.fd, fd);
  t.equal(other.get(number(1)), undefined);
  t.equal(map.isOpen, false);
  t.match(catchError(() => map.get(number(1))).message, 'Cannot use map "test_hash": it is closed');
});
