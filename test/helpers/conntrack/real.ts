// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The real conntrack(8) on Netfilter's table of a namespace of the test's own.
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { Namespace } from '../netns.js';
import type { Teardown } from '../teardown.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
}

/** Why there is nothing to compare with here; undefined: there is. */
export function missingConntrack(): string | undefined {
  const { stdout } = spawnSync('conntrack', ['-V'], { encoding: 'utf8' });
  if (!stdout?.startsWith('conntrack v1.4.7 ')) return 'conntrack 1.4.7 is not installed';
  return undefined;
}

export class RealConntrack {
  readonly #namespace: Namespace;

  private constructor(namespace: Namespace) {
    this.#namespace = namespace;
  }

  get #path(): string {
    return this.#namespace.path;
  }

  /** A namespace whose entries count packets, as ctnat's flows do. */
  static async create(teardown: Teardown): Promise<RealConntrack> {
    return RealConntrack.in(await Namespace.create('real', teardown));
  }

  /** That of a namespace that is there. Packets are tracked in it once a rule asks for their state. */
  static async in(namespace: Namespace): Promise<RealConntrack> {
    const real = new RealConntrack(namespace);
    real.run(['-F']); // loads what is not loaded
    await real.sysctl({ 'net.netfilter.nf_conntrack_acct': 1, 'net.netfilter.nf_conntrack_events': 1 });
    return real;
  }

  sysctl(values: Record<string, number>): Promise<void> {
    return this.#namespace.sysctl(values);
  }

  /** Entries have room for labels from now on: the kernel makes it while a rule speaks of them. */
  async keepLabels(): Promise<void> {
    const rules =
      'table inet labels { chain forward { type filter hook forward priority 0; ct label 1 accept; }; }';
    await this.#namespace.run(['nft', rules]);
  }

  /** Starts it; its standard output comes line by line. */
  start(words: readonly string[]): Running {
    const argv = [`--net=${this.#path}`, 'stdbuf', '-oL', 'conntrack', ...words];
    return new Running(spawn('nsenter', argv, { stdio: ['ignore', 'pipe', 'pipe'] }));
  }

  /** Whether somebody in the namespace has joined a group of Netfilter's netlink (protocol 12). */
  isListening(): boolean {
    const argv = [`--net=${this.#path}`, 'cat', '/proc/net/netlink'];
    const rows = execFileSync('nsenter', argv, { encoding: 'utf8' }).split('\n').slice(1);
    return rows.some((row) => {
      const [, protocol, , groups] = row.split(/\s+/);
      return protocol === '12' && groups !== '00000000';
    });
  }

  /** Runs it with labels named as `labelFile` says: it knows one path only, which a mount of its own covers. */
  run(words: readonly string[], input = '', labelFolder?: string): Outcome {
    const cover = labelFolder ? ['unshare', '-m', 'sh', '-c', COVER, labelFolder] : [];
    const argv = ['nsenter', `--net=${this.#path}`, ...cover, 'conntrack', ...words];
    const { status, stdout, stderr } = spawnSync(argv[0]!, argv.slice(1), {
      input,
      encoding: 'utf8',
      timeout: 20_000,
    });
    return { status: status ?? 255, stdout, stderr };
  }
}

/** One that goes on until it is stopped. */
export class Running {
  stdout = '';
  stderr = '';
  readonly #child: ChildProcess;
  readonly #ended: Promise<number>;

  constructor(child: ChildProcess) {
    this.#child = child;
    child.stdout!.on('data', (chunk: Buffer) => {
      this.stdout += chunk.toString();
    });
    child.stderr!.on('data', (chunk: Buffer) => {
      this.stderr += chunk.toString();
    });
    this.#ended = new Promise((resolve) => child.once('close', (code) => resolve(code ?? 255)));
  }

  /** Returns its exit status; harmless when repeated. */
  stop(signal: NodeJS.Signals = 'SIGTERM'): Promise<number> {
    this.#child.kill(signal);
    return this.#ended;
  }
}

/** $0: the folder that is to be /etc/xtables; the rest is run. */
const COVER =
  'mkdir -p "$0/work" && mount -t overlay none -o lowerdir=/etc,upperdir="$0/etc",workdir="$0/work" /etc && exec "$@"';

/** Whether overlay file systems can be mounted, by which label names come to the real tool. */
export function hasOverlay(): boolean {
  try {
    return execFileSync('cat', ['/proc/filesystems'], { encoding: 'utf8' }).includes('overlay');
  } catch {
    return false;
  }
}
