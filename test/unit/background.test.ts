// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Work in the background: at the lowest priority while it lasts, and at its own again behind it, also when it fails.
import { getPriority } from 'node:os';
import { test } from 'tap';
import { inBackground } from '../../src/background.js';

test('the priority is the lowest meanwhile, and is given back', async (t) => {
  const own = getPriority();
  t.equal(inBackground(getPriority), 19);
  t.equal(getPriority(), own);
});

test('it is given back when the work fails', async (t) => {
  const own = getPriority();
  t.throws(
    () =>
      inBackground(() => {
        throw new Error('no');
      }),
    { message: 'no' },
  );
  t.equal(getPriority(), own);
});
