// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// bpf/tcp_options.h on the host, with and without bounded loops, against a plain reader.

import t from 'tap';
import { startNative } from '../helpers/tcp/native.js';
import {
  END,
  header,
  linuxSyn,
  mss,
  NOP,
  PLAIN,
  SACK_PERMITTED,
  sack,
  TIMESTAMP,
  windowScale,
} from '../helpers/tcp/options.js';
import { Random } from '../helpers/tcp/random.js';
import { Teardown } from '../helpers/teardown.js';

const [HAS_SCALE, HAS_SACK_PERMITTED, HAS_OPTIONS] = [1, 2, 4];
const SANITIZE = ['-fsanitize=address,undefined', '-fno-sanitize-recover=all'];
/** Options that are read without bounded loops, counting a pair of NOPs as one. */
const PASSES = 8;

type Read = [scale: number, flags: number, sack: number];

/** What the options say, read the simple way. */
function read(hex: string, ack: number): Read {
  const bytes = Buffer.from(hex, 'hex');
  let [scale, flags, edge, seen] = [0, bytes.length ? HAS_OPTIONS : 0, ack, false];
  for (let at = 0; at < bytes.length && bytes[at] !== 0; ) {
    if (bytes[at] === 1) {
      at++;
      continue;
    }
    const [kind, size] = [bytes[at], bytes[at + 1] ?? 0];
    if (size < 2 || at + size > bytes.length) break;
    if (kind === 3 && size === 3) {
      scale = Math.min(bytes[at + 2]!, 14);
      flags |= HAS_SCALE;
    }
    if (kind === 4 && size === 2) flags |= HAS_SACK_PERMITTED;
    if (kind === 5 && size > 2 && size % 8 === 2 && !seen) {
      seen = true;
      for (let block = at + 2; block < at + size; block += 8) {
        const right = bytes.readUInt32BE(block + 4);
        if (((edge - right) | 0) < 0) edge = right;
      }
    }
    at += size;
  }
  return [scale, flags, edge];
}

const unrolled = await startNative(Teardown.of(t), { flags: SANITIZE });
const looping = await startNative(Teardown.of(t), { flags: [...SANITIZE, '-DCTNAT_LOOPS'] });

for (const [flavour, { process }] of [
  ['unrolled', unrolled],
  ['with loops', looping],
] as const) {
  t.test(`${flavour}: the options that TCPs send`, async (t) => {
    const cases: [name: string, options: string, read: Read][] = [
      ['Linux', linuxSyn(7), [7, 7, 100]],
      [
        'Linux without timestamps',
        header([mss(1460), NOP, NOP, SACK_PERMITTED, NOP, windowScale(7)]),
        [7, 7, 100],
      ],
      [
        'macOS',
        header([mss(1460), NOP, windowScale(6), NOP, NOP, TIMESTAMP, SACK_PERMITTED, END]),
        [6, 7, 100],
      ],
      ['Windows', header([mss(1460), NOP, windowScale(8), NOP, NOP, SACK_PERMITTED]), [8, 7, 100]],
      ['only a size', header([mss(536)]), [0, HAS_OPTIONS, 100]],
      ['none', '-', [0, 0, 100]],
      ['a timestamp', PLAIN, [0, HAS_OPTIONS, 100]],
      ['a scale beyond the limit', header([windowScale(255)]), [14, HAS_OPTIONS | HAS_SCALE, 100]],
      ['SACK', header([NOP, NOP, TIMESTAMP, NOP, NOP, sack([200, 300], [500, 900])]), [0, HAS_OPTIONS, 900]],
      ['four blocks', header([NOP, NOP, sack([1, 2], [3, 400], [5, 60], [7, 8])]), [0, HAS_OPTIONS, 400]],
      ['a block below the ACK', header([NOP, NOP, sack([10, 20])]), [0, HAS_OPTIONS, 100]],
      ['the first of two SACKs', header([sack([1, 200]), sack([1, 300])], NOP), [0, HAS_OPTIONS, 200]],
      [
        'the last of two scales',
        header([windowScale(3), windowScale(4)], NOP),
        [4, HAS_OPTIONS | HAS_SCALE, 100],
      ],
      ['nothing behind the end', header([END, windowScale(3)]), [0, HAS_OPTIONS, 100]],
      ['nothing behind a size of 0', header(['0800', windowScale(3)]), [0, HAS_OPTIONS, 100]],
      ['nothing that is cut off', header([NOP, NOP, '0803']), [0, HAS_OPTIONS, 100]],
      ['a scale of the wrong size', header(['03040500']), [0, HAS_OPTIONS, 100]],
      [
        'as many options as are read',
        header([...Array<string>(PASSES - 2).fill('fd02'), windowScale(5)], NOP),
        [5, HAS_OPTIONS | HAS_SCALE, 100],
      ],
    ];
    const answers = await process.ask(cases.map(([, options]) => `options 100 ${options}`));
    for (const [i, [name, , wanted]] of cases.entries()) t.equal(answers[i], wanted.join(' '), name);
  });

  t.test(`${flavour}: random options, well formed and not`, async (t) => {
    const random = new Random(3);
    const lines: string[] = [];
    const wanted: string[] = [];
    for (let i = 0; i < 20_000; i++) {
      const parts = Array.from({ length: random.below(PASSES / 2) }, () =>
        random.pick([
          NOP,
          SACK_PERMITTED,
          windowScale(random.below(256)),
          sack([random.next(), random.next()]),
          sack([random.next(), random.next()], [random.next(), random.next()]),
          TIMESTAMP,
          mss(1460),
          Buffer.from(Array.from({ length: random.below(5) }, () => random.below(6))).toString('hex'),
        ]),
      );
      const options = header(parts, random.pick([END, NOP]));
      const ack = random.next();
      if (!options || options.length > 80) continue;
      lines.push(`options ${ack} ${options}`);
      wanted.push(read(options, ack).join(' '));
    }

    const answers = await process.ask(lines);

    const wrong = lines.findIndex((_, i) => answers[i] !== wanted[i]);
    if (wrong >= 0) t.fail(`${lines[wrong]}: ${answers[wrong]}, not ${wanted[wrong]}`);
    t.ok(lines.length > 10_000);
  });
}

t.test('unrolled: options beyond the last pass count as the widest there are', async (t) => {
  const many = header([...Array<string>(PASSES).fill('fd02'), windowScale(5)], NOP);

  const [answer] = await unrolled.process.ask([`options 100 ${many}`]);

  t.equal(answer, `14 ${HAS_OPTIONS | HAS_SCALE | HAS_SACK_PERMITTED} 100`);
});

t.test('with loops: any number of options is read', async (t) => {
  const many = header([...Array<string>(18).fill('fd02'), NOP, windowScale(5)], NOP);

  const [answer] = await looping.process.ask([`options 100 ${many}`]);

  t.equal(answer, `5 ${HAS_OPTIONS | HAS_SCALE} 100`);
});
