// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Events: the kernel's records decoded, their forms, their order, what is lost, and `ctnat monitor`.
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { test } from 'tap';
import { parseCidr } from '../../src/address.js';
import { Clock } from '../../src/events/clock.js';
import { encodeAll, eventEncoder } from '../../src/events/encoder.js';
import type { CtEvent } from '../../src/events/event.js';
import { FileSink } from '../../src/events/file-sink.js';
import { eventJson } from '../../src/events/format-json.js';
import { eventMessage } from '../../src/events/format-protobuf.js';
import { eventText } from '../../src/events/format-text.js';
import { takeOlder } from '../../src/events/in-order.js';
import { kernelFilter, remainingFilter } from '../../src/events/kernel-filter.js';
import { Losses } from '../../src/events/losses.js';
import { EventRecord } from '../../src/events/record.js';
import { parseFilter } from '../../src/filter.js';
import {
  CtStatus,
  CtTcpState,
  EVENT,
  type Event,
  EventCause,
  EventType,
  eventCodec,
  HookDir,
  NatType,
  Reason,
} from '../../src/generated/layouts.gen.js';
import { InterfaceNames } from '../../src/interface-names.js';
import { packageFile } from '../../src/version.js';
import { ctnat } from '../helpers/command-line.js';
import { FakeProduct } from '../helpers/fake-product.js';
import { readMessage } from '../helpers/protobuf.js';

const NAMES = new InterfaceNames({ get: () => ({ name: 'eth0' }) as never });
const words = (...bytes: number[]) => [Buffer.from(bytes).readUInt32BE(), 0, 0, 0];
const TUPLE = (saddr: number[], daddr: number[], sport: number, dport: number) => ({
  saddr,
  daddr,
  sport,
  dport,
});
const CLIENT = words(10, 0, 0, 2);
const SERVER = words(192, 0, 2, 9);
const ROUTER = words(198, 51, 100, 1);
/** 100 s and some ticks. */
const TIME = 100_000_000_000n;
const TICK = Number(TIME >> 24n);

const DESTROY: Event = {
  time: TIME,
  sequence: 7n,
  cpu: 3,
  type: EventType.DESTROY,
  cause: EventCause.CLOSED,
  family: 4,
  hook: 0,
  slot: 11,
  gen: 2,
  status: CtStatus.CONFIRMED | CtStatus.SEEN_REPLY | CtStatus.ASSURED | CtStatus.SRC_NAT,
  proto: 6,
  state: CtTcpState.CLOSE,
  nat: NatType.MASQUERADE,
  flags: 0,
  zone: 5,
  rule: 0,
  created: TICK - 596,
  deadline: TICK - 60,
  ifindex: 4,
  mark: 42,
  suppressed: 0,
  length: 0,
  packets: [12n, 10n],
  bytes: [3400n, 9000n],
  tuple: [TUPLE(CLIENT, SERVER, 40000, 80), TUPLE(SERVER, ROUTER, 80, 40001)],
};
const DROP: Event = {
  ...DESTROY,
  type: EventType.DROP,
  cause: Reason.DROP_TABLE_FULL,
  hook: HookDir.EGRESS,
  proto: 17,
  state: 0,
  suppressed: 9,
  length: 60,
  tuple: [TUPLE(CLIENT, SERVER, 40000, 53), TUPLE([0, 0, 0, 0], [0, 0, 0, 0], 0, 0)],
};

function bytesOf(event: Event, more = 0): Buffer {
  const bytes = Buffer.alloc(EVENT.size + more);
  eventCodec.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, event);
  return bytes;
}

/** 2001-09-09T01:46:40Z at the time of the events. */
const CLOCK = new Clock(
  () => TIME,
  () => 1_000_000_000_000,
);

function decode(event: Event, more?: number): CtEvent {
  const record = new EventRecord(NAMES);
  if (!record.take(bytesOf(event, more))) throw new Error('not taken');
  return record.decode(CLOCK);
}

test('a record decodes to an event with the flow that a listing would show', (t) => {
  t.match(decode(DESTROY), {
    type: 'destroy',
    cause: 'closed',
    timeNs: TIME,
    unixMs: 1_000_000_000_000,
    sequence: 7,
    cpu: 3,
    flow: {
      family: 'ipv4',
      proto: 'tcp',
      protonum: 6,
      state: 'CLOSE',
      status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
      original: { src: '10.0.0.2', dst: '192.0.2.9', sport: 40000, dport: 80, packets: 12, bytes: 3400 },
      reply: { src: '192.0.2.9', dst: '198.51.100.1', sport: 80, dport: 40001, packets: 10, bytes: 9000 },
      timeout: 0,
      age: 9.9,
      mark: 42,
      zone: 5,
      iface: 'eth0',
      ifindex: 4,
      natType: 'masquerade',
      slot: 11,
      gen: 2,
    },
  });
  t.match(decode({ ...DESTROY, type: EventType.NEW, deadline: TICK + 7153 }, 4), {
    type: 'new',
    flow: { timeout: 120 },
  });
  t.end();
});

test('a drop decodes to what is known of its packet', (t) => {
  t.match(decode(DROP), {
    type: 'drop',
    reason: 'drop_table_full',
    direction: 'egress',
    suppressed: 9,
    iface: 'eth0',
    packet: {
      family: 'ipv4',
      proto: 'udp',
      src: '10.0.0.2',
      dst: '192.0.2.9',
      sport: 40000,
      dport: 53,
      bytes: 60,
    },
  });
  const six = { ...DROP, family: 6, proto: 58, state: 128 };
  const address = [0x20010db8, 0, 0, 1];
  t.match(decode({ ...six, tuple: [TUPLE(address, address, 7, 7), DROP.tuple[1]!] }), {
    packet: { family: 'ipv6', proto: 'icmpv6', src: '2001:db8::1', type: 128, id: 7 },
  });
  t.end();
});

test('what is no record is not taken', (t) => {
  const record = new EventRecord(NAMES);
  t.notOk(record.take(bytesOf(DESTROY).subarray(1)), 'too short');
  t.notOk(record.take(Buffer.alloc(EVENT.size)), 'no family');
  t.notOk(record.take(bytesOf({ ...DESTROY, type: EventType.TYPE_COUNT })), 'an unknown type');
  t.end();
});

const LOST: CtEvent = { type: 'lost', timeNs: TIME, unixMs: 1_000_000_000_000.5, count: 3, total: 8 };

test('events as text', (t) => {
  t.equal(
    eventText(decode(DESTROY)),
    '2001-09-09T01:46:40.000000Z DESTROY TCP OUT 10.0.0.2:40000 -> 192.0.2.9:80 expires=0 State=CLOSE ' +
      'TxPackets=12 TxBytes=3400 RxPackets=10 RxBytes=9000 Flags=0x0016 [ SEEN_REPLY ASSURED SRC_NAT ] ' +
      'XLATE_SRC 198.51.100.1:40001 Mark=42 Zone=5 Age=9.9sec Iface=eth0 Cause=closed',
  );
  t.equal(
    eventText(decode(DROP)),
    '2001-09-09T01:46:40.000000Z DROP UDP 10.0.0.2:40000 -> 192.0.2.9:53 Reason=drop_table_full Bytes=60 ' +
      'Iface=eth0 Direction=egress Suppressed=9',
  );
  t.equal(eventText(LOST), '2001-09-09T01:46:40.000500Z LOST 3 events, 8 in all');
  t.equal(
    eventText({ ...LOST, unixMs: 1_000_000_000_000.9999 }),
    '2001-09-09T01:46:40.001000Z LOST 3 events, 8 in all',
  );
  t.end();
});

test('events as JSON: what they have in common first, then the flow of the listings', (t) => {
  const text = eventJson(decode(DESTROY));
  t.match(
    text,
    /^\{"type":"destroy","time":1000000000\.000000,"monotonicNs":100000000000,"sequence":7,"cpu":3,"cause":"closed","family":"ipv4",/,
  );
  t.match(JSON.parse(text), { original: { sport: 40000 }, reply: { bytes: 9000 }, iface: 'eth0' });
  t.match(JSON.parse(eventJson(decode(DROP))), {
    type: 'drop',
    reason: 'drop_table_full',
    packet: { dport: 53 },
    suppressed: 9,
  });
  t.strictSame(JSON.parse(eventJson(LOST)), {
    type: 'lost',
    time: 1_000_000_000.0005,
    monotonicNs: 100_000_000_000,
    count: 3,
    total: 8,
  });
  t.end();
});

test('protobuf: decoded by the shipped definition, it is the event', async (t) => {
  const encode = await eventEncoder('protobuf');
  const bytes = encodeAll([decode(DESTROY), decode(DROP), LOST], encode);
  const message = eventMessage();
  let at = 0;
  const next = () => {
    const length = bytes[at]! < 0x80 ? bytes[at]! : (bytes[at]! & 0x7f) | (bytes[at + 1]! << 7);
    const size = length < 0x80 ? 1 : 2;
    const decoded = message.toObject(message.decodeDelimited(bytes.subarray(at)), {
      longs: Number,
      enums: String,
    });
    at += size + length;
    return decoded;
  };
  t.match(next(), {
    type: 'TYPE_DESTROY',
    timeNs: 1e18,
    monotonicNs: 1e11,
    sequence: 7,
    cpu: 3,
    cause: 'CAUSE_CLOSED',
    flow: {
      family: 4,
      proto: 6,
      state: 'CLOSE',
      status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
      original: { src: '10.0.0.2', sport: 40000, packets: 12, bytes: 3400 },
      age: 9.9,
      nat: 'masquerade',
      slot: 11,
      generation: 2,
    },
  });
  t.match(next(), {
    type: 'TYPE_DROP',
    drop: {
      reason: 'drop_table_full',
      direction: 'egress',
      iface: 'eth0',
      ifindex: 4,
      suppressed: 9,
      family: 4,
      proto: 17,
      packet: { dport: 53, packets: 1, bytes: 60 },
    },
  });
  t.match(next(), { type: 'TYPE_LOST', lost: { count: 3, total: 8 } });
  t.equal(at, bytes.length);
});

test('protobuf: the numbers of the fields are those of the definition, by another decoder', async (t) => {
  const encode = await eventEncoder('protobuf');
  const [event] = readMessage(encodeAll([decode(DESTROY)], encode), true);
  t.strictSame(event![1], [3n], 'type');
  t.strictSame(event![2], [10n ** 18n], 'time_ns');
  t.strictSame(event![3], [TIME], 'monotonic_ns');
  t.strictSame(event![4], [7n], 'sequence');
  t.strictSame(event![5], [3n], 'cpu');
  t.strictSame(event![7], [2n], 'cause');
  const [flow] = readMessage(event![6]![0] as Uint8Array);
  t.strictSame(flow![1], [4n], 'family');
  t.strictSame(flow![2], [6n], 'proto');
  t.equal(String(Buffer.from(flow![3]![0] as Uint8Array)), 'CLOSE');
  t.equal(flow![4]!.length, 3, 'status');
  const [original] = readMessage(flow![5]![0] as Uint8Array);
  t.equal(String(Buffer.from(original![1]![0] as Uint8Array)), '10.0.0.2');
  t.strictSame([original![3], original![4], original![8], original![9]], [[40000n], [80n], [12n], [3400n]]);
});

test('losses are the gaps of each CPU, whatever the order', (t) => {
  const losses = new Losses();
  for (const sequence of [1, 2, 5, 4]) losses.take(0, sequence);
  losses.take(1, 3);
  t.equal(losses.untold(), 3, '3 on CPU 0; 1 and 2 on CPU 1');
  t.equal(losses.untold(), 0);
  losses.take(0, 9);
  losses.reach(1, 3);
  losses.reach(2, 2);
  t.equal(losses.untold(), 5, '6 to 8 on CPU 0; 1 and 2 on CPU 2');
  t.equal(losses.total, 8);
  losses.refused(8);
  t.notOk(losses.hasUntold, 'they are known by their gaps');
  losses.refused(10);
  t.equal(losses.untold(), 2, 'nothing has come behind them');
  losses.take(0, 12);
  t.equal(losses.untold(), 0, 'now something has');
  t.end();
});

test('records are put in order when they are old enough', (t) => {
  const at = (time: bigint) => bytesOf({ ...DESTROY, time });
  const times = (records: Buffer[]) => records.map((record) => record.readBigUInt64LE(EVENT.offset.time));
  const held = [at(5n), at(9n), at(3n), at(20n), at(4n)];
  t.strictSame(times(takeOlder(held, 10n)), [3n, 4n, 5n, 9n]);
  t.strictSame(times(held), [20n]);
  t.end();
});

test('a filter is cut in two: what the kernel tests, and the rest', (t) => {
  const filter = parseFilter({ proto: 'tcp', src: '10.1.0.0/16', dport: '443', state: 'ESTABLISHED' });
  t.strictSame(kernelFilter(filter), {
    family: 4,
    proto: 6,
    saddr: words(10, 1, 0, 0),
    smask: words(255, 255, 0, 0),
    daddr: [0, 0, 0, 0],
    dmask: [0, 0, 0, 0],
  });
  t.strictSame(Object.keys(remainingFilter(filter)).sort(), ['dport', 'states']);
  t.match(kernelFilter(parseFilter({ dst: '2001:db8::/33' })), {
    family: 6,
    daddr: [0x20010db8, 0, 0, 0],
    dmask: [0xffffffff, 0x80000000, 0, 0],
  });
  t.match(kernelFilter({}), { family: 0, proto: 0 });
  t.match(kernelFilter({ replyDst: parseCidr('2001:db8::1') }), { family: 6 });
  t.strictSame(remainingFilter({ proto: 0 }), { proto: 0 }, 'the kernel takes 0 for any');
  t.end();
});

test('the clock follows the time of day, but not its jitter', (t) => {
  let wall = 1000;
  const clock = new Clock(
    () => 0n,
    () => wall,
  );
  wall = 1002;
  clock.follow();
  t.equal(clock.unixMs(0n), 1000);
  wall = 90_000;
  clock.follow();
  t.equal(clock.unixMs(1_234_567n), 90_001.235);
  t.end();
});

test('a file takes its own types, and goes on under its old name until it is opened anew', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ctnat-events-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'events.jsonl');
  const sink = { file, format: 'jsonl', types: ['destroy'] } as const;
  const first = await FileSink.open(sink);
  await first.write([decode(DESTROY), decode(DROP), LOST]);
  renameSync(file, `${file}.1`);
  await first.write([decode(DESTROY)]);
  const second = await FileSink.open(sink);
  await second.write([decode(DESTROY)]);
  await first.close();
  await second.close();

  const types = (path: string) =>
    readFileSync(path, 'utf8')
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type);
  t.strictSame(types(`${file}.1`), ['destroy', 'lost', 'destroy']);
  t.strictSame(types(file), ['destroy']);
  await t.rejects(FileSink.open({ ...sink, file: folder }), {
    message: `can not open ${folder}: it is a folder (EISDIR); give a file`,
  });
  await t.rejects(FileSink.open({ ...sink, file: `${folder}/no/file` }), { message: /ENOENT/ });
});

test('protobuf: the example of docs/events.md reads what is written', async (t) => {
  const docs = readFileSync(packageFile('docs/events.md'), 'utf8');
  const example = /```js\n([^`]+)```/.exec(docs)![1]!;
  const folder = mkdtempSync(fileURLToPath(packageFile('dist/events-example-')));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'events.bin');
  const encode = await eventEncoder('protobuf');
  writeFileSync(file, encodeAll([decode(DESTROY), decode(DROP), LOST], encode));
  writeFileSync(join(folder, 'example.mjs'), example);
  const { stdout, stderr } = spawnSync(process.execPath, [join(folder, 'example.mjs'), file], {
    cwd: packageFile('.'),
    encoding: 'utf8',
  });
  t.equal(stderr, '');
  t.equal(stdout, 'TYPE_DESTROY 10.0.0.2\nTYPE_DROP drop_table_full\nTYPE_LOST 3\n');
});

/** A product whose stream is these events. */
function listening(...events: CtEvent[]): FakeProduct {
  return Object.assign(new FakeProduct(), { stream: events });
}

test('monitor: types, filter, forms, --count, and losses on stderr', async (t) => {
  const product = listening(decode(DESTROY), LOST, decode(DROP), decode(DESTROY));
  const { status, stdout, stderr } = await ctnat(
    ['monitor', '--count', '2', '--type', 'drop,destroy', '-p', 'tcp', '-o', 'jsonl'],
    { product },
  );
  t.equal(status, 0);
  t.strictSame(
    stdout
      .trimEnd()
      .split('\n')
      .map((line) => (JSON.parse(line) as { type: string }).type),
    ['destroy', 'lost', 'drop'],
  );
  t.match(stderr, 'ctnat: listening to destroy, drop\n');
  t.match(stderr, 'ctnat: 3 events lost, 8 in all');
  t.match(product.listened, [{ types: ['destroy', 'drop'], filter: { proto: 6 } }]);
});

test('monitor: text shows no losses, json is one array, protobuf is bytes', async (t) => {
  const stream = [decode(DESTROY), LOST, decode(DROP)];
  const run = async (form: string) =>
    (await ctnat(['monitor', '--count', '2', '-o', form], { product: listening(...stream) })).stdout;
  t.match((await run('text')).split('\n'), [/ DESTROY /, / DROP /, '']);
  t.match(JSON.parse(await run('json')), [{ type: 'destroy' }, { type: 'lost' }, { type: 'drop' }]);
  t.ok((await run('protobuf')).includes('drop_table_full'));
});

test('monitor: wrong usage', async (t) => {
  for (const [words, message] of [
    [['--type', 'gone'], /--type: unknown type "gone"/],
    [['--type', ''], /--type: unknown type ""/],
    [['--count', '0'], /--count: expected a number from 1 on, got "0"/],
    [['-o', 'xml'], /xml/],
  ] as const) {
    const { status, stderr } = await ctnat(['monitor', ...words], { product: listening() });
    t.equal(status, 2, words.join(' '));
    t.match(stderr, message);
  }
});
