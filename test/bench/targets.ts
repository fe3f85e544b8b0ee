// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The figures that are aimed at, and which of them a run has reached. A ratio needs both its sides from one run:
// where one was not measured, there is none.
import { digits, table } from './markdown.js';

/** What one run has measured, by name. */
export class Figures {
  readonly #values = new Map<string, number>();

  set(name: string, value: number): void {
    this.#values.set(name, value);
  }

  get(name: string): number | undefined {
    return this.#values.get(name);
  }

  /** undefined: this run has not measured both. */
  ratio(of: string, to: string): number | undefined {
    const [a, b] = [this.#values.get(of), this.#values.get(to)];
    return a === undefined || !b ? undefined : a / b;
  }
}

export interface Target {
  figure: string;
  bound: number;
  is: 'at least' | 'at most';
  unit?: string;
  measured: (figures: Figures) => number | undefined;
}

/** A markdown table: what is aimed at, what was measured, and whether that is enough. */
export function targetTable(targets: readonly Target[], figures: Figures): string {
  return table(
    ['figure', 'aim', 'measured', 'met'],
    targets.map(({ figure, bound, is, unit, measured }) => {
      const value = measured(figures);
      const words = `${is} ${bound}${unit ? ` ${unit}` : ''}`;
      if (value === undefined) return [figure, words, 'not measured', ''];
      const met = is === 'at least' ? value >= bound : value <= bound;
      return [figure, words, digits(value), met ? 'yes' : 'no'];
    }),
  );
}
