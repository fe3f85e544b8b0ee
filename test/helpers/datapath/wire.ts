// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets in and out over real interfaces, by way of bpf/test/wire.bpf.c: for kernels whose test runs can't say which
// interface a packet is at. Any kernel from 4.19 on.
import {
  attachTc,
  type BpfMap,
  type BpfObject,
  type BpfProgram,
  createClsact,
  detachTc,
  TypedMap,
  u32,
} from 'libbpf-ts';
import { HookDir } from '../../../src/generated/layouts.gen.js';
import { slowly } from '../wait.js';
import type { Hooks } from './hooks.js';
import { openBuilt } from './load.js';
import { type Network, packVlan, type StepOptions, type StepResult, unpackVlan } from './step.js';
import type { Stepper } from './stepper.js';

/** struct wire_answer, in words; the packet's bytes follow. */
const ANSWER = { entered: 0, left: 1, done: 2, refused: 3, tcIndex: 4, vlan: 5, mark: 6, length: 7 } as const;
const PACKET_AT = 32;
/** The run sends the packet in a soft interrupt: as a rule it has been through when the run ends. */
const LIMIT_MS = 1_000;
const ZERO = Buffer.alloc(4);
const NAMES = ['lan0', 'wan0', 'dmz0'] as const;

export class WireStepper implements Stepper {
  readonly kind = 'wire';
  readonly #wire: BpfObject;
  readonly #send: BpfProgram;
  readonly #request: BpfMap;
  readonly #answer: BpfMap;
  readonly #undo: (() => void)[] = [];
  #sequence = 0;

  constructor(network: Network, datapathHooks: Hooks) {
    const wire = openBuilt('test/wire.bpf.o');
    this.#wire = wire;
    wire.load();
    this.#send = wire.program('wire_send');
    this.#request = wire.map('request').map;
    this.#answer = wire.map('answer').map;
    const hooks = new TypedMap(wire.map('hooks').map, u32, u32);
    hooks.set(HookDir.INGRESS, datapathHooks.fds[HookDir.INGRESS]);
    hooks.set(HookDir.EGRESS, datapathHooks.fds[HookDir.EGRESS]);
    for (const name of NAMES) this.#attach(network[name]);
  }

  #attach(ifindex: number): void {
    createClsact(ifindex);
    for (const direction of ['ingress', 'egress'] as const) {
      for (const [i, name] of ['wire_before', 'wire_after'].entries()) {
        const place = { ifindex, direction, priority: i + 1, handle: 1 };
        attachTc({ ...place, program: this.#wire.program(name) });
        this.#undo.push(() => detachTc(place));
      }
    }
  }

  step(network: Network, options: StepOptions): StepResult {
    if (options.gso || options.checksumComplete) {
      throw new Error(
        'A packet over the wire has no GSO and no checksum beside it: ask Datapath.can() first',
      );
    }
    const { hook, at, packet } = options;
    const from = options.from ?? (hook === 'ingress' ? at : undefined);
    const words = [
      ++this.#sequence,
      hook === 'ingress' ? HookDir.INGRESS : HookDir.EGRESS,
      network[at],
      from ? network.far![from] : network[at],
      from ? 0 : 1,
      options.tcIndex ?? 0,
      options.length ?? 0,
      packVlan(options.vlan),
      options.mark ?? 0,
    ];
    const request = Buffer.alloc(words.length * 4);
    for (const [i, word] of words.entries()) request.writeUInt32LE(word >>> 0, i * 4);
    this.#request.set(ZERO, request);
    this.#send.testRun({ data: packet });
    return this.#read(options);
  }

  #read({ hook, at }: StepOptions): StepResult {
    const end = performance.now() + slowly(LIMIT_MS);
    let answer = this.#answer.get(ZERO)!;
    const word = (name: keyof typeof ANSWER): number => answer.readUInt32LE(ANSWER[name] * 4);
    while (word('done') !== this.#sequence) {
      if (performance.now() > end) throw new Error(`A packet to ${hook} of ${at} got lost on its way`);
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
      answer = this.#answer.get(ZERO)!;
    }
    if (word('entered') !== this.#sequence || word('refused') !== 0) {
      const reasons = ['it did not come to the hook', 'it can not be made so', 'there is no such hook'];
      throw new Error(`A packet to ${hook} of ${at} was not judged: ${reasons[word('refused')]}`);
    }
    if (word('left') !== this.#sequence) {
      return { verdict: 'drop', packet: Buffer.alloc(0), tcIndex: 0, vlan: undefined, mark: 0 };
    }
    return {
      verdict: 'pass',
      packet: Buffer.from(answer.subarray(PACKET_AT, PACKET_AT + word('length'))),
      tcIndex: word('tcIndex'),
      vlan: unpackVlan(word('vlan')),
      mark: word('mark'),
    };
  }

  close(): void {
    for (const undo of this.#undo.reverse()) undo();
    this.#wire.close();
  }
}
