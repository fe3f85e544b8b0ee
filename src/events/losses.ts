// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Counts the events that are missing, by the numbers of those that came: each CPU counts its own from 1. */

interface Cpu {
  /** The highest number that came. */
  highest: number;
  came: number;
}

export class Losses {
  readonly #cpus = new Map<number, Cpu>();
  #refused = 0;
  #told = 0;

  /** An event came. In which order they come does not matter. */
  take(cpu: number, sequence: number): void {
    const known = this.#cpus.get(cpu);
    if (!known) {
      this.#cpus.set(cpu, { highest: sequence, came: 1 });
      return;
    }
    known.came++;
    if (sequence > known.highest) known.highest = sequence;
  }

  /** A CPU has counted so far, whatever came. */
  reach(cpu: number, sequence: number): void {
    const known = this.#cpus.get(cpu);
    if (!known) this.#cpus.set(cpu, { highest: sequence, came: 0 });
    else if (sequence > known.highest) known.highest = sequence;
  }

  /** The kernel has counted so many that found no room. Tells of those behind which nothing has come yet. */
  refused(count: number): void {
    this.#refused = Math.max(this.#refused, count);
  }

  get total(): number {
    let total = 0;
    for (const { highest, came } of this.#cpus.values()) total += Math.max(0, highest - came);
    return Math.max(total, this.#refused, this.#told);
  }

  get hasUntold(): boolean {
    return this.total > this.#told;
  }

  /** Those that no call before this one has told. */
  untold(): number {
    const { total } = this;
    const untold = total - this.#told;
    this.#told = total;
    return untold;
  }
}
