// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// PCP and NAT-PMP on the wire, and the book of mappings, on a datapath and a clock that are made up.

import { appendFileSync, mkdirSync, readFileSync, renameSync, rmdirSync } from 'node:fs';
import { join } from 'node:path';
import { pino } from 'pino';
import { type Test, test } from 'tap';
import { formatAddress, parseAddress, parseCidr } from '../../src/address.js';
import { parseNatRule } from '../../src/nat-rule.js';
import type { Network } from '../../src/network.js';
import { Book } from '../../src/pcp/book.js';
import { hexWords, listens } from '../../src/pcp/host-ports.js';
import { Journal } from '../../src/pcp/journal.js';
import type { Held, Inside, Mapper, NotOpened, Outside } from '../../src/pcp/mapper.js';
import { Neighbourhood } from '../../src/pcp/neighbourhood.js';
import { isForwarded, snatOutside, sourceRule } from '../../src/pcp/outside.js';
import { externalPorts } from '../../src/pcp/ports.js';
import { PcpServer, type ServerOptions } from '../../src/pcp/server.js';
import {
  address16,
  header,
  type MapOptions,
  mapRequest,
  option,
  PREFER_FAILURE,
  readResponse,
} from '../helpers/pcp.js';

const CLIENT = '10.0.0.2';
const OUTSIDE = '198.51.100.1';
const LONG = 1800;
const SHORT = 30;

/** A datapath in memory, whose mappings end when the clock says so. */
class FakeMapper implements Mapper {
  readonly held = new Map<string, Held & { until: number; implicit?: boolean }>();
  readonly taken = new Set<number>();
  address: string | undefined = OUTSIDE;
  ranges: Outside['ranges'] = [];
  isFull = false;
  isLimited = false;
  isBusy = false;
  #gen = 0;

  constructor(readonly now: () => number) {}

  maps(protocol: number): boolean {
    return protocol === 6 || protocol === 17;
  }

  outside({ address }: Inside): Outside | undefined {
    const text = address.family === 'ipv6' ? '2001:db8:1::1' : this.address;
    return text === undefined ? undefined : { address: parseAddress(text), ranges: this.ranges };
  }

  find(inside: Inside): Held | undefined {
    return this.held.get(name(inside));
  }

  open(inside: Inside, { address }: Outside, port: number, seconds: number): Held | NotOpened {
    if (this.isFull) return 'full';
    if (this.isLimited) return 'limit';
    const isTaken = [...this.held.values()].some((each) => each.external.port === port);
    if (isTaken || this.taken.has(port)) return 'taken';
    const held = { slot: 1, gen: ++this.#gen, external: { address, port } };
    this.held.set(name(inside), { ...held, until: this.now() + seconds * 1000 });
    return held;
  }

  keep(inside: Inside, { gen }: Held, seconds: number): 'kept' | 'gone' | 'busy' {
    if (this.isBusy) return 'busy';
    const known = this.held.get(name(inside));
    if (known?.gen !== gen) return 'gone';
    known.until = this.now() + seconds * 1000;
    return 'kept';
  }

  release(inside: Inside): boolean {
    if (this.isBusy) return false;
    this.held.delete(name(inside));
    return true;
  }

  look(inside: Inside, { gen }: Held, seconds: number): 'held' | 'changed' | 'gone' {
    const known = this.held.get(name(inside));
    if (known?.gen !== gen) return 'gone';
    return known.until === this.now() + seconds * 1000 ? 'held' : 'changed';
  }
}

function name({ address, protocol, port }: Inside): string {
  return `${formatAddress(address)} ${protocol} ${port}`;
}

function place(t: Test, options: Partial<ServerOptions> = {}) {
  const clock = { ms: 1_000_000 };
  const now = () => clock.ms;
  const path = join(t.testdir(), 'journal');
  const lost: number[] = [];
  const open = () =>
    new Book(new Journal(path, 'boot'), pino({ enabled: false }), now, () => lost.push(clock.ms));
  const book = open();
  const mapper = new FakeMapper(now);
  const server = new PcpServer(
    book,
    {
      lifetime: { min: 120, max: 86_400 },
      limit: 3,
      ports: [{ min: 1024, max: 65_535 }],
      allow: [parseCidr('10.0.0.0/24'), parseCidr('fd00:10::/64')],
      natPmp: true,
      ...options,
    },
    now,
  );
  const raw = (bytes: Buffer, from = CLIENT) => server.answer(bytes, parseAddress(from), () => mapper);
  const ask = (bytes: Buffer, from = CLIENT) => {
    const answer = raw(bytes, from);
    return answer && readResponse(answer);
  };
  const map = (wish: MapOptions, from = CLIENT) => ask(mapRequest(from, wish), from)!;
  return { clock, book, open, mapper, server, raw, ask, map, path, lost };
}

test('PCP: what is malformed gets the result that RFC 6887 has for it', async (t) => {
  const { ask, raw } = place(t);
  const map: Buffer = mapRequest(CLIENT, { port: 4000 });
  const changed = (at: number, value: number, bytes: Buffer = map) => {
    const copy: Buffer = Buffer.from(bytes);
    copy[at] = value;
    return copy;
  };
  const withOptions = (...options: Buffer[]): Buffer => mapRequest(CLIENT, { port: 4000, options });
  const cases: Record<string, [Buffer, number]> = {
    'version 1': [changed(0, 1), 1],
    'version 3': [changed(0, 3), 1],
    'a version that is not known and nothing behind it': [Buffer.from([9, 1]), 1],
    'half a header': [map.subarray(0, 12), 3],
    'a length that is no multiple of 4': [Buffer.concat([map, Buffer.alloc(2)]), 3],
    'more than 1100 bytes': [Buffer.concat([map, Buffer.alloc(1044)]), 3],
    'MAP without its data': [map.subarray(0, 24), 3],
    'MAP with half its data': [map.subarray(0, 40), 3],
    'all protocols and one port': [mapRequest(CLIENT, { proto: 0, port: 4000 }), 3],
    PEER: [changed(1, 2), 4],
    'an opcode that nobody has': [changed(1, 99), 4],
    THIRD_PARTY: [withOptions(option(1, address16('10.0.0.3'))), 5],
    FILTER: [withOptions(option(3, Buffer.alloc(20))), 5],
    'an option that must be known': [withOptions(option(77)), 5],
    'an option longer than the message': [changed(63, 8, withOptions(option(130))), 6],
    'PREFER_FAILURE with data': [withOptions(option(2, Buffer.alloc(4))), 6],
    'PREFER_FAILURE twice': [withOptions(PREFER_FAILURE, PREFER_FAILURE), 6],
    'PREFER_FAILURE of ANNOUNCE': [Buffer.concat([header(0, CLIENT), PREFER_FAILURE]), 6],
    'THIRD_PARTY of half an address': [withOptions(option(1, Buffer.alloc(8))), 6],
    'a protocol without ports to choose': [mapRequest(CLIENT, { proto: 47, port: 1 }), 9],
    'all protocols': [mapRequest(CLIENT, { proto: 0, port: 0 }), 9],
    'all ports': [mapRequest(CLIENT, { port: 0 }), 2],
    'another client in the header': [mapRequest(CLIENT, { port: 4000, client: '10.0.0.3' }), 12],
    'the other family in the header': [mapRequest(CLIENT, { port: 4000, client: '::a00:2' }), 12],
  };
  for (const [what, [bytes, result]] of Object.entries(cases)) {
    const answer = ask(bytes);
    t.match(answer, { version: 2, result, lifetime: LONG }, what);
    t.equal(answer?.opcode, bytes[1]! | 0x80, `${what}: an answer to it`);
    t.ok(answer!.bytes.length >= 24 && answer!.bytes.length % 4 === 0 && answer!.bytes.length <= 1100);
    if (bytes.length === 60) t.same(answer!.bytes.subarray(24), bytes.subarray(24), 'its data comes back');
  }
  t.equal(raw(Buffer.from([2])), undefined, 'one byte is not answered');
  t.equal(raw(Buffer.alloc(0)), undefined, 'nor none');
  t.equal(raw(changed(1, 0x81)), undefined, 'nor a response');
  t.match(ask(withOptions(option(200, Buffer.alloc(5)))), { result: 0 }, 'an option that may be ignored is');
});

test('PCP: MAP gives what is suggested, or something else, or refuses', async (t) => {
  const { map, mapper, ask } = place(t, { limit: 100 });

  const given = map({ port: 4000, externalPort: 45_000, externalAddress: OUTSIDE, lifetime: 600 });
  t.match(given, { result: 0, opcode: 0x81, lifetime: 600, proto: 17, port: 4000, externalPort: 45_000 });
  t.same(given.external, address16(OUTSIDE));
  t.equal(map({ port: 4001 }).externalPort, 4001, 'without a wish: the inside port');
  t.equal(map({ port: 80 }).externalPort! >= 1024, true, 'but none below 1024');
  const other = map({ port: 4002, externalPort: 45_000 });
  t.match(other, { result: 0, externalPort: 4002 }, 'what is taken is not given twice');
  t.match(map({ port: 4003, externalPort: 80 }), { result: 0, externalPort: 4003 }, 'nor what may not be');
  mapper.taken.add(4005);
  const twin = map({ port: 4005 });
  t.equal(twin.externalPort! % 2, 1, 'UDP: odd stays odd');
  t.equal(map({ port: 4006, lifetime: 1 }).lifetime, 120, 'a short life is made longer');
  t.equal(map({ port: 4007, lifetime: 4_000_000_000 }).lifetime, 86_400, 'a long one shorter');

  const strict = (wish: Partial<MapOptions>) => map({ port: 5000, options: [PREFER_FAILURE], ...wish });
  t.match(strict({ externalPort: 45_000 }), { result: 11, lifetime: SHORT });
  t.match(strict({ externalPort: 80 }), { result: 11 });
  t.match(strict({ externalAddress: '198.51.100.2', externalPort: 5000 }), { result: 11 }, 'another address');
  t.match(
    strict({ externalAddress: '2001:db8::1', externalPort: 5000 }),
    { result: 11 },
    'of another family',
  );
  const heeded = strict({ externalAddress: OUTSIDE, externalPort: 5000 });
  t.match(heeded, { result: 0, externalPort: 5000 });
  t.same(heeded.bytes.subarray(60), PREFER_FAILURE, 'an option that was heeded comes back');
  t.match(strict({ externalPort: 5001 }), { result: 11 }, 'what is there has another port');

  mapper.isFull = true;
  t.match(map({ port: 6000 }), { result: 8, lifetime: SHORT });
  mapper.isFull = false;
  mapper.isLimited = true;
  t.match(map({ port: 6000 }), { result: 10, lifetime: SHORT }, "the subscriber's limit of ports");
  mapper.isLimited = false;
  mapper.ranges = [{ min: 20_000, max: 20_999 }];
  t.match(strict({ port: 6000, externalPort: 45_100 }), { result: 11 }, 'not of the outside interface');
  const within = map({ port: 6001, externalPort: 45_101 }).externalPort!;
  t.ok(within >= 20_000 && within <= 20_999, 'another one of its own');
  mapper.ranges = [];
  mapper.address = undefined;
  t.match(map({ port: 6000 }), { result: 7, lifetime: SHORT }, 'no address outside');
  const six = ask(mapRequest('fd00:10::2', { port: 4000 }), 'fd00:10::2');
  t.match(six, { result: 0, externalPort: 4000, external: address16('2001:db8:1::1') }, 'IPv6');
});

test('PCP: a mapping is renewed and deleted by its nonce alone', async (t) => {
  const { map, mapper, clock } = place(t);
  const mine = Buffer.alloc(12, 1);
  const other = Buffer.alloc(12, 2);
  t.match(map({ port: 4000, nonce: mine, lifetime: 600 }), { result: 0 });
  clock.ms += 100_000;
  t.match(map({ port: 4000, nonce: other }), { result: 2, lifetime: 500 }, 'until when it is so');
  t.match(map({ port: 4000, nonce: other, lifetime: 0 }), { result: 2, lifetime: 500 });
  t.match(map({ port: 4000, nonce: mine, lifetime: 600 }), { result: 0, lifetime: 600, externalPort: 4000 });
  t.equal([...mapper.held.values()][0]!.until, clock.ms + 600_000);

  const gone = map({ port: 4000, nonce: mine, lifetime: 0, externalPort: 4000, externalAddress: OUTSIDE });
  t.match(gone, { result: 0, lifetime: 0, externalPort: 4000, external: address16(OUTSIDE) });
  t.equal(mapper.held.size, 0);
  t.match(map({ port: 4000, nonce: other, lifetime: 0 }), { result: 0 }, 'what is not there is deleted');

  for (const port of [1, 2]) map({ port, nonce: mine });
  map({ port: 3, proto: 'tcp', nonce: other });
  t.match(map({ proto: 0, port: 0, lifetime: 0, nonce: mine }), { result: 0 });
  t.same([...mapper.held.keys()], [`${CLIENT} 6 3`], 'all of the nonce');
});

test('PCP: a subscriber has its share, and what ends gives it back', async (t) => {
  const { map, mapper, clock, book } = place(t);
  for (const port of [1, 2, 3]) t.match(map({ port, lifetime: 120 }), { result: 0 });
  t.match(map({ port: 4 }), { result: 10, lifetime: SHORT }, 'USER_EX_QUOTA');
  t.match(map({ port: 2, lifetime: 500 }), { result: 0 }, 'what it has it may renew');
  t.match(map({ port: 1 }, '10.0.0.3'), { result: 0 }, 'others have their own');
  for (const port of [1, 2, 3]) map({ port }, `fd00:10::${port}`);
  t.match(map({ port: 4 }, 'fd00:10::9'), { result: 10 }, 'of IPv6 a /64 shares it');

  t.equal(book.nextDeadlineMs, clock.ms + 120_000);
  clock.ms += 121_000;
  book.expire(mapper);
  t.equal(book.size, 5);
  t.match(map({ port: 4 }), { result: 0 });
});

test('PCP: who is not served, or asks too often, gets nothing', async (t) => {
  const { map, raw, server, clock } = place(t);
  t.match(map({ port: 1 }, '10.0.1.2'), { result: 2, lifetime: LONG });
  t.match(map({ port: 1 }, 'fe80::1'), { result: 2 });
  const flood = () => Array.from({ length: 300 }, () => raw(header(0, CLIENT))).filter(Boolean).length;
  t.equal(flood(), 100, 'a burst');
  clock.ms += 1000;
  t.equal(flood(), 20, 'and so many a second');
  t.match(map({ port: 1 }, '10.0.0.9'), { result: 0 }, "another one's requests are its own");
  t.equal(server.answers.get('dropped'), 480);
  t.equal(server.answers.get('NOT_AUTHORIZED'), 2);
});

test('PCP: the epoch goes on after a restart, and begins anew when mappings are lost', async (t) => {
  const { map, ask, mapper, clock, open, path, lost, book } = place(t);
  t.ok(book.isNew);
  t.match(ask(header(0, CLIENT)), { result: 0, opcode: 0x80, lifetime: 0, epoch: 0 });
  map({ port: 1 });
  map({ port: 2 });
  clock.ms += 10_000;
  t.match(ask(header(0, CLIENT)), { epoch: 10 });
  appendFileSync(path, '{"put":{"client":"10.0.');

  const next = open();
  t.notOk(next.isNew);
  t.equal(next.epoch, 10);
  t.equal(next.size, 2, 'a line that a crash has cut off is left out');
  next.check(mapper);
  t.same(lost, []);
  mapper.release({ address: parseAddress(CLIENT), protocol: 17, port: 2 });
  next.check(mapper);
  t.equal(next.epoch, 0);
  t.equal(next.size, 1);
  t.equal(lost.length, 1);
  t.equal(open().size, 1, 'which is remembered');

  const { mappings } = new Journal(path, 'boot').read();
  t.match(mappings, [{ inside: { port: 1 } }]);
  t.same(new Journal(path, 'another boot').read(), { epochMs: undefined, mappings: [] });
  t.equal(mapper.held.size, 1);
  clock.ms += 10 ** 8;
  const last = open();
  last.expire(mapper);
  t.equal(last.size, 0, 'what has ended meanwhile is let go');
  t.equal(mapper.held.size, 0, 'in the datapath, too');
  t.equal(open().size, 0);
  t.equal(readFileSync(path, 'utf8').split('\n').length, 2);
  for (const line of ['null', '7', '{"put":{"client":"nobody"}}', '{"put":7}']) {
    appendFileSync(path, `${line}\n`);
    t.equal(open().size, 0, `${line} is left out`);
  }
});

test('PCP: what could not be written whole does not spoil what is written next', async (t) => {
  const path = join(t.testdir(), 'journal');
  const journal = new Journal(path, 'boot');
  journal.write(5, []);
  // a folder in its place: the append fails as on a full disk
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  t.throws(() => journal.delete('x'), /can not write .*journal/);
  rmdirSync(path);
  renameSync(`${path}.away`, path);
  appendFileSync(path, '{"delete":"half');
  const mapping = {
    inside: { address: parseAddress(CLIENT), protocol: 17, port: 1 },
    held: { slot: 1, gen: 1, external: { address: parseAddress('198.51.100.1'), port: 9 } },
    nonce: '00',
    deadlineMs: 9,
  };
  journal.put(mapping);
  t.match(new Journal(path, 'boot').read().mappings, [{ inside: { port: 1 } }]);
});

/** Makes every write to the journal fail, as a full disk does; returns what ends that. */
function spoil(path: string): () => void {
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  return () => {
    rmdirSync(path);
    renameSync(`${path}.away`, path);
  };
}

test('PCP: what can not be remembered is not promised', async (t) => {
  const { map, mapper, book, path, clock, open, lost } = place(t);
  t.match(map({ port: 1, lifetime: 600 }), { result: 0 });
  const { until } = [...mapper.held.values()][0]!;
  clock.ms += 100_000;
  const mend = spoil(path);
  t.match(map({ port: 2 }), { result: 8, lifetime: SHORT }, 'NO_RESOURCES');
  t.same([...mapper.held.keys()], [`${CLIENT} 17 1`], 'it is undone');
  t.equal(book.size, 1);
  t.match(map({ port: 1, lifetime: 900 }), { result: 8 }, 'a renewal');
  t.equal([...mapper.held.values()][0]!.until, until, 'leaves it as it was');
  t.match(map({ port: 1, lifetime: 0 }), { result: 8 }, 'a deletion as well');
  t.equal(mapper.held.size, 1);
  mend();
  t.match(map({ port: 2 }), { result: 0 });
  t.match(map({ port: 1, lifetime: 0 }), { result: 0 });
  t.equal(open().size, 1, 'and a restart knows what there is');
  t.same(lost, []);

  const mendAgain = spoil(path);
  clock.ms += 10 ** 8;
  book.expire(mapper);
  t.equal(book.size + mapper.held.size, 0, 'what is over ends all the same');
  mendAgain();
  book.expire(mapper);
  t.same(new Journal(path, 'boot').read().mappings, [], 'and is written down later');
});

test('PCP: a mapping that is busy is not lost', async (t) => {
  const { map, mapper, book, clock, lost } = place(t);
  map({ port: 4000, lifetime: 600 });
  clock.ms += 10_000;
  mapper.isBusy = true;
  t.match(map({ port: 4000 }), { result: 8, lifetime: SHORT, epoch: 10 });
  t.match(map({ port: 4000, lifetime: 0 }), { result: 8 });
  book.check(mapper);
  t.same(lost, []);
  mapper.isBusy = false;
  t.match(map({ port: 4000, lifetime: 300 }), { result: 0, externalPort: 4000, epoch: 10 });
  t.match(map({ port: 4000, lifetime: 0 }), { result: 0 });
  t.equal(mapper.held.size + book.size, 0);
});

test('PCP: what packets have made of a deadline is put right', async (t) => {
  const { map, mapper, book, lost } = place(t);
  map({ port: 1, lifetime: 600 });
  const [held] = mapper.held.values();
  const { until } = held!;
  held!.until -= 300_000;
  mapper.isBusy = true;
  book.check(mapper);
  mapper.isBusy = false;
  t.not(held!.until, until, 'not while it is busy');
  book.check(mapper);
  t.equal(held!.until, until);
  t.same(lost, []);
});

test('PCP: another outside address begins the epoch anew (RFC 6887 section 8.5)', async (t) => {
  const { map, ask, mapper, book, clock, lost } = place(t);
  map({ port: 1 });
  map({ port: 2 });
  clock.ms += 10_000;
  mapper.address = undefined;
  book.check(mapper);
  t.match(ask(header(0, CLIENT)), { epoch: 10 }, 'none for a moment is no other');
  mapper.address = '198.51.100.9';
  const moved = map({ port: 2 });
  t.match(moved, { result: 0, epoch: 0, external: address16('198.51.100.9') }, 'who renews gets it');
  t.equal(lost.length, 1);
  clock.ms += 5000;
  book.check(mapper);
  t.match(ask(header(0, CLIENT)), { epoch: 0 });
  t.equal(lost.length, 2);
  t.same([...mapper.held.keys()], [`${CLIENT} 17 2`], 'what was at the other one is let go');
  clock.ms += 5000;
  book.check(mapper);
  t.match(ask(header(0, CLIENT)), { epoch: 5 }, 'once');
});

test('PCP: a source is believed on the interface whose network it is in', async (t) => {
  const links = [
    { name: 'lan0', ifindex: 2 },
    { name: 'guest0', ifindex: 3 },
  ] as unknown as Network['links'];
  const addresses = [
    [2, '10.0.0.1', 24],
    [3, '10.0.1.1', 24],
    [3, '10.0.0.129', 26], // a part of lan0's, at guest0
    [2, 'fe80::1', 64],
    [3, 'fe80::1', 64],
    [2, 'fd00:10::1', 64],
  ].map(([ifindex, address, prefix]) => ({ ifindex, address, prefix })) as unknown as Network['addresses'];
  const near = new Neighbourhood({ netns: 0, links, addresses });
  const on = (source: string) =>
    ['lan0', 'guest0'].filter((device) => near.isPlausible(parseAddress(source), device)).join(' ');
  const expected: Record<string, string> = {
    '10.0.0.2': 'lan0',
    '10.0.1.2': 'guest0',
    '10.0.0.130': 'guest0',
    '10.0.0.1': '',
    '172.16.0.1': 'lan0 guest0', // behind a router: the configuration's `allow` says
    'fd00:10::2': 'lan0',
    'fd00:10::1': '',
    'fe80::2': 'lan0 guest0',
  };
  t.same(Object.fromEntries(Object.keys(expected).map((source) => [source, on(source)])), expected);
});

test('PCP: a mapping that the datapath has lost is made anew when it is renewed', async (t) => {
  const { map, ask, mapper, clock, lost } = place(t);
  map({ port: 1, externalPort: 45_000 });
  clock.ms += 10_000;
  mapper.held.clear();
  t.match(map({ port: 1, externalPort: 45_000 }), { result: 0, externalPort: 45_000, epoch: 0 });
  t.equal(lost.length, 1);
  t.match(ask(header(0, CLIENT)), { epoch: 0 });
});

test('NAT-PMP: the same mappings, by version 0', async (t) => {
  const { raw, map, mapper, clock } = place(t);
  clock.ms += 5000;
  const ask = (opcode: number, port = 0, external = 0, lifetime = 0) => {
    const bytes = Buffer.alloc(opcode === 0 ? 2 : 12);
    bytes[1] = opcode;
    if (opcode) {
      bytes.writeUInt16BE(port, 4);
      bytes.writeUInt16BE(external, 6);
      bytes.writeUInt32BE(lifetime, 8);
    }
    return raw(bytes)!.toString('hex');
  };
  t.equal(ask(0), '0080000000000005c6336401', 'the external address');
  t.equal(ask(1, 4000, 45_000, 7200), '00810000000000050fa0afc800001c20', 'UDP');
  t.equal(ask(2, 4000, 45_001, 7200), '00820000000000050fa0afc900001c20', 'TCP');
  t.equal(ask(1, 4000, 0, 7200), '00810000000000050fa0afc800001c20', 'renewed, as it is');
  t.match(map({ port: 4000 }), { result: 2 }, 'PCP has no nonce for it');
  t.equal(ask(1, 4000, 0, 0), '00810000000000050fa0000000000000', 'deleted');
  t.match(map({ port: 4000 }), { result: 0 });
  t.equal(ask(1, 4000, 0, 7200), '00810002000000050fa0000000000000', "a nonce's mapping is not NAT-PMP's");
  t.equal(ask(1, 4000, 0, 0), '00810002000000050fa0000000000000');
  t.equal(ask(2, 0, 0, 0), '00820000000000050000000000000000', 'all of TCP');
  t.same([...mapper.held.keys()], [`${CLIENT} 17 4000`]);
  mapper.isFull = true;
  t.equal(ask(1, 4001, 0, 7200), '00810004000000050fa1000000000000', 'out of resources');
  mapper.address = undefined;
  t.equal(ask(0), '008000030000000500000000', 'network failure');
  t.equal(ask(9), '0089000500000005', 'an opcode that nobody has');
  t.equal(raw(Buffer.from([0, 1, 0])), undefined, 'too short');
  t.equal(raw(Buffer.from([0, 128])), undefined, 'a response');
  t.equal(raw(Buffer.from([0, 0]), 'fd00:10::2')![3], 1, "IPv4's alone: UNSUPP_VERSION");
  t.equal(raw(Buffer.from([0, 0]), '10.0.1.2')!.toString('hex'), '0080000200000005', 'not served');
  const without = place(t, { natPmp: false });
  t.match(
    without.ask(Buffer.from([0, 0])),
    { version: 2, opcode: 0x80, result: 1 },
    'turned off: UNSUPP_VERSION',
  );
});

test('PCP: external ports in the order in which they are tried', async (t) => {
  const inside = { address: parseAddress(CLIENT), protocol: 17, port: 4001 };
  const outside = { address: parseAddress(OUTSIDE), ranges: [{ min: 20_000, max: 20_009 }] };
  const allowed = [{ min: 1024, max: 65_535 }];
  const ports = [...externalPorts(inside, outside, { port: 20_004, isStrict: false, allowed })];
  t.equal(ports[0], 20_004, 'what is asked for');
  t.ok(ports.every((port) => port >= 20_000 && port <= 20_009));
  t.ok(ports.slice(1, 50).every((port) => port % 2 === 1));
  t.equal(new Set(ports).size, 10, 'every port of the range comes');
  const named = (port: number, isStrict: boolean, at: Outside = outside) => [
    ...externalPorts(inside, at, { port, isStrict, allowed }),
  ];
  t.notOk(named(30_000, false).includes(30_000), 'none that the interface or pool does not have');
  t.same(named(30_000, true), [], 'PREFER_FAILURE: rather nothing');
  const anywhere = { ...outside, ranges: [] };
  t.equal(named(30_000, false, anywhere)[0], 30_000, 'where nothing is said any');
  t.same(named(80, true, anywhere), [], 'that clients may ask for');
});

test('PCP: the outside address is the one that the datapath gives', async (t) => {
  const rule = (to: string, more = {}) => parseNatRule({ kind: 'snat', ifname: 'wan0', to, ...more });
  const inside = { address: parseAddress(CLIENT), protocol: 17, port: 1 };
  const rules = [
    rule('192.0.2.1', { dst: '9.9.9.9' }),
    rule('192.0.2.2', { src: '10.0.0.0/24' }),
    rule('192.0.2.3'),
  ];
  t.equal(sourceRule(rules, 'wan0', inside), rules[1]);
  t.equal(sourceRule(rules, 'wan1', inside), undefined);
  const pool = rule('192.0.2.1:1000-1999,192.0.2.1:3000-3999');
  const outside = snatOutside(pool, inside.address)!;
  t.equal(formatAddress(outside.address), '192.0.2.1');
  t.same(outside.ranges, [
    { min: 1000, max: 1999 },
    { min: 3000, max: 3999 },
  ]);
  const forward = parseNatRule({
    kind: 'dnat',
    ifname: 'wan0',
    proto: 'udp',
    dport: '80-90',
    to: '10.0.0.9:80',
  });
  const at = (proto: number, port: number) =>
    isForwarded([forward], 'wan0', proto, parseAddress(OUTSIDE), port);
  t.same([at(17, 85), at(6, 85), at(17, 91)], [true, false, false]);
});

test('PCP: a port that a program of the router listens on', async (t) => {
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   1: 00000000:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1',
    '   2: 0100007F:1F91 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 2',
    '   3: 00000000:1F92 0A000001:0050 01 00000000:00000000 00:00000000 00000000     0        0 3',
  ].join('\n');
  const at = (port: number, address = OUTSIDE) =>
    listens(text, '0A', hexWords(parseAddress(address).bytes), port);
  t.same([at(8080), at(8081), at(8082)], [true, false, false]);
  t.ok(at(8081, '127.0.0.1'));
});
