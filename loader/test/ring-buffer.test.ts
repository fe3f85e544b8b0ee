// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { spawnSync } from 'node:child_process';
import t from 'tap';
import { LayoutError } from '../src/errors.js';
import { feature } from '../src/features.js';
import { BpfMap } from '../src/map.js';
import { RingBuffer } from '../src/ring-buffer.js';
import { catchError } from './helpers/catch-error.js';
import { firstWrong, loadEvents } from './helpers/events.js';

const RECORDS = 200_000;
/** A ring of 256 KiB takes 24 bytes a record, and a discarded one for every eighth. */
const BURST = 8_000;
const slow = Number(process.env.VM_SLOW ?? 1);
const skip = feature('ringbuf').state === 'no' && 'the kernel has no ring buffer (since 5.8)';

t.test('every record arrives, once, whole and in order', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map, { lost: events.failed });
  let received = 0;
  let wrong = 0;

  const started = performance.now();
  const reading = (async () => {
    for await (const batch of ring.batches()) {
      if (firstWrong(batch, received) >= 0) wrong++;
      received += batch.length;
      if (received === RECORDS) return;
    }
  })();
  while (events.sent() < RECORDS) {
    events.send(Math.min(BURST, RECORDS - events.sent()));
    while (received < events.sent()) await new Promise((resolve) => setImmediate(resolve));
  }
  await reading;
  const rate = Math.round(RECORDS / ((performance.now() - started) / 1000));

  t.equal(received, RECORDS);
  t.equal(wrong, 0);
  t.equal(ring.lost, 0);
  t.comment(`${rate} records a second, sending included`);
  t.ok(rate * slow > 100_000, `${rate} records a second`);
  events.close();
});

t.test('records() gives them one by one', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  events.send(100);
  const records: Buffer[] = [];

  for await (const record of ring) {
    records.push(record);
    if (records.length === 50) events.send(20);
    if (records.length === 120) break;
  }

  t.equal(firstWrong(records, 0), -1, 'copies stay valid while the ring goes on');
  events.close();
});

t.test('consume() drains without waiting', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  const records: Buffer[] = [];

  t.equal(
    ring.consume((record) => records.push(record)),
    0,
  );
  events.send(5_000);
  t.equal(
    ring.consume((record) => records.push(record)),
    5_000,
  );
  t.equal(firstWrong(records, 0), -1);
  t.same(ring.read(), []);
  events.close();
});

t.test('read() takes no more than asked for', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  events.send(30);

  const parts = [ring.read(7), ring.read(8), ring.read()];

  t.same(
    parts.map((part) => part.length),
    [7, 8, 15],
  );
  t.equal(firstWrong(parts.flat(), 0), -1);
  events.close();
});

t.test('what finds no room is counted, and the rest arrives', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map, { lost: events.failed });

  events.send(50_000);
  const records = ring.read();

  t.ok(records.length > 0 && records.length < 50_000);
  t.equal(ring.lost, 50_000 - records.length);
  t.equal(firstWrong(records, 0), -1);
  events.send(10);
  t.equal(ring.read().length, 10, 'it goes on after an overflow');
  events.close();
});

t.test('a second reader goes on where the first stopped', { skip }, async (t) => {
  const events = loadEvents('ring');
  const first = new RingBuffer(events.map);
  events.send(10);
  first.read(4);
  first.close();

  using second = new RingBuffer(events.map);

  t.equal(firstWrong(second.read(), 4), -1);
  events.close();
});

t.test('an iteration ends when aborted or closed', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  const controller = new AbortController();

  const aborted = ring.batches({ signal: controller.signal }).next();
  setImmediate(() => controller.abort());
  t.same(await aborted, { done: true, value: undefined });
  t.same(await ring.batches({ signal: AbortSignal.abort() }).next(), { done: true, value: undefined });

  const closed = ring.batches().next();
  setImmediate(() => ring.close());
  t.same(await closed, { done: true, value: undefined });
  ring.close();
  t.equal(ring.isOpen, false);
  t.match(
    catchError(() => ring.read()),
    { code: 'ERR_BPF_CLOSED' },
  );
  events.close();
});

t.test('the map may be closed while its ring is read', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  events.send(3);
  events.close();

  t.equal(ring.read().length, 3);
});

t.test('waiting does not block the thread', { skip }, async (t) => {
  const events = loadEvents('ring');
  using ring = new RingBuffer(events.map);
  const next = ring.batches().next();
  let ticks = 0;
  const ticking = setInterval(() => {
    if (++ticks === 3) events.send(1);
  }, 1);

  const { value } = await next;
  clearInterval(ticking);

  t.equal(value?.length, 1);
  t.equal(ticks, 3, 'timers ran while it waited, and it did not wake before');
  events.close();
});

t.test('a process that waits ends by abort, close and process.exit()', { skip }, async (t) => {
  const url = (file: string) => JSON.stringify(new URL(file, import.meta.url).href);
  for (const end of ['controller.abort()', 'ring.close()', 'process.exit()']) {
    const script = `
      import { loadEvents } from ${url('./helpers/events.js')};
      import { RingBuffer } from ${url('../src/ring-buffer.js')};
      const events = loadEvents('ring');
      const ring = new RingBuffer(events.map);
      const controller = new AbortController();
      ring.batches({ signal: controller.signal }).next().then(() => console.log('ended'));
      setTimeout(() => { ${end}; }, 5);`;
    const child = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
      encoding: 'utf8',
      timeout: 20_000 * slow,
    });
    t.match(child, { status: 0, signal: null, stderr: '' }, end);
    t.equal(child.stdout, end.startsWith('process') ? '' : 'ended\n');
  }
});

t.test('a map of another type is refused', async (t) => {
  using map = BpfMap.create({ name: 'not_a_ring', type: 'array', keySize: 4, valueSize: 4, maxEntries: 1 });

  t.type(
    catchError(() => new RingBuffer(map)),
    LayoutError,
  );
});
