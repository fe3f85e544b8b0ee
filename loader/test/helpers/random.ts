// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)

/** Numbers that look random and are the same in every run (xorshift32). */
export class Random {
  #state: number;

  constructor(seed: number) {
    this.#state = seed | 1;
  }

  /** From 0 to 2^32 - 1. */
  word(): number {
    let x = this.#state;
    x ^= x << 13;
    x ^= x >>> 17;
    x ^= x << 5;
    this.#state = x;
    return x >>> 0;
  }

  /** From 0 to limit - 1. */
  below(limit: number): number {
    return this.word() % limit;
  }
}
