// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { BpfMap, BpfObject, LayoutError, MapFlag } from '../src/index.js';
import { catchError } from './helpers/catch-error.js';
import { compileFixture } from './helpers/compile-fixture.js';
import { lacking } from './helpers/lacking.js';

const skip = lacking('mmap');

function create(valueSize: number, maxEntries: number): BpfMap {
  const flags = MapFlag.MMAPABLE;
  return BpfMap.create({ type: 'array', name: 'mapped', keySize: 4, valueSize, maxEntries, flags });
}

t.test('mapped memory shows what a program writes', { skip }, async (t) => {
  using object = BpfObject.open(compileFixture('maps'));
  object.load();
  using memory = object.map('counters').map.mmap();
  const counters = new BigUint64Array(memory.buffer.buffer, memory.buffer.byteOffset, 4);

  object.program('count_packets').testRun({ data: Buffer.alloc(100), repeat: 3 });

  t.same([...counters], [3n, 300n, 0n, 0n]);
});

t.test('what is written to mapped memory is in the map', { skip }, async (t) => {
  using map = create(12, 1000);
  using memory = map.mmap();

  t.equal(memory.buffer.length, 16 * 1000, 'values stand at multiples of 8');
  memory.view().setUint32(16 * 999 + 4, 0x01020304);

  t.same(map.get(Buffer.from(new Uint32Array([999]).buffer)), Buffer.from('000000000102030400000000', 'hex'));
});

t.test('a part of a map can be mapped', { skip }, async (t) => {
  using map = create(8, 2048);
  const key = Buffer.from(new Uint32Array([512]).buffer);
  using memory = map.mmap(4096, 16);

  memory.buffer.fill(7);

  t.equal(memory.buffer.length, 16);
  t.same(map.get(key), Buffer.alloc(8, 7));
  t.match(catchError(() => map.mmap(8)).message, /offset 8 is no multiple of the page size 4096/);
  t.throws(() => map.mmap(8 * 2048), LayoutError);
});

t.test('memory that was closed reads zeros and cannot be asked for', { skip }, async (t) => {
  using map = create(8, 4);
  const memory = map.mmap();
  const kept = memory.buffer;
  kept.fill(1);

  memory.close();
  memory.close();

  t.equal(kept[0], 0);
  kept[0] = 9;
  t.same(map.get(Buffer.alloc(4)), Buffer.alloc(8, 1), 'the map is out of reach');
  t.match(
    catchError(() => memory.buffer),
    { code: 'ERR_BPF_CLOSED' },
  );
});

t.test('addresses are given back when nobody can reach them any more', { skip }, async (t) => {
  const index = new URL('../src/index.js', import.meta.url).href;
  const script = `
    import { readFileSync } from 'node:fs';
    import { BpfMap, MapFlag } from '${index}';
    const map = BpfMap.create({ type: 'array', name: 'x', keySize: 4, valueSize: 8, maxEntries: 131072, flags: MapFlag.MMAPABLE });
    const sizeKb = () => Number(/VmSize:\\s*(\\d+)/.exec(readFileSync('/proc/self/status', 'utf8'))[1]);
    for (let i = 0; i < 50; i++) { const memory = map.mmap(); memory.buffer[0]++; if (i % 2) memory.close(); }
    const before = sizeKb();
    for (let i = 0; i < 100 && sizeKb() > before - 40 * 1024; i++) {
      gc();
      await new Promise((resolve) => setImmediate(resolve));
    }
    console.log(before - sizeKb() > 40 * 1024);`;

  const args = ['--expose-gc', '--input-type=module', '-e', script];
  const { stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8' });

  t.equal(stdout, 'true\n', stderr);
});

t.test('a map that cannot be mapped says what it takes', async (t) => {
  using map = BpfMap.create({ type: 'hash', name: 'plain', keySize: 4, valueSize: 8, maxEntries: 4 });

  t.match(catchError(() => map.mmap()).message, /^Cannot map map "plain" into memory: .*BPF_F_MMAPABLE/);
});
