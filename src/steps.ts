// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Long work in short steps. */
import { setImmediate } from 'node:timers/promises';

/** Does all the steps, and lets timers, signals and sockets have their turn in between. */
export async function runSteps<T>(steps: Generator<void, T, undefined>): Promise<T> {
  for (;;) {
    const step = steps.next();
    if (step.done) return step.value;
    await setImmediate();
  }
}
