// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Long work in short steps. */
import { setImmediate, setTimeout } from 'node:timers/promises';

/** What is done besides packets rests five times as long as it works: it takes memory and caches from them as well. */
export const BESIDE_PACKETS = { rests: 5 };

/**
 * Does all the steps, and lets timers, signals and sockets have their turn in between.
 * @param pace rests: behind each step for so many times as long as it took, 1 ms at least; 0: not at all
 */
export async function runSteps<T>(
  steps: Generator<void, T, undefined>,
  { rests } = { rests: 0 },
): Promise<T> {
  for (;;) {
    const began = performance.now();
    const step = steps.next();
    if (step.done) return step.value;
    if (rests > 0) await setTimeout(Math.max(1, (performance.now() - began) * rests));
    else await setImmediate();
  }
}
