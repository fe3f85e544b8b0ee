// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Two trackers, the same sequences: where they differ, and the shortest sequence that shows it.
import { SLOW } from '../wait.js';
import { DELIBERATE, type Deliberate } from './differences.js';
import type { Operation, Sequence } from './sequence.js';
import type { Tracker } from './tracker.js';

export interface Difference {
  sequence: Sequence;
  /** Index of the operation where they differ; behind the last one: in what is left of the table. */
  at: number;
  expected: string;
  actual: string;
}

/** Seconds by which one timeout may be ahead of another that was read later and rounded down. */
const LATE_SECONDS = 2 * SLOW;

export class Comparison {
  /** How often each deliberate difference was met. */
  readonly met = new Map<Deliberate, number>();
  /** Played so far. */
  operations = 0;

  constructor(
    readonly expected: Tracker,
    readonly actual: Tracker,
  ) {}

  /** Differences that did not show again: a process that waits for its turn lets a tick or a second pass. */
  unsteady = 0;

  /** Plays the sequences on both. undefined: they agree, but for deliberate differences. */
  async play(sequences: readonly Sequence[]): Promise<Difference | undefined> {
    const found = await this.#play(sequences);
    if (!found) return undefined;
    if (sequences.length === 1) return found;
    const again = await this.#steady(found);
    if (again) return again;
    this.unsteady++;
    const rest = sequences.slice(sequences.indexOf(found.sequence) + 1);
    return rest.length ? this.play(rest) : undefined;
  }

  /** The difference, if it shows twice more. */
  async #steady({ sequence }: Difference): Promise<Difference | undefined> {
    return (await this.#play([sequence])) && (await this.#play([sequence]));
  }

  async #play(sequences: readonly Sequence[]): Promise<Difference | undefined> {
    const [wanted, got] = await Promise.all([this.expected.run(sequences), this.actual.run(sequences)]);
    for (const [i, sequence] of sequences.entries()) {
      const found = this.#differs(sequence, wanted.answers[i]!, got.answers[i]!);
      if (found) return found;
      this.operations += sequence.operations.length;
    }
    if (wanted.left === '0' && got.left === '0') return undefined;
    const at = { at: Number.POSITIVE_INFINITY, expected: `${wanted.left} left`, actual: `${got.left} left` };
    if (sequences.length === 1) return { sequence: sequences[0]!, ...at };
    for (const sequence of sequences) {
      const found = await this.#play([sequence]);
      if (found) return found;
    }
    return { sequence: sequences[0]!, ...at };
  }

  #differs(sequence: Sequence, wanted: readonly string[], got: readonly string[]): Difference | undefined {
    for (let at = 0; at < sequence.operations.length; at++) {
      if (alike(wanted[at]!, got[at]!)) continue;
      const expected = withoutChance(sequence, wanted[at]!);
      const actual = withoutChance(sequence, got[at]!);
      if (alike(expected, actual)) continue;
      const known = DELIBERATE.find((difference) =>
        difference.applies?.({ sequence, operation: sequence.operations[at]!, at, expected, actual, alike }),
      );
      if (!known) return { sequence, at, expected, actual };
      this.met.set(known, (this.met.get(known) ?? 0) + 1);
      if (known.after === 'ends') return undefined;
    }
    return undefined;
  }

  /** Leaves out operations, in ever smaller runs, as long as the two still differ. */
  async shrink(found: Difference): Promise<Difference> {
    let best = upTo(found);
    for (
      let size = Math.ceil(best.sequence.operations.length / 2);
      size >= 1;
      size = size > 1 ? Math.ceil(size / 2) : 0
    ) {
      for (let from = 0; from < best.sequence.operations.length; ) {
        const operations = best.sequence.operations.toSpliced(from, size);
        const still = await this.play([{ ...best.sequence, operations }]);
        if (still) best = upTo(still);
        else from += size;
      }
    }
    return best;
  }
}

function upTo(found: Difference): Difference {
  const operations = found.sequence.operations.slice(0, found.at + 1);
  return { ...found, sequence: { ...found.sequence, operations } };
}

/** An answer in which a port that a translation has picked at random is a star. */
function withoutChance({ path }: Sequence, answer: string): string {
  const known = [path.client.port, path.server.port];
  const starred = answer.replace(/:(\d+)/g, (text, port) => (known.includes(Number(port)) ? text : ':*'));
  return starred.replace(/^(\w+) ([0-9a-f]{40,})/, (text, verdict, hex: string) => {
    const ports = Buffer.from(hex, 'hex').subarray(hex[0] === '6' ? 40 : 20);
    const picked = ports.length >= 4 && [0, 2].some((at) => !known.includes(ports.readUInt16BE(at)));
    return starred !== answer || picked ? `${verdict} translated` : text;
  });
}

/** Whether two answers are the same but for the second in which a clock moved. */
export function alike(a: string, b: string): boolean {
  if (a === b) return true;
  const [seenA, timeoutsA] = a.split(' |');
  const [seenB, timeoutsB] = b.split(' |');
  if (seenA !== seenB || timeoutsA === undefined || timeoutsB === undefined) return false;
  const left = timeoutsA.split(' ').map(Number);
  const right = timeoutsB.split(' ').map(Number);
  return left.every((seconds, i) => Math.abs(seconds - right[i]!) <= LATE_SECONDS);
}

/** The difference as a message. */
export function tell({ sequence, at, expected, actual }: Difference): string {
  const { seed, kind, family, path, operations, watches } = sequence;
  return [
    `${kind}, IPv${family}, ${path.way}, seed ${seed}`,
    ...watches.map(
      ({ proto, from, to }) =>
        `watch ${proto} ${from.address.toString('hex')}:${from.port}>${to.address.toString('hex')}:${to.port}`,
    ),
    ...operations.map((operation, i) => `${i === at ? '->' : '  '} ${textOf(operation)}`),
    `netfilter ${expected}`,
    `ctnat     ${actual}`,
  ].join('\n');
}

function textOf(operation: Operation): string {
  switch (operation.do) {
    case 'packet':
      return `${operation.in}>${operation.out} ${operation.note}`;
    case 'age':
      return `age ${operation.seconds}`;
    case 'set':
      return `set ${operation.name} ${operation.value}`;
    default:
      return operation.do;
  }
}
