// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { test } from 'tap';
import { BESIDE_PACKETS, runSteps } from '../../src/steps.js';

/** Steps that take a while, and when each began and ended. */
function* busySteps(times: [began: number, ended: number][]): Generator<void, string, undefined> {
  for (let i = 0; i < 3; i++) {
    const began = performance.now();
    let ended = began;
    while (ended - began < 4) ended = performance.now();
    times.push([began, ended]);
    yield;
  }
  return 'done';
}

test('work beside packets rests behind each step for a multiple of its time', async (t) => {
  const times: [number, number][] = [];
  t.equal(await runSteps(busySteps(times), BESIDE_PACKETS), 'done');
  t.equal(times.length, 3);
  for (const [i, [began, ended]] of times.slice(0, -1).entries()) {
    const rested = times[i + 1]![0] - ended;
    // timers are of whole milliseconds
    t.ok(rested > (ended - began) * BESIDE_PACKETS.rests - 2, `${rested.toFixed(1)} ms behind 4`);
  }
});

test('timers have their turn between steps that do not rest', async (t) => {
  const times: [number, number][] = [];
  let turns = 0;
  const timer = setInterval(() => turns++, 1);
  t.equal(await runSteps(busySteps(times)), 'done');
  clearInterval(timer);
  t.ok(turns > 0, `${turns} turns`);
});
