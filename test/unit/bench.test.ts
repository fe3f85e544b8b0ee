// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The bench's arithmetic and its tables.
import t from 'tap';
import { digits, table } from '../bench/markdown.js';
import { interleave, quantile, summarize } from '../bench/statistics.js';

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
