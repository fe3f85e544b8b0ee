// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The ctnat command, run as a user would, for a router in a namespace and with pins of the test's own.

import { existsSync } from 'node:fs';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Flow, Mapping } from './flow.js';
import type { Forward, GatewayOptions, Nat } from './nat.js';
import { Daemon, failure, type RunOptions, type RunResult, run } from './process.js';
import type { Resident } from './resident.js';
import type { Topology } from './topology.js';

/** The command: CTNAT_BIN, or what the build made. */
export const CTNAT_COMMAND: readonly string[] = process.env.CTNAT_BIN
  ? [process.env.CTNAT_BIN]
  : [process.execPath, fileURLToPath(new URL('../../src/cli/main.js', import.meta.url))];

/** The mode of interfaces for which a test names none: CTNAT_MODE, for a run of any test in another one; `redirect`
 * is TC with redirect. */
const MODE = process.env.CTNAT_MODE;

/** How long a command may take: in XDP mode the verifier has half as many programs again to look at. */
const LIMIT_MS = MODE === 'xdp' ? 90_000 : 30_000;

let count = 0;

export interface Metric {
  reason: string;
  direction: string;
  packets: number;
  bytes: number;
}

export class Ctnat implements Nat {
  /** The runner of the tests knows this name and removes what a killed test leaves. */
  readonly pinPath = `/sys/fs/bpf/ctn${process.pid}-${++count}`;
  /** Runs the commands instead of a process each, while there is one. */
  resident: Resident | undefined;

  /** @param command another build's, instead of this one's */
  constructor(
    readonly topology: Topology,
    readonly command: readonly string[] = CTNAT_COMMAND,
  ) {
    topology.router.ns.teardown.defer(`ctnat at ${this.pinPath}`, async () => {
      if (existsSync(this.pinPath)) await run(this.argv(['detach', '--all', '--purge']), { mayFail: true });
      await rm(this.pinPath, { recursive: true, force: true });
    });
  }

  /** The whole command line for a command, with this instance's namespace and pins. */
  argv(args: readonly string[]): string[] {
    return [...this.command, ...this.#words(args)];
  }

  #words(args: readonly string[]): string[] {
    const isOpen = MODE !== undefined && args[0] === 'attach' && !args.includes('--mode');
    const mode = !isOpen ? [] : MODE === 'redirect' ? ['--mode', 'tc', '--redirect'] : ['--mode', MODE];
    return ['--netns', this.topology.router.ns.path, '--pin-path', this.pinPath, ...args, ...mode];
  }

  async run(args: readonly string[], options: RunOptions = {}): Promise<RunResult> {
    if (!this.resident) return run(this.argv(args), { limitMs: LIMIT_MS, ...options });
    const result = await this.resident.run(this.#words(args));
    if (result.status !== 0 && !options.mayFail) throw failure(args, result);
    return result;
  }

  /** Runs a command with -o json and returns what it printed. */
  async json<T>(args: readonly string[]): Promise<T> {
    const { stdout } = await this.run([...args, '-o', 'json']);
    return JSON.parse(stdout) as T;
  }

  async start(options: GatewayOptions = {}): Promise<void> {
    const { lan, wan } = this.topology.router;
    if (Object.keys(options).length > 0) {
      await this.apply(gatewayConfig(this.topology, options));
      return;
    }
    await this.run(['attach', ...lan]);
    await this.run(['attach', wan, '--masquerade']);
  }

  /** Writes a configuration file of the test's own and returns its path. */
  async writeConfig(yaml: string): Promise<string> {
    const folder = await mkdtemp(join(tmpdir(), 'ctnat-config-'));
    this.topology.router.ns.teardown.defer(folder, () => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'ctnat.yaml');
    await writeFile(file, yaml);
    return file;
  }

  /** Applies a configuration once. */
  async apply(yaml: string): Promise<void> {
    await this.run(['apply', await this.writeConfig(yaml)]);
  }

  /** Starts the agent with a configuration; resolves once it is in force, as the log and `status` say. */
  async agent(yaml: string): Promise<Daemon> {
    const daemon = Daemon.start(this.argv(['run', '-c', await this.writeConfig(yaml)]));
    this.topology.router.ns.teardown.defer('ctnat run', () => daemon.stop());
    await daemon.printed(/running for/, 60_000); // loading takes the verifier some seconds
    const { agent } = await this.json<{ agent: { running: boolean; pid: number } }>(['status']);
    if (!agent.running || agent.pid !== daemon.pid)
      throw new Error(`status does not know it: ${daemon.output}`);
    return daemon;
  }

  async forward({ proto, port, to, toPort }: Forward): Promise<void> {
    const { wan } = this.topology.router;
    const target = ['--dport', String(port), '--to', `${to}:${toPort}`];
    await this.run(['nat', 'add', 'dnat', '-i', wan, '-p', proto, ...target]);
  }

  async snat(source: string, to: string, ports?: [number, number]): Promise<void> {
    const target = ports ? `${to}:${ports[0]}-${ports[1]}` : to;
    await this.run(['nat', 'add', 'snat', '-o', this.topology.router.wan, '-s', source, '--to', target]);
  }

  flows(): Promise<Flow[]> {
    return this.json(['bpf', 'ct', 'list', 'global']);
  }

  mappings(): Promise<Mapping[]> {
    return this.json(['bpf', 'nat', 'list']);
  }

  /** Packets and bytes by reason and direction; the JSON nests them, this is flat. */
  async metrics(): Promise<Metric[]> {
    type Count = { packets: number; bytes: number };
    const rows = await this.json<({ reason: string; values?: Record<string, Count> } & Partial<Metric>)[]>([
      'bpf',
      'metrics',
      'list',
    ]);
    return rows.flatMap(({ reason, values, direction, packets, bytes }) =>
      values
        ? Object.entries(values).map(([name, each]) => ({ reason, direction: name, ...each }))
        : [{ reason, direction: direction!, packets: packets!, bytes: bytes! }],
    );
  }

  /** Packets dropped so far, by reason. */
  async drops(): Promise<Map<string, number>> {
    const found = new Map<string, number>();
    for (const { reason, packets } of await this.metrics()) {
      if (/^drop/i.test(reason)) found.set(reason, (found.get(reason) ?? 0) + packets);
    }
    return found;
  }
}

/** The configuration file of the usual gateway: every interface, masquerade outside. */
export function gatewayConfig(topology: Topology, options: GatewayOptions = {}, more = ''): string {
  const { lan, wan } = topology.router;
  const { udp, udpStream, icmp, tcpEstablished } = options.timeouts ?? {};
  const outside = [
    `name: ${wan}`,
    `masquerade: ${options.ipv6 ? 'all' : 4}`,
    ...(options.filtering ? ['mapping: eim', `filtering: ${options.filtering}`] : []),
    ...(options.ports ? [`ports: [${options.ports}]`] : []),
  ];
  const timeouts = [
    ...group('udp', { timeout: udp, stream: udpStream }),
    ...(icmp === undefined ? [] : [`  icmp: ${icmp}s`]),
    ...group('tcp', { established: tcpEstablished }),
  ];
  const mode = !MODE ? '' : MODE === 'redirect' ? ', mode: tc, redirect: true' : `, mode: ${MODE}`;
  return [
    'interfaces:',
    `  - { ${outside.join(', ')}${mode} }`,
    ...lan.map((name) => `  - { name: ${name}${mode} }`),
    ...(timeouts.length ? ['timeouts:', ...timeouts] : []),
    more,
    '',
  ].join('\n');
}

function group(name: string, values: Record<string, number | undefined>): string[] {
  const set = Object.entries(values).filter(([, seconds]) => seconds !== undefined);
  return set.length
    ? [`  ${name}: { ${set.map(([key, seconds]) => `${key}: ${seconds}s`).join(', ')} }`]
    : [];
}
