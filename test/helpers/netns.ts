// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A network namespace of the test's own. Its name carries the test's process id (ctn<pid>-<n><label>), so
// that what a killed test leaves behind can be found and is nobody else's.

import { Daemon, type RunOptions, type RunResult, run } from './process.js';
import type { Teardown } from './teardown.js';

let count = 0;

export class Namespace {
  readonly name: string;
  /** File that stands for it; give it to `ctnat --netns` or nsenter. */
  readonly path: string;

  private constructor(
    label: string,
    readonly teardown: Teardown,
  ) {
    this.name = `ctn${process.pid}-${++count}${label}`;
    this.path = `/run/netns/${this.name}`;
  }

  /** Creates a namespace with loopback up and duplicate address detection off; the teardown deletes it. */
  static async create(label: string, teardown: Teardown): Promise<Namespace> {
    const ns = new Namespace(label, teardown);
    await run(['ip', 'netns', 'add', ns.name]);
    teardown.defer(`namespace ${ns.name}`, () => run(['ip', 'netns', 'delete', ns.name], { mayFail: true }));
    await ns.sysctl({
      'net.ipv6.conf.all.accept_dad': 0,
      'net.ipv6.conf.default.accept_dad': 0,
      'net.ipv6.conf.all.accept_ra': 0,
      'net.ipv6.conf.default.accept_ra': 0,
      'net.ipv4.conf.all.rp_filter': 0,
      'net.ipv4.conf.default.rp_filter': 0,
    });
    await ns.ip('link', 'set', 'lo', 'up');
    return ns;
  }

  /** The command line that runs `argv` inside. nsenter and not `ip netns exec`: the latter hides bpffs. */
  argv(argv: readonly string[]): string[] {
    return ['nsenter', `--net=${this.path}`, '--', ...argv];
  }

  run(argv: readonly string[], options?: RunOptions): Promise<RunResult> {
    return run(this.argv(argv), options);
  }

  /** Starts a program inside that the teardown ends. */
  start(argv: readonly string[], options?: { ipc?: boolean; env?: NodeJS.ProcessEnv }): Daemon {
    const daemon = Daemon.start(this.argv(argv), options);
    this.teardown.defer(argv.join(' '), () => daemon.stop());
    return daemon;
  }

  async ip(...args: string[]): Promise<string> {
    return (await run(['ip', '-n', this.name, ...args])).stdout;
  }

  /** Sets sysctls, all in one go. */
  async sysctl(values: Record<string, number | string>): Promise<void> {
    const settings = Object.entries(values).map(([key, value]) => `${key}=${value}`);
    await this.run(['sysctl', '-qw', ...settings]);
  }

  /** The interface's hardware address, lower case with colons. */
  async mac(iface: string): Promise<string> {
    const [link] = JSON.parse(await this.ip('-j', 'link', 'show', 'dev', iface)) as { address: string }[];
    return link!.address;
  }

  /** Switches offloads (`ethtool -K`): { tx: false } makes checksums real before a packet leaves. */
  async offload(iface: string, features: Record<string, boolean>): Promise<void> {
    const args = Object.entries(features).flatMap(([name, on]) => [name, on ? 'on' : 'off']);
    await this.run(['ethtool', '-K', iface, ...args]);
  }
}

/** Makes a veth pair, one end in each namespace, both up. */
export async function veth(
  a: Namespace,
  aName: string,
  b: Namespace,
  bName: string,
  options: { mtu?: number } = {},
): Promise<void> {
  await a.ip('link', 'add', aName, 'type', 'veth', 'peer', 'name', bName, 'netns', b.name);
  for (const [ns, name] of [
    [a, aName],
    [b, bName],
  ] as const) {
    if (options.mtu) await ns.ip('link', 'set', name, 'mtu', String(options.mtu));
    await ns.ip('link', 'set', name, 'up');
  }
}
