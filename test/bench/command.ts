// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Runs the command line as a user would, and says what it took.
import { spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';

const CTNAT = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));
const HOOK = new URL('./usage-hook.js', import.meta.url).href;

export interface Usage {
  /** From start to exit, the pipe's reader included. */
  readonly wallMs: number;
  /** Of the ctnat process alone; 0 unless `withUsage`. */
  readonly cpuMs: number;
  readonly rssKb: number;
  readonly stdout: string;
}

export interface RunOptions {
  /** Asks the process what it has used, which makes its start some milliseconds longer. */
  readonly withUsage?: boolean;
  /** What reads its output, in shell words. */
  readonly pipe?: string;
}

/** Runs `ctnat ARGUMENTS | PIPE`. Throws if it fails. */
export async function ctnat(args: readonly string[], options: RunOptions = {}): Promise<Usage> {
  const node = [process.execPath, ...(options.withUsage ? ['--import', HOOK] : []), CTNAT, ...args];
  const argv = options.pipe === undefined ? node : ['sh', '-c', `"$@" | ${options.pipe}`, 'sh', ...node];
  const began = performance.now();
  const child = spawn(argv[0]!, argv.slice(1), { stdio: ['ignore', 'pipe', 'inherit', 'pipe'] });
  let stdout = '';
  let usage = '';
  child.stdout!.on('data', (chunk) => {
    stdout += chunk;
  });
  child.stdio[3]!.on('data', (chunk) => {
    usage += chunk;
  });
  let wallMs = 0;
  child.once('exit', () => {
    wallMs = performance.now() - began;
  });
  const status = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  if (status !== 0) throw new Error(`ctnat ${args.join(' ')}: exited with status ${status}`);
  const { cpuMs, rssKb } = (usage === '' ? { cpuMs: 0, rssKb: 0 } : JSON.parse(usage)) as Usage;
  return { wallMs, cpuMs, rssKb, stdout };
}
