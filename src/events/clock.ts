// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** From CLOCK_MONOTONIC, which events carry, to the time of day. */

/** Less than this the clocks may seem to drift apart by reading one after the other. */
const TOLERANCE_MS = 5;

export class Clock {
  readonly #monotonicNs: () => bigint;
  readonly #wallMs: () => number;
  #offsetMs = 0;

  constructor(monotonicNs: () => bigint = process.hrtime.bigint, wallMs: () => number = Date.now) {
    this.#monotonicNs = monotonicNs;
    this.#wallMs = wallMs;
    this.#offsetMs = this.#offset();
  }

  #offset(): number {
    return this.#wallMs() - Number(this.#monotonicNs()) / 1e6;
  }

  /** Takes note of it if somebody has set the clock. Between two calls, times keep their distances. */
  follow(): void {
    const offset = this.#offset();
    if (Math.abs(offset - this.#offsetMs) > TOLERANCE_MS) this.#offsetMs = offset;
  }

  now(): bigint {
    return this.#monotonicNs();
  }

  /** Milliseconds since 1970, to the microsecond. */
  unixMs(timeNs: bigint): number {
    return Math.round((Number(timeNs) / 1e6 + this.#offsetMs) * 1000) / 1000;
  }
}
