// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Tells clients that the epoch has begun anew, ten times (RFC 6887 section 14.1, RFC 6886 section 3.2.1). */

const TIMES = 10;
const FIRST_PAUSE_MS = 250;

export class Announcer {
  readonly #send: () => void;
  #timer: NodeJS.Timeout | undefined;

  constructor(send: () => void) {
    this.#send = send;
  }

  /** Begins now, and goes on with a pause that doubles. One that goes on already begins again. */
  start(): void {
    this.stop();
    this.#step(TIMES, FIRST_PAUSE_MS);
  }

  #step(left: number, pauseMs: number): void {
    this.#send();
    if (left > 1) this.#timer = setTimeout(() => this.#step(left - 1, pauseMs * 2), pauseMs);
    this.#timer?.unref();
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }
}
