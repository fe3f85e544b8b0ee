// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Running other programs: to their end with their output, or in the background until told to stop.

import { type ChildProcess, spawn } from 'node:child_process';
import { slowly, within } from './wait.js';

export interface RunOptions {
  /** Written to its standard input, which is empty otherwise. */
  input?: string | Buffer;
  /** After this long, stretched by VM_SLOW, it is killed and `run` throws. Default 30 s. */
  limitMs?: number;
  /** true: a status other than 0 is a result and not an error. */
  mayFail?: boolean;
  env?: NodeJS.ProcessEnv;
}

export interface RunResult {
  /** Exit status; 128 + N if signal N ended it. */
  status: number;
  stdout: string;
  stderr: string;
}

/** Runs a program to its end. Throws if it cannot be started, exits non-zero (see mayFail) or takes too long. */
export async function run(argv: readonly string[], options: RunOptions = {}): Promise<RunResult> {
  const [file, ...args] = argv;
  const child = spawn(file!, args, { stdio: 'pipe', env: options.env ?? process.env });
  const stdout: Buffer[] = [];
  const stderr: Buffer[] = [];
  child.stdout.on('data', (chunk: Buffer) => stdout.push(chunk));
  child.stderr.on('data', (chunk: Buffer) => stderr.push(chunk));
  child.stdin.on('error', () => {}); // it may end without reading: its status tells
  child.stdin.end(options.input ?? '');

  const limitMs = slowly(options.limitMs ?? 30_000);
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    child.kill('SIGKILL');
  }, limitMs);
  const [code, signal] = await new Promise<[number | null, NodeJS.Signals | null]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code, signal) => resolve([code, signal]));
  }).finally(() => clearTimeout(timer));

  const result = {
    status: code ?? 128 + (signal === 'SIGKILL' ? 9 : 15),
    stdout: Buffer.concat(stdout).toString(),
    stderr: Buffer.concat(stderr).toString(),
  };
  if (late) throw failure(argv, result, `took more than ${limitMs} ms`);
  if (result.status !== 0 && !options.mayFail) throw failure(argv, result);
  return result;
}

/** The error of a command line whose outcome is none to go on with. */
export function failure(
  argv: readonly string[],
  { status, stdout, stderr }: RunResult,
  how = `exited with status ${status}`,
): Error {
  return new Error(`${argv.join(' ')}: ${how}\n${stderr}${stdout}`.trimEnd());
}

/** A program in the background. */
export class Daemon {
  /** Its exit status once it has ended; 128 + N if signal N ended it. */
  readonly ended: Promise<number>;
  #output = '';
  #running = true;
  #watchers = new Set<() => void>();

  private constructor(
    readonly child: ChildProcess,
    readonly argv: readonly string[],
  ) {
    const collect = (chunk: Buffer): void => {
      this.#output += chunk.toString();
      for (const watch of [...this.#watchers]) watch();
    };
    child.stdout?.on('data', collect);
    child.stderr?.on('data', collect);
    this.ended = new Promise((resolve) => {
      const end = (status: number): void => {
        this.#running = false;
        for (const watch of [...this.#watchers]) watch();
        resolve(status);
      };
      child.once('error', (error) => {
        this.#output += String(error);
        end(127);
      });
      child.once('close', (code, signal) => end(code ?? 128 + (signal === 'SIGKILL' ? 9 : 15)));
    });
  }

  /** Starts a program; `ipc` opens Node's message channel to it. */
  static start(argv: readonly string[], options: { ipc?: boolean; env?: NodeJS.ProcessEnv } = {}): Daemon {
    const [file, ...args] = argv;
    const stdio = ['ignore', 'pipe', 'pipe', ...(options.ipc ? ['ipc' as const] : [])] as const;
    const env = options.env ?? process.env;
    return new Daemon(spawn(file!, args, { stdio: [...stdio], serialization: 'advanced', env }), argv);
  }

  get pid(): number {
    return this.child.pid!;
  }

  /** What it has printed so far, both streams. */
  get output(): string {
    return this.#output;
  }

  get running(): boolean {
    return this.#running;
  }

  /** Resolves when its output matches; throws if it ends before that. */
  printed(pattern: RegExp, limitMs = 10_000): Promise<RegExpExecArray> {
    const matched = new Promise<RegExpExecArray>((resolve, reject) => {
      const watch = (): void => {
        const match = pattern.exec(this.#output);
        if (match) resolve(match);
        else if (!this.#running) reject(new Error(`${this.argv.join(' ')} ended: ${this.#output}`));
        else return;
        this.#watchers.delete(watch);
      };
      this.#watchers.add(watch);
      watch();
    });
    return within(`${pattern} in the output of ${this.argv.join(' ')}`, matched, limitMs);
  }

  /** Sends a signal and waits for the end; SIGKILL follows if that takes more than 5 s. Returns the status. */
  async stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    if (!this.#running) return this.ended;
    this.child.kill(signal);
    const timer = setTimeout(() => this.child.kill('SIGKILL'), slowly(5_000));
    try {
      return await this.ended;
    } finally {
      clearTimeout(timer);
    }
  }
}
