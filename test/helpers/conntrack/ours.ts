// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `ctnat conntrack` on a table of the test's own that nothing is attached to, beside real.ts.
import { EventEmitter } from 'node:events';
import { removePinDirectory } from 'libbpf-ts';
import { runConntrack } from '../../../src/conntrack/run.js';
import { Datapath } from '../../../src/datapath.js';
import { KernelProduct } from '../../../src/kernel-product.js';
import type { Teardown } from '../teardown.js';
import type { Outcome } from './real.js';

const FLOWS = 1024;

export class OurConntrack {
  private constructor(readonly pinPath: string) {}

  /** @param label tells several of one test file apart */
  static async create(label: string, teardown: Teardown): Promise<OurConntrack> {
    const pinPath = `/sys/fs/bpf/ctn${process.pid}-${label}`;
    teardown.defer(pinPath, () => removePinDirectory(pinPath));
    (await Datapath.load(pinPath, { flows4: FLOWS, flows6: FLOWS })).close();
    return new OurConntrack(pinPath);
  }

  /** Runs it with labels named as `labelFile` says. */
  async run(words: readonly string[], input = '', labelFile?: string): Promise<Outcome> {
    let [stdout, stderr] = ['', ''];
    const status = await runConntrack(words, {
      product: async () => new KernelProduct(this.pinPath),
      write: async (text) => {
        stdout += text;
      },
      tell: async (text) => {
        stderr += text;
      },
      signals: new EventEmitter(),
      readInput: async () => input,
      ...(labelFile !== undefined && { labelFile }),
    });
    return { status, stdout, stderr };
  }
}
