// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What would take back the steps that were done so far. */

export class Undo {
  readonly #steps: (() => void)[] = [];

  /** Remembers how to take back what was just done. */
  push(step: () => void): void {
    this.#steps.push(step);
  }

  /**
   * Takes everything back, the last step first. A step that fails does not keep the others from being taken back.
   * @returns what failed
   */
  run(): unknown[] {
    const failures: unknown[] = [];
    for (const step of this.#steps.splice(0).reverse()) {
      try {
        step();
      } catch (error) {
        failures.push(error);
      }
    }
    return failures;
  }
}
