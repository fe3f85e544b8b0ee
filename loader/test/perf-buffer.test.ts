// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { LayoutError, SyscallError } from '../src/errors.js';
import { BpfMap } from '../src/map.js';
import { PerfBuffer } from '../src/perf-buffer.js';
import { catchError } from './helpers/catch-error.js';
import { loadEvents } from './helpers/events.js';
import { lacking } from './helpers/lacking.js';

const RECORDS = 200_000;
/** 64 pages hold 8,192 records of 32 bytes. */
const BURST = 6_000;
const slow = Number(process.env.VM_SLOW ?? 1);

/** Which of the first `count` records are there exactly once and whole; the order between CPUs is nobody's. */
function countWhole(records: readonly Buffer[], count: number): number {
  const seen = new Uint8Array(count);
  for (const record of records) {
    const sequence = record.readBigUInt64LE(0);
    if (record.readBigUInt64LE(8) === sequence * sequence && sequence < count) seen[Number(sequence)]!++;
  }
  return seen.reduce((sum, times) => sum + (times === 1 ? 1 : 0), 0);
}

t.test('every record arrives, once and whole', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map, { wakeupRecords: 64 });
  const received: Buffer[] = [];

  const started = performance.now();
  const reading = (async () => {
    for await (const batch of perf.batches({ pollMs: 2 })) {
      received.push(...batch);
      if (received.length >= RECORDS) return;
    }
  })();
  while (events.sent() < RECORDS) {
    events.send(Math.min(BURST, RECORDS - events.sent()));
    while (received.length < events.sent()) await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  const rate = Math.round(RECORDS / ((performance.now() - started) / 1000));

  t.equal(received.length, RECORDS);
  t.equal(countWhole(received, RECORDS), RECORDS);
  t.equal(perf.lost, 0);
  t.comment(`${rate} records a second, sending included`);
  t.ok(rate * slow > 100_000, `${rate} records a second`);
  events.close();
});

t.test('single records wake a waiting reader, time after time', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map, { pages: 1 });
  const rounds = 500;
  const received: Buffer[] = [];

  // before the wait, before the event loop has registered the descriptor, and some turns later
  for (let round = 0; round < rounds; round++) {
    const batches = perf.batches();
    if (round % 3 === 0) events.send(1);
    const next = batches.next();
    if (round % 3 === 1) events.send(1);
    if (round % 3 === 2) setTimeout(() => events.send(1), round % 5);
    const { value } = await next;
    received.push(...(value ?? []));
    await batches.return();
  }

  t.equal(countWhole(received, rounds), rounds);
  events.close();
});

t.test('what finds no room is counted exactly, and the rest arrives', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map, { pages: 8 });

  events.send(50_000);
  const records = perf.read();
  events.send(10); // before 6.0 a loss is told only with the next record that finds room
  const later = perf.read();

  t.ok(records.length > 0 && records.length < 50_000);
  t.equal(later.length, 10, 'it goes on after an overflow');
  t.equal(perf.lost, 50_000 - records.length);
  // before Linux 5.0 the helper does not say that there was no room
  const told = lacking('jmp32') ? 0 : perf.lost;
  t.equal(events.failed(), told, 'the program has counted the same');
  t.equal(countWhole([...records, ...later], 50_010), records.length + later.length);
  perf.close();
  t.equal(perf.lost, 50_000 - records.length, 'the count stays after close()');
  events.close();
});

t.test('rings are read around their end, again and again', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map, { pages: 1 });
  const records: Buffer[] = [];

  for (let round = 0; round < 100; round++) {
    events.send(97);
    perf.consume((record) => records.push(record));
  }

  t.equal(countWhole(records, 9_700), 9_700);
  events.close();
});

t.test('read() takes no more than asked for', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map);
  events.send(30);

  const part = perf.read(7);
  const rest = perf.read();

  t.equal(part.length, 7);
  t.equal(countWhole([...part, ...rest], 30), 30);
  events.close();
});

t.test('an iteration ends when aborted or closed', async (t) => {
  const events = loadEvents('perf');
  using perf = new PerfBuffer(events.map);
  const controller = new AbortController();

  const aborted = perf.batches({ signal: controller.signal }).next();
  setImmediate(() => controller.abort());
  t.same(await aborted, { done: true, value: undefined });

  const closed = perf.batches().next();
  setImmediate(() => perf.close());
  t.same(await closed, { done: true, value: undefined });
  perf.close();
  t.match(
    catchError(() => perf.read()),
    { code: 'ERR_BPF_CLOSED' },
  );
  events.close();
});

t.test('a process that waits ends by abort, close and process.exit()', async (t) => {
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  for (const end of ['controller.abort()', 'perf.close()', 'process.exit()']) {
    const script = `
      import { loadEvents } from ${url('./helpers/events.js')};
      import { PerfBuffer } from ${url('../src/perf-buffer.js')};
      const events = loadEvents('perf');
      const perf = new PerfBuffer(events.map);
      const controller = new AbortController();
      perf.batches({ signal: controller.signal }).next().then(() => console.log('ended'));
      setTimeout(() => { ${end}; }, 5);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 20_000 * slow,
    });
    t.match(child, { status: 0, signal: null, stderr: '' }, end);
    // the perf buffer's descriptors stay open after an abort, and keep nothing alive
    t.equal(child.stdout, end.startsWith('process') ? '' : 'ended\n');
  }
});

t.test('wrong maps and sizes are refused', async (t) => {
  using map = BpfMap.create({ name: 'not_perf', type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 });
  const events = loadEvents('perf');

  t.type(
    catchError(() => new PerfBuffer(map)),
    LayoutError,
  );
  const error = catchError(() => new PerfBuffer(events.map, { pages: 3 }));
  t.type(error, SyscallError);
  t.match(error, { errnoName: 'EINVAL', message: /must be a power of two/ });
  events.close();
});
