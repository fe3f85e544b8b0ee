// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The bench's arithmetic, its tables and plots, and what it leaves of the machine's settings.
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { TARGETS } from '../bench/aims.js';
import { borrow, mend } from '../bench/borrowed.js';
import { digits, table } from '../bench/markdown.js';
import { plot } from '../bench/plot.js';
import { interleave, quantile, summarize } from '../bench/statistics.js';
import { Figures, type Target, targetTable } from '../bench/targets.js';

t.test('a summary is the median, and half the distance of the quartiles', async (t) => {
  t.strictSame(summarize([5, 1, 3, 2, 4]), { median: 3, spread: 1 / 3, readings: 5 });
  t.equal(summarize([1, 2]).median, 1.5);
  t.equal(summarize([7]).spread, 0);
  t.equal(quantile([0, 10], 0.25), 2.5);
  t.throws(() => summarize([]), RangeError);
});

t.test('variants are read in turns, the first round is thrown away', async (t) => {
  const order: string[] = [];
  let n = 0;
  const variant = (name: string) => ({
    name,
    read: () => {
      order.push(name);
      return ++n;
    },
  });

  const found = interleave([variant('a'), variant('b')], 2);

  t.strictSame(order, ['a', 'b', 'b', 'a', 'a', 'b']);
  t.strictSame(found.get('a'), summarize([4, 5]));
  t.strictSame(found.get('b'), summarize([3, 6]));
});

t.test('tables line up', async (t) => {
  t.equal(
    table(
      ['name', 'ns'],
      [
        ['a', '1'],
        ['longer', '12'],
      ],
    ),
    '| name   |  ns |\n| ------ | --: |\n| a      |   1 |\n| longer |  12 |',
  );
  t.equal(digits(1234.5), '1235');
  t.equal(digits(1.2345), '1.23');
  t.equal(digits(0.012345), '0.0123');
  t.equal(digits(0), '0');
});

const LABELS = { title: 'Packets <64 bytes>', xLabel: 'flows', yLabel: 'a & b' };

/** Where the circles of a plot are, in the order in which they were drawn. */
const circles = (svg: string): [number, number][] =>
  [...svg.matchAll(/<circle cx="([\d.]+)" cy="([\d.]+)"/g)].map(([, x, y]) => [Number(x), Number(y)]);

t.test('a plot: decades are equally far apart, heights are in proportion from 0 up', async (t) => {
  const svg = plot(
    [
      {
        name: 'one',
        points: [
          [1, 2],
          [10, 1],
          [1000, 0],
        ],
      },
      {
        name: 'other',
        points: [
          [1, 0.5],
          [1000, 2],
        ],
      },
    ],
    LABELS,
  );
  const [a, b, c, d, e] = circles(svg);

  t.ok(Math.abs((c![0] - a![0]) / (b![0] - a![0]) - 3) < 0.01);
  t.equal(d![0], a![0], 'one x is one place');
  t.equal(e![1], a![1], 'one y is one height');
  t.ok(a![1] < b![1], 'more is above less');
  t.ok(Math.abs((c![1] - a![1]) / (c![1] - b![1]) - 2) < 0.01);
  t.ok(Math.abs((c![1] - a![1]) / (c![1] - d![1]) - 4) < 0.01);
  for (const words of ['Packets &lt;64 bytes>', 'a &amp; b', '>flows<', '>one<', '>other<', '>1,000<'])
    t.ok(svg.includes(words), words);
  t.equal(svg.match(/<polyline /g)!.length, 2);
  t.equal(new Set([...svg.matchAll(/<polyline .*stroke="(#\w+)"/g)].map(([, colour]) => colour)).size, 2);
});

t.test('a plot of one point, or of nothing but zeros, has no NaN; one of no points is refused', async (t) => {
  for (const points of [[[7, 3]], [[1, 0]]] as const)
    t.notMatch(plot([{ name: 'one', points }], LABELS), /NaN|Infinity/);
  t.throws(() => plot([{ name: 'none', points: [] }], LABELS), RangeError);
});

t.test('a ratio needs both its sides from one run', async (t) => {
  const figures = new Figures();
  figures.set('a', 3);
  t.equal(figures.ratio('a', 'b'), undefined);
  t.equal(figures.ratio('b', 'a'), undefined);
  figures.set('b', 0);
  t.equal(figures.ratio('a', 'b'), undefined, 'nothing is so many times 0');
  figures.set('b', 2);
  t.equal(figures.ratio('a', 'b'), 1.5);
  for (const { figure, measured } of TARGETS) t.equal(measured(new Figures()), undefined, figure);
});

t.test('what is aimed at: met at the bound, not beyond it, and not measured is neither', async (t) => {
  const target = (is: Target['is'], value: number | undefined, unit?: string): Target => ({
    figure: `${is} ${value}`,
    bound: 2,
    is,
    ...(unit && { unit }),
    measured: () => value,
  });
  const rows = targetTable(
    [
      target('at least', 2),
      target('at least', 1.99),
      target('at most', 2, 's'),
      target('at most', 2.01),
      target('at least', undefined),
    ],
    new Figures(),
  )
    .split('\n')
    .slice(2)
    .map((line) => line.split('|').map((cell) => cell.trim()))
    .map(([, , aim, measured, met]) => [aim, measured, met]);
  t.strictSame(rows, [
    ['at least 2', '2.00', 'yes'],
    ['at least 2', '1.99', 'no'],
    ['at most 2 s', '2.00', 'yes'],
    ['at most 2', '2.01', 'no'],
    ['at least 2', 'not measured', ''],
  ]);
});

/** Two files that stand for settings, and the record of what they held. */
function settings(t: Test): { values: Record<string, number>; held: () => string[]; record: string } {
  const folder = t.testdir({ max: '65536\n', buckets: '16384\n' });
  const paths = ['max', 'buckets'].map((name) => join(folder, name));
  return {
    values: { [paths[0]!]: 7, [paths[1]!]: 8 },
    held: () => paths.map((path) => readFileSync(path, 'utf8')),
    record: join(folder, 'record.json'),
  };
}

const BEFORE = ['65536\n', '16384\n'];

t.test("the machine's settings are put back, once", async (t) => {
  const { values, held, record } = settings(t);
  const back = borrow(values, record);
  t.strictSame(held(), ['7', '8']);
  t.strictSame(mend(record), [], 'a run that goes on keeps them');
  t.throws(() => borrow(values, record), /the bench of process \d+ has/);

  back();
  t.strictSame(held(), BEFORE);
  t.notOk(existsSync(record));
  writeFileSync(Object.keys(values)[0]!, '9');
  back();
  t.equal(held()[0], '9', 'what was changed since is left alone');
});

t.test('a setting that can not be written: those before it are put back', async (t) => {
  const { values, held, record } = settings(t);
  t.throws(() => borrow({ ...values, [join(record, 'none')]: 1 }, record), { code: 'ENOENT' });
  t.strictSame(held(), BEFORE);
  t.notOk(existsSync(record));
});

/** Borrows in a process of its own, which ends as the words say. */
function borrowIn(values: Record<string, number>, record: string, end: string): void {
  const module = (path: string) => JSON.stringify(fileURLToPath(new URL(path, import.meta.url)));
  const { stderr } = spawnSync(process.execPath, [
    '--input-type=module',
    '-e',
    `import { borrow } from ${module('../bench/borrowed.js')};
     import { Teardown } from ${module('../helpers/teardown.js')};
     Teardown.create().defer('settings', borrow(${JSON.stringify(values)}, ${JSON.stringify(record)}));
     process.kill(process.pid, '${end}');
     setTimeout(() => {}, 20_000);`,
  ]);
  t.equal(stderr.toString(), '');
}

t.test('a signal puts the settings back; after SIGKILL the next run does', async (t) => {
  const { values, held, record } = settings(t);
  for (const signal of ['SIGTERM', 'SIGINT']) {
    borrowIn(values, record, signal);
    t.strictSame(held(), BEFORE, signal);
    t.notOk(existsSync(record));
  }
  borrowIn(values, record, 'SIGKILL');
  t.strictSame(held(), ['7', '8']);
  t.strictSame(mend(record), Object.keys(values));
  t.strictSame(held(), BEFORE);
  t.notOk(existsSync(record));
});
