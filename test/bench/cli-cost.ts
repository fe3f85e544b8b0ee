// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the command line costs with a full table and with an empty one: time from start to exit, and memory.
import { type ChildProcess, spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface CommandCost {
  seconds: number;
  /** Largest resident set that was seen, in MB: VmHWM, read every 10 ms. */
  peakMb: number;
  lines: number;
}

/** Runs `COMMAND | wc -l` to its end; throws if the command fails. */
export async function measureCommand(argv: readonly string[]): Promise<CommandCost> {
  const [file, ...args] = argv;
  const counter = spawn('wc', ['-l'], { stdio: ['pipe', 'pipe', 'inherit'] });
  let counted = '';
  counter.stdout.on('data', (chunk: Buffer) => {
    counted += chunk;
  });
  const started = process.hrtime.bigint();
  const child = spawn(file!, args, { stdio: ['ignore', counter.stdin, 'pipe'] });
  counter.stdin.destroy(); // the command alone holds it now
  let peakKb = 0;
  let errors = '';
  child.stderr!.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const watch = setInterval(() => {
    peakKb = Math.max(peakKb, highWaterKb(child.pid!));
  }, 10);
  const [status] = await Promise.all([ended(child), ended(counter)]).finally(() => clearInterval(watch));
  const seconds = Number(process.hrtime.bigint() - started) / 1e9;
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${errors.trim()}`);
  return { seconds, peakMb: peakKb / 1024, lines: Number(counted) };
}

function ended(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
}

function highWaterKb(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}
