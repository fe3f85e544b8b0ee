// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets in and out by BPF_PROG_TEST_RUN, by way of bpf/test/harness.bpf.c, on kernels that probe() finds fit.

import { constants } from 'node:os';
import { type BpfObject, type BpfProgram, SyscallError, TypedMap, u32 } from 'libbpf-ts';
import { HookDir } from '../../../src/generated/layouts.gen.js';
import type { Hooks } from './hooks.js';
import { openBuilt } from './load.js';
import { readSkbContext, skbContext } from './skb-context.js';
import { type Network, packVlan, type StepOptions, type StepResult, unpackVlan } from './step.js';
import type { Stepper } from './stepper.js';

const MAGIC = 0x63746e61; // HARNESS_MAGIC
const LOOPBACK = 1;
const MIN_FRAME = 64;
const BPF_F_TEST_SKB_CHECKSUM_COMPLETE = 1 << 2;
const VERDICTS = new Map<number, StepResult['verdict']>([
  [0xffff_ffff, 'pass'], // TC_ACT_UNSPEC
  [0, 'pass'], // TC_ACT_OK
  [2, 'drop'], // TC_ACT_SHOT
  [7, 'redirect'], // TC_ACT_REDIRECT
]);

export class HarnessStepper implements Stepper {
  readonly kind = 'harness';
  readonly #harness: BpfObject;
  readonly #step: BpfProgram;

  constructor(datapathHooks: Hooks) {
    this.#harness = openBuilt('test/harness.bpf.o');
    this.#harness.load();
    this.#step = this.#harness.program('harness_step');
    const hooks = new TypedMap(this.#harness.map('hooks').map, u32, u32);
    hooks.set(HookDir.INGRESS, datapathHooks.fds[HookDir.INGRESS]);
    hooks.set(HookDir.EGRESS, datapathHooks.fds[HookDir.EGRESS]);
  }

  /**
   * Whether a test run can say by which interface the packet came in: on 5.10 it can not.
   * @throws VerifierError where the kernel does not take the program: before 5.10
   */
  static probe(): boolean {
    using harness = openBuilt('test/harness.bpf.o');
    harness.load();
    const context = skbContext({ ifindex: LOOPBACK, ingressIfindex: LOOPBACK });
    try {
      // no request: it refuses the packet, if it gets to see it
      harness.program('harness_step').testRun({ data: Buffer.alloc(MIN_FRAME), context });
      return true;
    } catch (error) {
      if (error instanceof SyscallError && error.errno === constants.errno.EINVAL) return false;
      throw error;
    }
  }

  step(network: Network, options: StepOptions): StepResult {
    const { hook, at, packet, gso } = options;
    const from = options.from ?? (hook === 'ingress' ? at : undefined);
    const context = skbContext({
      mark: options.mark ?? 0,
      ifindex: network[at],
      ingressIfindex: from ? network[from] : 0,
      ...(gso && { gsoSize: gso.size, gsoSegments: gso.segments, wireLength: packet.length }),
      cb: [
        hook === 'ingress' ? HookDir.INGRESS : HookDir.EGRESS,
        options.tcIndex ?? 0,
        options.length ?? 0,
        packVlan(options.vlan),
        MAGIC,
      ],
    });
    const flags = options.checksumComplete ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0;
    const ran = this.#step.testRun({ data: packet, context, flags });
    const { cb, mark } = readSkbContext(ran.context!);
    const verdict = VERDICTS.get(ran.retval);
    if (cb[4] !== MAGIC || verdict === undefined) {
      const words = cb.map((word) => word.toString(16));
      throw new Error(`The hook did not run: it returned ${ran.retval}, cb is ${words}`);
    }
    return { verdict, packet: ran.data, tcIndex: cb[0]!, vlan: unpackVlan(cb[1]!), mark };
  }

  close(): void {
    this.#harness.close();
  }
}
