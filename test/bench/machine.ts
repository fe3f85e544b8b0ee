// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a figure must be read with: it says little on another machine.
import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { cpus, loadavg, release, totalmem } from 'node:os';

/** Facts as lines `name: value`. */
export function machineFacts(): string[] {
  const [cpu] = cpus();
  return [
    `processor: ${cpu?.model.trim()}, ${cpus().length} CPUs${isVirtual() ? ', virtual machine' : ''}`,
    `memory: ${Math.round(totalmem() / 2 ** 30)} GB`,
    `kernel: ${release()}, BPF JIT ${readWord('/proc/sys/net/core/bpf_jit_enable') === '0' ? 'off' : 'on'}`,
    `load before the run: ${loadavg()[0]!.toFixed(2)}`,
    `Node: ${process.version}`,
    `commit: ${commit()}`,
  ];
}

/** Units of /proc/stat in a second (USER_HZ). */
const USER_HZ = 100;

/** Seconds that the CPUs together have been busy since the machine's start, in steps of 10 ms. */
export function busySeconds(): number {
  const [user, nice, system, , , irq, softirq] = readFileSync('/proc/stat', 'utf8')
    .split('\n')[0]!
    .trim()
    .split(/\s+/)
    .slice(1)
    .map(Number) as [number, number, number, number, number, number, number];
  return (user + nice + system + irq + softirq) / USER_HZ;
}

function readWord(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8').trim();
  } catch {
    return undefined;
  }
}

function isVirtual(): boolean {
  return /^flags\b.*\bhypervisor\b/m.test(readWord('/proc/cpuinfo') ?? '');
}

function commit(): string {
  try {
    const git = (...args: string[]): string =>
      execFileSync('git', args, { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] }).trim();
    return `${git('rev-parse', '--short', 'HEAD')}${git('status', '--porcelain', '-uno') ? ' with changes' : ''}`;
  } catch {
    return 'not in a git checkout';
  }
}
