// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Sweeps the tables below a pin path as the agent does, but one sweep behind the other, until it is ended. For the
// bench.
import { Datapath } from '../../src/datapath.js';
import { BESIDE_PACKETS, runSteps } from '../../src/steps.js';
import { Sweeper } from '../../src/sweeper.js';

using datapath = Datapath.open(process.argv[2]!);
const sweeper = new Sweeper(datapath);
let ended = false;
process.once('SIGTERM', () => {
  ended = true;
});
while (!ended) {
  const { durationMs } = await runSteps(sweeper.sweepSteps(), BESIDE_PACKETS);
  console.log(`swept in ${durationMs.toFixed(0)} ms`);
}
