// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t, { type Test } from 'tap';
import { BpfMap, batchSupported, type MapType } from '../src/index.js';
import { catchError } from './helpers/catch-error.js';
import { lacking } from './helpers/lacking.js';

const MAPS: [MapType, number, number][] = [
  ['hash', 4, 0],
  ['lru_hash', 4, 0],
  ['percpu_hash', 4, 0],
  ['lpm_trie', 8, 1],
];

/** Runs a test with the kernel's batches and without them. */
function test(name: string, body: (t: Test, map: (entries: number) => BpfMap) => void): void {
  for (const disabled of ['', 'batch']) {
    for (const [type, keySize, flags] of MAPS) {
      t.test(`${type}${disabled === '' ? '' : ' without batches'}: ${name}`, async (t) => {
        process.env.LIBBPF_TS_DISABLE = disabled;
        const maps: BpfMap[] = [];
        t.teardown(() => {
          for (const map of maps) map.close();
        });
        body(t, (entries) => {
          const map = BpfMap.create({ type, name: 'walked', keySize, valueSize: 8, maxEntries: 4096, flags });
          maps.push(map);
          for (let i = 0; i < entries; i++) map.set(keyOf(map, i), Buffer.alloc(map.valueSize));
          return map;
        });
      });
    }
  }
}

/** The key of entry `n`; of tries a whole address. */
function keyOf(map: BpfMap, n: number): Buffer {
  const key = Buffer.alloc(map.keySize);
  if (map.keySize === 8) key.writeUInt32LE(32);
  key.writeUInt32BE(n, map.keySize - 4);
  return key;
}

function numberOf(key: Uint8Array): number {
  return Buffer.from(key).readUInt32BE(key.length - 4);
}

function range(count: number): number[] {
  return Array.from({ length: count }, (_, i) => i);
}

const ascending = (a: number, b: number) => a - b;

test('a walk without changes meets each entry once', (t, make) => {
  const map = make(3000);

  t.same([...map.keys()].map(numberOf).sort(ascending), range(3000));
  t.same([...map.entries()].map(([key]) => numberOf(key)).sort(ascending), range(3000));
});

test('an empty map is walked', (t, make) => {
  const map = make(0);

  t.same([...map.keys()], []);
  t.same([...map.lookupBatch(10)], []);
});

test('a walk that deletes what it meets empties the map', (t, make) => {
  const map = make(3000);
  const met = new Set<number>();

  for (const key of map.keys()) {
    met.add(numberOf(key));
    map.delete(key);
  }

  t.equal(met.size, 3000);
  t.same([...map.keys()], []);
});

test('keys that stay are met although all others vanish during the walk', (t, make) => {
  const map = make(3000);
  const stays = (n: number) => n % 50 === 0;
  const met = new Set<number>();
  let walked = 0;

  for (const [key] of map.entries()) {
    met.add(numberOf(key));
    // after a few steps everything goes, behind the walk and ahead of it, its next key included
    if (++walked === 500) {
      for (const n of range(3000)) if (!stays(n)) map.delete(keyOf(map, n));
    }
    if (walked > 10_000) throw new Error('The walk does not end');
  }

  t.same([...met].filter(stays).sort(ascending), range(3000).filter(stays));
});

test('a walk ends although its neighbour is deleted at every step', (t, make) => {
  const map = make(2000);
  const partner = (n: number) => n ^ 1;
  let walked = 0;

  for (const key of map.keys()) {
    map.delete(key);
    map.delete(keyOf(map, partner(numberOf(key))));
    if (++walked > 10_000) throw new Error('The walk does not end');
  }

  t.same([...map.keys()], []);
  t.ok(walked >= 1000 && walked <= 2000, `${walked} keys`);
});

test('a walk ends although the key that comes next vanishes at every step', (t, make) => {
  const map = make(500);
  const order = [...map.keys()].map(numberOf);
  const successor = new Map(order.map((n, i) => [n, order[i + 1]]));
  let absent: number | undefined;
  let walked = 0;

  for (const [key] of map.entries()) {
    if (absent !== undefined) map.set(keyOf(map, absent), Buffer.alloc(map.valueSize));
    absent = successor.get(numberOf(key));
    if (absent !== undefined) map.delete(keyOf(map, absent));
    if (++walked > 2000) throw new Error('The walk does not end');
  }

  t.ok(walked >= 250 && walked <= 1000, `${walked} entries`);
});

test('batches hold every entry', (t, make) => {
  const map = make(1000);
  const met: number[] = [];

  for (const { keys, values, count } of map.lookupBatch(64)) {
    t.ok(keys.length >= count * map.keySize && values.length >= count * map.valueSize);
    for (let i = 0; i < count; i++) {
      met.push(numberOf(keys.subarray(i * map.keySize, (i + 1) * map.keySize)));
    }
  }

  t.same(met.sort(ascending), range(1000));
});

test('batches of one entry hold every entry, whatever the buckets hold', (t, make) => {
  const map = make(500);
  let count = 0;

  for (const batch of map.lookupBatch(1)) count += batch.count;

  t.equal(count, 500);
});

test('deleteBatch() skips keys that are gone and counts the others', (t, make) => {
  const map = make(10);
  map.delete(keyOf(map, 0));
  map.delete(keyOf(map, 4));
  map.delete(keyOf(map, 5));
  map.delete(keyOf(map, 7));

  const deleted = map.deleteBatch(Buffer.concat(range(8).map((n) => keyOf(map, n))), 8);

  t.equal(deleted, 4);
  t.same([...map.keys()].map(numberOf).sort(ascending), [8, 9]);
  t.equal(map.deleteBatch(Buffer.alloc(0), 0), 0);
});

test('clear() empties the map', (t, make) => {
  const map = make(2000);

  map.clear();

  t.same([...map.keys()], []);
});

t.test(
  'LIBBPF_TS_DISABLE=batch takes batches away, and only batch',
  { skip: lacking('batch') },
  async (t) => {
    using map = BpfMap.create({ type: 'hash', name: 'x', keySize: 4, valueSize: 4, maxEntries: 1 });

    process.env.LIBBPF_TS_DISABLE = 'ring_buffer, batch';
    t.equal(batchSupported(map), false);
    process.env.LIBBPF_TS_DISABLE = 'ring_buffer';
    t.equal(batchSupported(map), true, 'this kernel has them');
  },
);

t.test('types that cannot be walked by look-ups are walked by keys', async (t) => {
  using map = BpfMap.create({ type: 'perf_event_array', name: 'x', keySize: 4, valueSize: 4, maxEntries: 3 });

  t.equal([...map.keys()].length, 3);
  t.match(
    catchError(() => [...map.entries()]),
    { code: 'ERR_BPF_SYSCALL' },
  );
});
