// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The real conntrack(8) on Netfilter's table of a namespace of the test's own.
import { execFileSync, spawnSync } from 'node:child_process';
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
  readonly #path: string;

  private constructor(path: string) {
    this.#path = path;
  }

  /** A namespace whose entries count packets, as ctnat's flows do. */
  static async create(teardown: Teardown): Promise<RealConntrack> {
    const namespace = await Namespace.create('real', teardown);
    const real = new RealConntrack(namespace.path);
    real.run(['-F']); // loads what is not loaded
    await namespace.sysctl({ 'net.netfilter.nf_conntrack_acct': 1 });
    return real;
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
