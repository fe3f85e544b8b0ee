// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a table of a million flows costs while nothing happens to it, and what a sweep of it costs the packets.
import { readFileSync } from 'node:fs';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { Track } from './forwarding.js';
import { summarize } from './statistics.js';

const PACKETS = 2_000_000;
const SWEEPS = fileURLToPath(new URL('sweeps.js', import.meta.url));
const LOOP = 'require("node:os").setPriority(19); console.log("looping"); for (;;);';
const AGENT_SETTLES_MS = 5000;
const AGENT_IDLES_MS = 30_000;
/** Of /proc/PID/stat, counted behind the command's name; USER_HZ. */
const [USER_TICKS, SYSTEM_TICKS, TICKS_A_SECOND] = [11, 12, 100];

export interface FullCosts {
  /** Seconds of a sweep as the agent does it, while packets come. */
  sweepSeconds: number;
  /** Share of the packets that did not come through while one sweep followed the other, in one process. */
  sweepLoss: number;
  /** The same beside a loop at the same priority that does nothing: what another busy processor takes by itself. */
  loopLoss: number;
  /** Of one CPU. */
  agentCpu: number;
  agentMb: number;
}

/** Of a router that has the flows, and keeps them for as long as this takes. `flows`: how many. */
export async function measureFullCosts({ lane }: Track, flows: number, rounds: number): Promise<FullCosts> {
  const rates = { alone: [] as number[], sweeps: [] as number[], loop: [] as number[] };
  const read = async (into: number[]): Promise<void> => {
    const { delivered, seconds } = await lane.run({ flows: Math.min(1000, flows), packets: PACKETS });
    into.push(delivered / seconds);
  };
  /** Returns what the other process printed. */
  const readBeside = async (into: number[], argv: string[]): Promise<string> => {
    const other = lane.router.start(argv);
    await other.printed(/\n/);
    await read(into);
    await other.stop();
    return other.output;
  };
  const sweeps: number[] = [];
  for (let i = 0; i < rounds; i++) {
    await read(rates.alone);
    const printed = await readBeside(rates.sweeps, [process.execPath, SWEEPS, lane.ctnat.pinPath]);
    for (const [, ms] of printed.matchAll(/^swept in (\d+) ms$/gm)) sweeps.push(Number(ms) / 1000);
    await readBeside(rates.loop, [process.execPath, '-e', LOOP]);
  }
  const loss = (beside: readonly number[]): number =>
    1 - summarize(beside).median / summarize(rates.alone).median;
  const { agent } = await lane.ctnat.json<{ agent: { pid: number } }>(['status']);
  await sleep(AGENT_SETTLES_MS);
  const before = cpuSeconds(agent.pid);
  await sleep(AGENT_IDLES_MS);
  const agentCpu = (cpuSeconds(agent.pid) - before) / (AGENT_IDLES_MS / 1000);
  const status = readFileSync(`/proc/${agent.pid}/status`, 'utf8');
  return {
    sweepSeconds: summarize(sweeps).median,
    sweepLoss: loss(rates.sweeps),
    loopLoss: loss(rates.loop),
    agentCpu,
    agentMb: Number(/^VmRSS:\s+(\d+)/m.exec(status)![1]) / 1024,
  };
}

function cpuSeconds(pid: number): number {
  // the command's name, in brackets, may have spaces
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[USER_TICKS]) + Number(fields[SYSTEM_TICKS])) / TICKS_A_SECOND;
}
