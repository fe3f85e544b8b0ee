// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Sweeps the tables below a pin path, one sweep behind the other, until it is ended. For the bench: a process for each
// sweep would cost more than the sweep.
import { setImmediate } from 'node:timers/promises';
import { Datapath } from '../../src/datapath.js';
import { Sweeper } from '../../src/sweeper.js';

using datapath = Datapath.open(process.argv[2]!);
const sweeper = new Sweeper(datapath);
let ended = false;
process.once('SIGTERM', () => {
  ended = true;
});
while (!ended) {
  const { durationMs } = sweeper.sweep();
  console.log(`swept in ${durationMs.toFixed(0)} ms`);
  await setImmediate();
}
