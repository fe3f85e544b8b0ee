// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { BpfMap, BpfObject, BpfProgram, TypedMap, u32, u64 } from '../src/index.js';
import { catchError } from './helpers/catch-error.js';
import { compileFixture } from './helpers/compile-fixture.js';
import { lacking } from './helpers/lacking.js';

const object = BpfObject.open(compileFixture('maps'));
object.load();
t.teardown(() => object.close());

const counters = new TypedMap(object.map('counters').map, u32, u64);
const countPackets = object.program('count_packets');
const packet = Buffer.alloc(60, 0xab);
t.beforeEach(() => counters.clear());

t.test('a test run returns the verdict and the packet', async (t) => {
  const { retval, data, durationNs, context } = countPackets.testRun({ data: packet });

  t.equal(retval, 2, 'TC_ACT_SHOT');
  t.same(data, packet);
  t.ok(durationNs >= 0);
  t.equal(context, undefined);
  t.equal(counters.get(0), 1n);
});

t.test('repeat runs it that often and averages the time', async (t) => {
  const { durationNs } = countPackets.testRun({ data: packet, repeat: 10_000 });

  t.equal(counters.get(0), 10_000n);
  t.ok(durationNs > 0 && durationNs < 100_000, `${durationNs} ns`);
});

// since Linux 5.2, as global data
t.test('the context goes in and comes out', { skip: lacking('global-data') }, async (t) => {
  // struct __sk_buff: mark is the third of its 32-bit fields
  const context = Buffer.alloc(192);
  context.writeUInt32LE(37, 8);

  const result = countPackets.testRun({ data: packet, context });

  t.equal(result.context?.readUInt32LE(8), 42);
});

t.test('a packet may come out larger than it went in', async (t) => {
  const grow = object.program('grow_packet');

  const { retval, data } = grow.testRun({ data: packet });

  t.equal(retval, 0);
  t.equal(data.length, 160);
  t.same(data.subarray(0, 60), packet);
  const error = catchError(() => grow.testRun({ data: packet, dataOutSize: 100 }));
  t.match(error.message, /^Cannot run program "grow_packet" on 60 bytes.*\(ENOSPC\)\. .*raise dataOutSize/);
});

t.test('results of earlier runs stay as they were', async (t) => {
  const first = countPackets.testRun({ data: Buffer.alloc(60, 1) });
  countPackets.testRun({ data: Buffer.alloc(60, 2) });

  t.same(first.data, Buffer.alloc(60, 1));
});

t.test('live frames run through XDP', { skip: lacking('live-frames') }, async (t) => {
  const result = object
    .program('drop_frames')
    .testRun({ data: packet, liveFrames: true, repeat: 1000, batchSize: 32 });

  t.equal(counters.get(2), 1000n);
  t.equal(result.data.length, 0);
});

t.test('what the kernel refuses is explained', async (t) => {
  t.match(
    catchError(() => countPackets.testRun({ data: Buffer.alloc(5) })).message,
    /EINVAL.*A packet has at least 14 bytes/,
  );
  t.match(
    catchError(() => countPackets.testRun({ data: packet, liveFrames: true })).message,
    /(EINVAL|E2BIG).*LiveFrames needs Linux 5\.18/,
  );
});

t.test('a program is opened by its id', async (t) => {
  const program = BpfProgram.fromId(countPackets.id);

  t.match(program, {
    name: 'count_packets',
    section: '',
    type: 'sched_cls',
    tag: countPackets.tag,
    isLoaded: true,
  });
  t.ok(program.instructions > 10, `${program.instructions} instructions`);
  t.equal(program.testRun({ data: packet }).retval, 2);
  t.match(catchError(() => program.setAutoload(true)).message, /it is in the kernel already/);
  program.close();
  program.close();
  t.match(
    catchError(() => program.testRun()),
    { code: 'ERR_BPF_CLOSED' },
  );
  t.equal(countPackets.isLoaded, true, 'the other one is still open');
});

t.test('mapIds are the maps that the program uses', async (t) => {
  const names = countPackets.mapIds.map((id) => {
    using map = BpfMap.fromId(id);
    return map.name;
  });

  t.ok(names.includes('counters'), names.join());
  if (!lacking('global-data', 'mmap'))
    t.ok(
      names.some((name) => name.endsWith('.rodata')),
      names.join(),
    );
  t.equal(new Set(names).size, names.length, 'each once');
});

t.test('a map is no program', async (t) => {
  t.match(
    catchError(() => BpfProgram.fromFd(object.map('counters').map.fd, { borrowed: true })).message,
    /it is a map/,
  );
  t.match(
    catchError(() => BpfProgram.fromId(0xffff_fff0)),
    { errnoName: 'ENOENT' },
  );
});
