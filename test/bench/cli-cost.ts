// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the command line costs with a full table and with an empty one: time from start to exit, and memory.
import { spawn } from 'node:child_process';
import { readFileSync } from 'node:fs';

export interface CommandCost {
  seconds: number;
  /** Largest resident set that was seen, in MB: VmHWM, read every 10 ms. */
  peakMb: number;
  lines: number;
}

/** Runs a command to its end and counts its lines; throws if it fails. */
export async function measureCommand(argv: readonly string[]): Promise<CommandCost> {
  const [file, ...args] = argv;
  const started = process.hrtime.bigint();
  const child = spawn(file!, args, { stdio: ['ignore', 'pipe', 'pipe'] });
  let lines = 0;
  let peakKb = 0;
  let errors = '';
  child.stdout.on('data', (chunk: Buffer) => {
    for (const byte of chunk) if (byte === 10) lines++;
  });
  child.stderr.on('data', (chunk: Buffer) => {
    errors += chunk;
  });
  const watch = setInterval(() => {
    peakKb = Math.max(peakKb, highWaterKb(child.pid!));
  }, 10);
  const [status, ended] = await new Promise<[number | null, bigint]>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', (code) => resolve([code, process.hrtime.bigint()]));
  }).finally(() => clearInterval(watch));
  if (status !== 0) throw new Error(`${argv.join(' ')} ended with ${status}: ${errors.trim()}`);
  return { seconds: Number(ended - started) / 1e9, peakMb: peakKb / 1024, lines };
}

function highWaterKb(pid: number): number {
  try {
    return Number(/^VmHWM:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? 0);
  } catch {
    return 0; // it has ended
  }
}
