// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a test has to undo, in reverse order, whatever ends it: success, failure, a time limit or a signal.

import type { Test } from 'tap';

type Step = { what: string; undo: () => Promise<unknown> | unknown };

/** A step that takes longer is given up, so that one stuck step does not keep the others from running. */
const STEP_LIMIT_MS = 10_000;

const open = new Set<Teardown>();

/** A stack of things to undo. Running it twice is harmless. */
export class Teardown {
  readonly #steps: Step[] = [];
  #done: Promise<void> | undefined;

  private constructor() {
    open.add(this);
  }

  /** A stack that runs when the test ends, or when the process is told to end. */
  static of(t: Test): Teardown {
    const teardown = Teardown.create();
    t.teardown(() => teardown.run());
    return teardown;
  }

  /** A stack that runs when whoever has it says so, or when the process is told to end. */
  static create(): Teardown {
    listenForSignals();
    return new Teardown();
  }

  /** Remembers how to undo what was just done. */
  defer(what: string, undo: Step['undo']): void {
    this.#steps.push({ what, undo });
  }

  /** Undoes everything, last first; a failing step is told on stderr and the rest goes on. */
  run(): Promise<void> {
    this.#done ??= this.#run();
    return this.#done;
  }

  async #run(): Promise<void> {
    for (let step = this.#steps.pop(); step; step = this.#steps.pop()) {
      try {
        await bounded(step);
      } catch (error) {
        console.error(`teardown of ${step.what}: ${error instanceof Error ? error.message : error}`);
      }
    }
    open.delete(this);
  }
}

async function bounded({ undo }: Step): Promise<void> {
  let timer: NodeJS.Timeout | undefined;
  const limit = new Promise<never>((_, reject) => {
    timer = setTimeout(() => reject(new Error(`took more than ${STEP_LIMIT_MS} ms`)), STEP_LIMIT_MS);
  });
  try {
    await Promise.race([undo(), limit]);
  } finally {
    clearTimeout(timer);
  }
}

let listening = false;

function listenForSignals(): void {
  if (listening) return;
  listening = true;
  for (const [signal, number] of [
    ['SIGINT', 2],
    ['SIGTERM', 15],
    ['SIGHUP', 1],
  ] as const) {
    process.once(signal, () => {
      Promise.allSettled([...open].map((teardown) => teardown.run())).then(() => process.exit(128 + number));
    });
  }
}
