// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The ctnat command in one process for many command lines, for machines on which starting Node takes seconds.

import { fileURLToPath } from 'node:url';
import { Daemon, type RunResult } from './process.js';
import type { Teardown } from './teardown.js';
import { within } from './wait.js';

const MAIN = fileURLToPath(new URL('./resident-main.js', import.meta.url));

export class Resident {
  readonly #daemon: Daemon;
  #last: Promise<unknown>;

  private constructor(daemon: Daemon) {
    this.#daemon = daemon;
    this.#last = this.#message('its start');
  }

  /** Starts it; it ends with the teardown at the latest. */
  static start(teardown: Teardown): Resident {
    const resident = new Resident(Daemon.start([process.execPath, MAIN], { ipc: true }));
    teardown.defer('the resident ctnat', () => resident.stop());
    return resident;
  }

  /** Runs a command line (without the command's own name) when those before it have ended. */
  run(argv: readonly string[]): Promise<RunResult> {
    const answer = this.#last.then(() => {
      const answer = this.#message(argv.join(' '));
      this.#daemon.child.send([...argv]);
      return answer as Promise<RunResult>;
    });
    this.#last = answer.catch(() => {});
    return answer;
  }

  async stop(): Promise<void> {
    await this.#daemon.stop();
  }

  /** The next message, or an error that says what was waited for. */
  #message(what: string): Promise<unknown> {
    const { child, ended } = this.#daemon;
    const answered = new Promise<unknown>((resolve, reject) => {
      child.once('message', resolve);
      void ended.then(() => reject(new Error(`the resident ctnat has ended: ${this.#daemon.output}`)));
    });
    return within(what, answered, 60_000);
  }
}
