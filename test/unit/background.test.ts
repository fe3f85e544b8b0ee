// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Work in the background: at the lowest priority while it lasts, and at its own again behind it, also when it fails.
import { spawnSync } from 'node:child_process';
import { getPriority } from 'node:os';
import { test } from 'tap';
import { inBackground } from '../../src/background.js';

/** Whether a process here gets its priority back, by trying it: without, work stays where it is. */
const returns = spawnSync('nice', ['-n', '19', 'sh', '-c', 'renice -n 0 $$']).status === 0;

test('the priority is the lowest meanwhile, and is given back', async (t) => {
  const own = getPriority();
  t.equal(inBackground(getPriority), returns ? 19 : own);
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
