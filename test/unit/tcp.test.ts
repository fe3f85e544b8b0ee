// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// bpf/tcp.h on the host: its transition table, every rule beyond it, and what must hold for any input.

import t from 'tap';
import { startNative } from '../helpers/tcp/native.js';
import { PACKETDRILL } from '../helpers/tcp/packetdrill.js';
import { Random } from '../helpers/tcp/random.js';
import { RULES } from '../helpers/tcp/rules.js';
import { play } from '../helpers/tcp/scenario.js';
import {
  ACK,
  FIN,
  lineOf,
  type Observation,
  observationOf,
  RST,
  SEEN_REPLY,
  STATES,
  SYN,
  segment,
  URG,
} from '../helpers/tcp/segment.js';
import { Sequence } from '../helpers/tcp/sequence.js';
import { Teardown } from '../helpers/teardown.js';

/** The programs that are tested are also searched for undefined behaviour and stray accesses. */
const CHECKED = { flags: ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'] };
const tracker = await startNative(Teardown.of(t), CHECKED);
const { process } = tracker;

const [NEXT_IGNORE, NEXT_INVALID] = [14, 15];

/** Columns are the states from NONE to SYN_SENT2; iv invalid, ig let through, as in Netfilter's documentation. */
const TABLE = `
  a SYN     SS SS ig ig ig ig ig SS SS S2
  a SYN+ACK iv iv SR iv iv iv iv iv iv SR
  a FIN     iv iv FW FW LA LA LA TW CL iv
  a ACK     ES iv ES ES CW CW TW TW CL iv
  a RST     iv CL CL CL CL CL CL CL CL CL
  b SYN     iv S2 iv iv iv iv iv SS iv S2
  b SYN+ACK iv SR ig ig ig ig ig ig ig SR
  b FIN     iv iv FW FW LA LA LA TW CL iv
  b ACK     iv ig SR ES CW CW TW TW CL ig
  b RST     iv CL CL CL CL CL CL CL CL CL`;
const CELLS = ['--', 'SS', 'SR', 'ES', 'FW', 'CW', 'LA', 'TW', 'CL', 'S2'];
const KINDS: Record<string, number[]> = {
  SYN: [SYN, SYN | URG],
  'SYN+ACK': [SYN | ACK],
  FIN: [FIN | ACK, FIN | ACK | URG],
  ACK: [ACK, ACK | URG],
  RST: [RST, RST | ACK],
};

interface Transition {
  side: 'a' | 'b';
  flags: number;
  from: number;
  /** A state's number, NEXT_IGNORE or NEXT_INVALID. */
  to: number;
}

const TRANSITIONS: Transition[] = TABLE.trim()
  .split('\n')
  .flatMap((row) => {
    const [side, kind, ...cells] = row.trim().split(/\s+/);
    return cells.flatMap((cell, from) => {
      const to = { ig: NEXT_IGNORE, iv: NEXT_INVALID }[cell] ?? CELLS.indexOf(cell);
      return KINDS[kind!]!.map((flags) => ({ side: side as 'a' | 'b', flags, from, to }));
    });
  });

t.test('every state, kind of segment and direction leads where the table says', async (t) => {
  t.equal(TRANSITIONS.length, (2 + 1 + 2 + 2 + 2) * 2 * 10);

  const lines = TRANSITIONS.map(({ side, flags, from }) => `next ${from} ${flags} ${Number(side === 'b')}`);
  const answers = await process.ask(lines);

  t.same(
    answers.map(Number),
    TRANSITIONS.map(({ to }) => to),
  );
});

t.test('no number leads out of the states', async (t) => {
  const lines: string[] = [];
  for (let state = 0; state < 256; state++)
    for (let flags = 0; flags < 256; flags++)
      for (const reply of [0, 1]) lines.push(`next ${state} ${flags} ${reply}`);

  const answers = new Set(await process.ask(lines));

  const allowed = [...STATES.keys(), NEXT_IGNORE, NEXT_INVALID].map(String);
  t.same(
    [...answers].filter((answer) => !allowed.includes(answer)),
    [],
  );
});

t.test('the flow moves as the table says where nothing else speaks against it', async (t) => {
  const existing = TRANSITIONS.filter(({ from }) => from !== 0);

  const answers = await process.ask(
    existing.flatMap(({ side, flags, from }) => [
      `put ${from} ${SEEN_REPLY} 0`,
      'set liberal 1',
      lineOf({ do: 'segment', segment: segment(side, flags, 1000, { ack: 1 }) }),
    ]),
  );

  for (const [i, transition] of existing.entries()) {
    const seen = observationOf(answers[i * 3 + 2]!);
    const { to, from } = transition;
    // without a FIN or a RST before it, a SYN in TIME_WAIT or CLOSE is let through
    const ignored = to === NEXT_IGNORE || (to === 1 && from >= 7);
    const state = STATES[ignored || to === NEXT_INVALID ? from : to];
    const kind = to === NEXT_INVALID ? 'invalid' : 'established';
    t.match(seen, { class: kind, entry: { state } }, JSON.stringify(transition));
  }
});

t.test('just the flag combinations that TCPs send are valid', async (t) => {
  const known = new Set(Object.values(KINDS).flat());
  const all = Array.from({ length: 256 }, (_, flags) => flags);

  const answers = await process.ask(all.map((flags) => `valid ${flags}`));

  const judged = FIN | SYN | RST | ACK | URG;
  t.same(
    answers.map(Number),
    all.map((flags) => Number(known.has(flags & judged))),
  );
});

t.test('rules beyond the table', async (t) => {
  for (const rule of RULES) t.equal(await play(tracker, rule), undefined, rule.name);
});

t.test("Linux's own packetdrill situations", async (t) => {
  for (const situation of PACKETDRILL) t.equal(await play(tracker, situation), undefined, situation.name);
});

t.test('the short way takes the usual segments', async (t) => {
  const usual = async (): Promise<number> => Number((await process.ask(['usual']))[0]);
  const before = await usual();
  for (const rule of PACKETDRILL) await play(tracker, rule);
  t.ok((await usual()) > before);
});

t.test('a build by gcc with bounded loops agrees', async (t) => {
  const tracker = await startNative(Teardown.of(t), { compiler: 'gcc', flags: ['-DCTNAT_LOOPS'] });
  for (const rule of [...RULES, ...PACKETDRILL]) t.equal(await play(tracker, rule), undefined, rule.name);
});

t.test('what lies beyond both windows is never accepted unless the flow is liberal', async (t) => {
  const random = new Random(1);
  for (let i = 0; i < 500; i++) {
    const [x, y] = [random.next(), random.next()];
    const window = random.between(1, 65_535);
    // sequence space ahead that no window, no overshoot and no late ACK reaches
    const far = random.between(200_000, 2 ** 31 - 200_000);
    const payload = random.below(1460);
    const side = random.pick(['a', 'b'] as const);
    const [own, peer] = side === 'a' ? [x + 1, y + 1] : [y + 1, x + 1];
    const stray = random.chance(0.5)
      ? segment(side, ACK, own + far, { ack: peer, window, payload })
      : segment(side, ACK, own, { ack: peer + far, window, payload });
    const open = [
      segment('a', SYN, x, { window }),
      segment('b', SYN | ACK, y, { ack: x + 1, window }),
      segment('a', ACK, x + 1, { ack: y + 1, window }),
    ];
    const liberal = random.chance(0.2);
    const observations = await tracker.run([
      ...open.map((segment) => ({ do: 'segment' as const, segment })),
      { do: 'set', name: 'liberal', value: Number(liberal) },
      { do: 'segment', segment: stray },
    ]);
    const kind: Observation['class'] = liberal ? 'established' : 'invalid';
    if (observations.at(-1)?.class !== kind)
      t.fail('class of a far segment', { stray, x, y, window, liberal });
  }
  t.pass();
});

t.test(
  'any segments on any garbage: states stay in the enum or as they were, scales in their nibbles',
  async (t) => {
    const random = new Random(2);
    for (let round = 0; round < 200; round++) {
      const state = random.below(256);
      const start = `put ${state} ${random.below(0x10000)} ${random.below(256)}`;
      const operations = Sequence.make(random, 50);

      const answers = await process.ask(['new', start, ...operations.map(lineOf)]);

      for (const answer of answers) {
        if (answer === 'ok' || answer === 'none' || answer.endsWith(' -')) continue;
        const [kind, , now, , , , , ...scales] = answer.split(' ');
        const sane =
          ['new', 'established', 'invalid'].includes(kind!) &&
          (Number(now) < STATES.length || Number(now) === state) &&
          scales.every((scale) => Number(scale) <= 15);
        if (!sane) t.fail(answer, { round, start });
      }
    }
  },
);
