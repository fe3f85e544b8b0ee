// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Something that tracks one TCP connection at a time: a native build of bpf/tcp.h, the kernel's Netfilter,
// or any other that answers to operations with observations.

import { type ChildProcessByStdio, spawn } from 'node:child_process';
import type { Readable, Writable } from 'node:stream';
import { within } from '../wait.js';
import { DEFAULT_SETTINGS, lineOf, type Observation, type Operation, observationOf } from './segment.js';

export interface Tracker {
  /** With default settings, a connection that the tracker knows nothing of: does all this to it. One result each. */
  run(operations: readonly Operation[]): Promise<(Observation | undefined)[]>;
  close(): Promise<void>;
}

/** Seconds, by the names of Netfilter's sysctls; no two alike that a mistake could confuse. */
export const TIMEOUTS = {
  syn_sent: 150,
  syn_recv: 60,
  established: 432_000,
  fin_wait: 120,
  close_wait: 80,
  last_ack: 30,
  time_wait: 220,
  close: 10,
  max_retrans: 300,
  unacknowledged: 330,
} as const;

/** SYN_SENT2 has no sysctl. */
export const TIMEOUT_SYN_SENT2 = 120;

const RESET = ['new', ...Object.entries(DEFAULT_SETTINGS).map(([name, value]) => `set ${name} ${value}`)];

const LIMIT_MS = 60_000;

/** A program that speaks the lines of line.h. */
export class LineProcess {
  readonly #child: ChildProcessByStdio<Writable, Readable, Readable>;
  #pending = '';
  #lines: string[] = [];
  #errors = '';
  #ended = false;
  #wake: (() => void) | undefined;

  /** @param files file descriptors of this process that the program gets as 3, 4, … */
  constructor(
    readonly argv: readonly string[],
    files: readonly number[] = [],
  ) {
    const [file, ...args] = argv;
    const child = spawn(file!, args, { stdio: ['pipe', 'pipe', 'pipe', ...files] });
    this.#child = child as ChildProcessByStdio<Writable, Readable, Readable>;
    this.#child.stdout.setEncoding('latin1').on('data', (text: string) => {
      const lines = (this.#pending + text).split('\n');
      this.#pending = lines.pop()!;
      this.#lines.push(...lines);
      this.#wake?.();
    });
    this.#child.stderr.setEncoding('utf8').on('data', (text: string) => {
      this.#errors += text;
    });
    this.#child.stdin.on('error', () => {}); // it has ended: `close` tells
    const end = (): void => {
      this.#ended = true;
      this.#wake?.();
    };
    this.#child.once('error', (error) => {
      this.#errors += String(error);
      end();
    });
    this.#child.once('close', end);
  }

  /** Sends lines and returns the answer to each. Throws if the program ends or does not know a line. */
  async ask(lines: readonly string[]): Promise<string[]> {
    this.#child.stdin.write(`${[...lines, 'sync'].join('\n')}\n`);
    const wanted = lines.length + 1;
    const all = new Promise<string[]>((resolve, reject) => {
      const look = (): void => {
        if (this.#lines.length >= wanted) resolve(this.#lines.splice(0, wanted).slice(0, -1));
        else if (this.#ended) reject(new Error(`${this.argv.join(' ')} ended: ${this.#errors}`));
        else return;
        this.#wake = undefined;
      };
      this.#wake = look;
      look();
    });
    const answers = await within(`answers of ${this.argv.join(' ')}`, all, LIMIT_MS);
    const bad = answers.findIndex((answer) => answer.startsWith('bad line'));
    if (bad >= 0) throw new Error(`${this.argv[0]} does not know the line "${lines[bad]}"`);
    return answers;
  }

  /** Closes its input, whereupon it ends. */
  async close(): Promise<void> {
    this.#child.stdin.end();
    if (!this.#ended) await new Promise((resolve) => this.#child.once('close', resolve));
  }
}

/** A tracker behind a program. */
export class LineTracker implements Tracker {
  constructor(readonly process: LineProcess) {}

  async run(operations: readonly Operation[]): Promise<(Observation | undefined)[]> {
    const answers = await this.process.ask([...RESET, ...operations.map(lineOf)]);
    answers.splice(0, RESET.length);
    return operations.map((operation, i) =>
      operation.do === 'segment' ? observationOf(answers[i]!) : undefined,
    );
  }

  close(): Promise<void> {
    return this.process.close();
  }
}
