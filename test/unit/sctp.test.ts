// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// bpf/sctp.h on the host: the table of docs/conntrack.md, tags, collisions, and what must hold for any input.
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { crc32c } from '../helpers/packet/checksum.js';
import { random } from '../helpers/random.js';
import { compile, ROOT } from '../helpers/tcp/compile.js';
import { LineProcess } from '../helpers/tcp/tracker.js';
import { Teardown } from '../helpers/teardown.js';

const teardown = Teardown.of(t);
const program = await compile('driver', teardown, {
  sources: join(ROOT, 'test/helpers/sctp'),
  flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'],
});
const driver = new LineProcess([program]);
teardown.defer('the SCTP machine', () => driver.close());

const STATES = ['none', 'CL', 'CW', 'CE', 'ES', 'SS', 'SR', 'SA', 'HS'];
const [ACCEPT, IGNORE, INVALID] = [0, 1, 2];
const TYPES: Record<string, number> = {
  DATA: 0,
  INIT: 1,
  'INIT ACK': 2,
  SACK: 3,
  HEARTBEAT: 4,
  'HEARTBEAT ACK': 5,
  ABORT: 6,
  SHUTDOWN: 7,
  'SHUTDOWN ACK': 8,
  ERROR: 9,
  'COOKIE ECHO': 10,
  'COOKIE ACK': 11,
  'SHUTDOWN COMPLETE': 14,
};

/** The rows of the two tables in docs/conntrack.md: chunk, then the next states. */
function documented(direction: 'original' | 'reply'): [string, string[]][] {
  const text = readFileSync(join(ROOT, 'docs/conntrack.md'), 'utf8');
  const table = text.slice(text.indexOf(`| ${direction} |`)).split('\n\n')[0]!;
  return table
    .split('\n')
    .slice(2)
    .flatMap((row) => {
      const [names, ...cells] = row.slice(2, -2).split(' | ');
      return names!.split(', ').map((name): [string, string[]] => [name, cells]);
    });
}

const chunks = (names: readonly string[]): string => names.map((name) => `${TYPES[name]}:0:20`).join(' ');
const begin = (vtag: number, initTag: number, ...names: string[]): string =>
  `begin ${vtag} ${initTag} ${chunks(names)}`;
const original = (vtag: number, initTag: number, ...names: string[]): string =>
  `packet 0 ${vtag} ${initTag} ${chunks(names)}`;
const reply = (vtag: number, initTag: number, ...names: string[]): string =>
  `packet 1 ${vtag} ${initTag} ${chunks(names)}`;

t.test('every chunk, direction and state leads where the documented table says', async (t) => {
  for (const direction of ['original', 'reply'] as const) {
    const rows = documented(direction);
    t.equal(rows.length, 11, `${direction}: every chunk that matters`);
    for (const [name, cells] of rows) {
      const first = direction === 'original' ? 0 : 1;
      const lines = cells.map((_, i) => `next ${i + first} ${TYPES[name]} ${first}`);
      const found = (await driver.ask(lines)).map((digit) => (digit === '15' ? '–' : STATES[Number(digit)]));
      // what may not begin a flow has no state to come from, whatever the machine's row says
      if (direction === 'original' && cells[0] === '–') found[0] = '–';
      t.strictSame(found, cells, `${direction} ${name}`);
    }
  }
});

t.test('no number leads out of the states', async (t) => {
  const lines: string[] = [];
  for (let state = 0; state < 64; state++)
    for (let type = 0; type < 32; type++) lines.push(`next ${state} ${type} ${type & 1}`);
  const answers = new Set(await driver.ask(lines));
  t.same(
    [...answers].filter((answer) => Number(answer) > 8 && answer !== '15'),
    [],
  );
});

t.test('what begins a flow, and with which tags', async (t) => {
  for (const [line, answer] of [
    [begin(0, 7, 'INIT'), '1 0 7 1'],
    [begin(9, 0, 'HEARTBEAT'), '8 9 0 0'],
    [begin(9, 0, 'SHUTDOWN ACK'), '7 0 9 0'],
    [begin(9, 0, 'HEARTBEAT ACK'), '1 9 0 0'],
    [begin(0, 9, 'INIT ACK'), '1 0 9 0'],
    [begin(9, 0, 'SHUTDOWN', 'HEARTBEAT'), '1 9 0 0'],
    [begin(9, 0, 'HEARTBEAT', 'HEARTBEAT ACK', 'SHUTDOWN ACK'), '7 9 9 0'],
    [begin(9, 0, 'HEARTBEAT', 'ERROR', 'SHUTDOWN ACK'), '1 9 9 0'],
    [begin(9, 0, 'COOKIE ECHO', 'HEARTBEAT'), '1 9 0 0'],
  ] as const) {
    t.equal((await driver.ask([line]))[0], answer, line);
  }
  for (const line of [
    begin(5, 7, 'INIT'),
    begin(9, 9, 'INIT ACK'),
    begin(0, 7, 'INIT', 'DATA'),
    begin(0, 7, 'INIT', 'INIT'),
    begin(9, 7, 'INIT ACK'),
    begin(0, 0, 'DATA'),
    begin(0, 0, 'ABORT'),
    begin(0, 0, 'SHUTDOWN COMPLETE'),
    begin(0, 0, 'COOKIE ACK'),
    begin(0, 0, 'HEARTBEAT', 'DATA'),
    begin(3, 0, 'SHUTDOWN'),
    begin(3, 0, 'SHUTDOWN', 'ERROR'),
    begin(3, 0, 'COOKIE ECHO'),
    begin(3, 0, 'COOKIE ECHO', 'SHUTDOWN ACK'),
    begin(0, 0, 'HEARTBEAT', 'COOKIE ECHO'),
    'begin 0 0 ',
    'begin 0 7 1:0:0',
  ]) {
    t.match((await driver.ask([line]))[0], /^0 /, line);
  }
});

t.test('an association, and what does not belong to it', async (t) => {
  const answers = await driver.ask([
    begin(0, 70, 'INIT'),
    original(9, 70, 'INIT'),
    original(0, 70, 'INIT'),
    reply(1, 50, 'INIT ACK'),
    reply(70, 50, 'INIT ACK'),
    original(51, 0, 'COOKIE ECHO', 'DATA'),
    original(50, 0, 'COOKIE ECHO', 'DATA'),
    reply(70, 0, 'COOKIE ACK', 'SACK'),
    original(51, 0, 'DATA'),
    reply(70, 0, 'SACK', 'DATA', 'DATA', 'DATA', 'DATA', 'DATA'),
    original(50, 0, 'DATA', 'COOKIE ACK'),
    'packet 0 50 0 14:1:4',
    'packet 0 70 0 6:1:4',
  ]);
  t.strictSame(
    answers.map((answer) => answer.split(' ').slice(0, 2).map(Number)),
    [
      [1, 0], // begun: CLOSED; its tag of the original direction is not known yet
      [INVALID, 1], // an INIT has no tag (RFC 9260 section 8.5.1)
      [IGNORE, 1],
      [INVALID, 1],
      [ACCEPT, 2],
      [INVALID, 2],
      [ACCEPT, 3],
      [ACCEPT, 4],
      [INVALID, 4],
      [ACCEPT, 4],
      [INVALID, 4],
      [INVALID, 4],
      [ACCEPT, 1],
    ],
  );
});

t.test('both sides begin; the INIT ACK of the handshake that lost comes late', async (t) => {
  const answers = await driver.ask([
    begin(0, 70, 'INIT'),
    reply(0, 50, 'INIT'),
    original(50, 70, 'INIT ACK'),
    reply(70, 50, 'COOKIE ECHO'),
    original(50, 0, 'COOKIE ACK'),
    reply(70, 51, 'INIT ACK'),
    original(50, 0, 'DATA'),
    reply(70, 0, 'DATA'),
  ]);
  t.strictSame(
    answers.slice(1).map((answer) => Number(answer[0])),
    [IGNORE, ACCEPT, ACCEPT, ACCEPT, INVALID, ACCEPT, ACCEPT],
  );
});

t.test('both sides begin; an INIT that comes twice is still one of two', async (t) => {
  const answers = await driver.ask([
    begin(0, 70, 'INIT'),
    reply(0, 50, 'INIT'),
    reply(0, 50, 'INIT'),
    original(50, 71, 'INIT ACK'),
    reply(0, 51, 'INIT'),
    original(51, 71, 'INIT ACK'),
  ]);
  t.strictSame(
    answers.slice(1).map((answer) => Number(answer[0])),
    [IGNORE, IGNORE, INVALID, IGNORE, ACCEPT],
  );
});

t.test(
  'an association is assured once it is established, also by a packet that goes on to shut it down',
  async (t) => {
    const answers = await driver.ask([
      'put 3 50 70 0',
      reply(70, 0, 'COOKIE ACK', 'SHUTDOWN'),
      original(50, 0, 'SHUTDOWN ACK'),
      'put 4 50 70 0',
      reply(70, 0, 'SACK', 'DATA'),
    ]);
    t.strictSame(
      answers
        .filter((answer) => answer !== 'ok')
        .map((answer) => answer.split(' ').map(Number))
        .map(([verdict, state, , , , assures]) => [verdict, state, assures]),
      [
        [ACCEPT, 6, 1],
        [ACCEPT, 7, 0],
        [ACCEPT, 4, 0],
      ],
    );
  },
);

t.test('a heartbeat with a strange tag, and the answer that settles it', async (t) => {
  const answers = await driver.ask([
    'put 4 50 70 0',
    original(99, 0, 'HEARTBEAT'),
    original(98, 0, 'HEARTBEAT ACK'),
    original(99, 0, 'HEARTBEAT', 'DATA'),
    reply(77, 0, 'HEARTBEAT ACK'),
    original(99, 0, 'HEARTBEAT'),
    original(99, 0, 'DATA'),
    reply(77, 0, 'DATA'),
  ]);
  t.strictSame(
    answers.slice(1).map((answer) => Number(answer[0])),
    [IGNORE, INVALID, INVALID, ACCEPT, ACCEPT, ACCEPT, ACCEPT],
  );
});

t.test('what a port adds to the sum is what the sum over every byte says, at every length', async (t) => {
  const rand = random(5);
  const upTo = (n: number): number => Math.floor(rand() * n);
  const cases = [...Array(300).keys(), 1500, 9000, 32_767, 32_768, 65_515, 65_535]
    .filter((length) => length >= 12)
    .map((length) => {
      const before = Buffer.from(Array.from({ length }, () => upTo(256)));
      const after = Buffer.from(before);
      after.writeUInt32LE(upTo(2 ** 32), 0);
      const change = (before.readUInt32LE(0) ^ after.readUInt32LE(0)) >>> 0;
      return { ask: `sum ${change} ${length}`, sum: (crc32c(before) ^ crc32c(after)) >>> 0 };
    });
  const answers = await driver.ask(cases.map(({ ask }) => ask));
  t.strictSame(
    answers.map(Number),
    cases.map(({ sum }) => sum),
  );
});

t.test('any packets: no state out of the enum, an invalid one changes no state for good', async (t) => {
  const rand = random(11);
  const upTo = (n: number): number => Math.floor(rand() * n);
  const lines: string[] = [];
  for (let i = 0; i < 20_000; i++) {
    const count = upTo(7);
    const list = Array.from(
      { length: count },
      () => `${upTo(rand() < 0.1 ? 256 : 16)}:${upTo(2)}:${upTo(5) ? 8 : 0}`,
    );
    if (i % 50 === 0) lines.push(`put ${1 + upTo(8)} ${upTo(3)} ${upTo(3)} ${upTo(16)}`);
    lines.push(`packet ${upTo(2)} ${upTo(3)} ${upTo(3)} ${list.join(' ')}`);
  }
  const answers = (await driver.ask(lines)).filter((answer) => answer !== 'ok');
  t.equal(answers.length, 20_000);
  t.same(
    answers.filter((answer) => {
      const [verdict = 9, state = 0] = answer.split(' ').map(Number);
      return verdict > 2 || state < 1 || state > 8;
    }),
    [],
  );
  t.ok(answers.some((answer) => answer.startsWith('0')) && answers.some((answer) => answer.startsWith('2')));
});
