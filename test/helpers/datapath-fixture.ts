// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The datapath as it was built, in the kernel but attached to nothing: packets go in and come out by
// BPF_PROG_TEST_RUN. bpf/test/harness.bpf.c stands before its hooks.
import { type BpfObject, type BpfProgram, type MapLayout, TypedMap, u32 } from 'libbpf-ts';
import type { Test } from 'tap';
import { Counter, CtStatus, HookDir, maps, Reason } from '../../src/generated/layouts.gen.js';
import { type FlowView, viewFlow4, viewFlow6 } from './datapath/flow-view.js';
import { loadDatapath, openBuilt } from './datapath/load.js';
import { enterRouter, type InterfaceName, type Network } from './datapath/network.js';
import {
  type InterfaceSetup,
  iface,
  natRule,
  nowTicks,
  type RuleSetup,
  settings,
} from './datapath/settings.js';
import { readSkbContext, skbContext } from './datapath/skb-context.js';

export type Hook = 'ingress' | 'egress';

export interface StepOptions {
  hook: Hook;
  at: InterfaceName;
  packet: Uint8Array;
  /** What the packet's earlier hook left in skb->tc_index. */
  tcIndex?: number;
  /** Where the packet came in; left out: this host made it (egress), or `at` (ingress). */
  from?: InterfaceName;
  /** Cuts the frame to so many bytes inside the kernel; test runs refuse to begin with half an IP header. */
  length?: number;
  /** Tag beside the frame, as the kernel and hardware keep it: protocol and tag control information. */
  vlan?: { protocol: number; tci: number };
  mark?: number;
  gso?: { size: number; segments: number };
  /** BPF_F_TEST_SKB_CHECKSUM_COMPLETE: the kernel checks that skb->csum stays right (since 6.13). */
  checksumComplete?: boolean;
}

export interface StepResult {
  verdict: 'pass' | 'drop' | 'redirect';
  packet: Buffer;
  tcIndex: number;
  vlan: { protocol: number; tci: number } | undefined;
  mark: number;
}

export interface Setup {
  /** Attached interfaces; default lan0 plain and wan0 masquerading IPv4 as its own address. */
  interfaces?: Partial<Record<InterfaceName, InterfaceSetup>>;
  rules?: RuleSetup[];
  /** enum settings_flags. */
  flags?: number;
  /** Slots that may be used of each family. */
  slots?: number;
}

const FLOWS = 4096;
const MAGIC = 0x63746e61; // HARNESS_MAGIC
const BPF_F_TEST_SKB_CHECKSUM_COMPLETE = 1 << 2;
const VERDICTS = new Map<number, StepResult['verdict']>([
  [0xffff_ffff, 'pass'], // TC_ACT_UNSPEC
  [0, 'pass'], // TC_ACT_OK
  [2, 'drop'], // TC_ACT_SHOT
  [7, 'redirect'], // TC_ACT_REDIRECT
]);

const DEFAULT_INTERFACES: Partial<Record<InterfaceName, InterfaceSetup>> = {
  lan0: { ip4: '10.0.0.1', ip6: 'fd00:10::1' },
  wan0: { ip4: '198.51.100.1', ip6: '2001:db8:1::1', masquerade: 'all' },
};

export class Datapath {
  readonly network: Network;
  readonly flavour: string;
  readonly #object: BpfObject;
  readonly #step: BpfProgram;

  private constructor(network: Network, flavour: string, object: BpfObject, harness: BpfObject) {
    this.network = network;
    this.flavour = flavour;
    this.#object = object;
    this.#step = harness.program('harness_step');
  }

  /** Loads a flavour's object beside the harness; the test's end unloads it. */
  static async load(t: Test, flavour: string, network?: Network): Promise<Datapath> {
    const router = network ?? (await enterRouter(t));
    const object = loadDatapath(flavour, FLOWS);
    t.teardown(() => object.close());
    const harness = openBuilt('test/harness.bpf.o');
    t.teardown(() => harness.close());
    harness.load();
    const hooks = new TypedMap(harness.map('hooks').map, u32, u32);
    hooks.set(HookDir.INGRESS, object.program('ct_ingress').fd);
    hooks.set(HookDir.EGRESS, object.program('ct_egress').fd);
    return new Datapath(router, flavour, object, harness);
  }

  /** Empties every map and configures anew: each table begins with this. */
  configure(setup: Setup = {}): void {
    for (const name of ['tuples4', 'tuples6', 'fragments4', 'fragments6', 'exempt4', 'exempt6', 'ifaces']) {
      this.#object.map(name).map.clear();
    }
    for (const name of ['flows4', 'flows6', 'metrics', 'counters', 'nat_retries', 'hands']) this.#zero(name);
    const rules = setup.rules ?? [];
    const interfaces = Object.entries(setup.interfaces ?? DEFAULT_INTERFACES) as [
      InterfaceName,
      InterfaceSetup,
    ][];
    for (const [name, fields] of interfaces) {
      const withRules = rules.some(
        ({ kind, ifindex }) => kind !== 'dnat' && (!ifindex || ifindex === this.network[name]),
      );
      this.map(maps.ifaces).set(this.network[name], iface(name, { snat: withRules, ...fields }));
    }
    rules.forEach((rule, i) => {
      this.map(maps.nat_rules).set(i, natRule(i + 1, rule));
    });
    const fields = { slots: setup.slots ?? FLOWS, rules: rules.length };
    this.map(maps.settings).set(
      0,
      settings(setup.flags === undefined ? fields : { ...fields, flags: setup.flags }),
    );
  }

  /** A map by its generated layout. */
  map<K, V>(layout: MapLayout<K, V>): TypedMap<K, V> {
    return new TypedMap(this.#object.map(layout.name).map, layout.key, layout.value);
  }

  program(name: string): BpfProgram {
    return this.#object.program(name);
  }

  /** Puts a packet through one hook. */
  step(options: StepOptions): StepResult {
    const { hook, at, packet, vlan, gso } = options;
    const from = options.from ?? (hook === 'ingress' ? at : undefined);
    const context = skbContext({
      mark: options.mark ?? 0,
      ifindex: this.network[at],
      ingressIfindex: from ? this.network[from] : 0,
      ...(gso && { gsoSize: gso.size, gsoSegments: gso.segments, wireLength: packet.length }),
      cb: [
        hook === 'ingress' ? HookDir.INGRESS : HookDir.EGRESS,
        options.tcIndex ?? 0,
        options.length ?? 0,
        vlan ? ((vlan.protocol << 16) | vlan.tci) >>> 0 : 0,
        MAGIC,
      ],
    });
    const flags = options.checksumComplete ? BPF_F_TEST_SKB_CHECKSUM_COMPLETE : 0;
    const ran = this.#step.testRun({ data: packet, context, flags });
    const { cb, mark } = readSkbContext(ran.context!);
    const verdict = VERDICTS.get(ran.retval);
    if (cb[4] !== MAGIC || verdict === undefined) {
      throw new Error(
        `The hook did not run: it returned ${ran.retval}, cb is ${cb.map((word) => word.toString(16))}`,
      );
    }
    const tag = cb[1]!;
    return {
      verdict,
      packet: ran.data,
      tcIndex: cb[0]!,
      vlan: tag ? { protocol: tag >>> 16, tci: tag & 0xffff } : undefined,
      mark,
    };
  }

  /** The tracked flows of a family, by slot; expired ones that nobody has torn down yet are among them. */
  flows(family: 4 | 6 = 4): FlowView[] {
    const table = family === 4 ? this.map(maps.flows4) : this.map(maps.flows6);
    const found: FlowView[] = [];
    for (const [slot, flow] of table.entries()) {
      if (!(flow.head.status & CtStatus.CONFIRMED)) continue;
      found.push(family === 4 ? viewFlow4(slot, flow as never) : viewFlow6(slot, flow as never));
    }
    return found;
  }

  /** Entries of the tuple map: keys that lead to flows. */
  keys(family: 4 | 6 = 4): number {
    return (family === 4 ? this.map(maps.tuples4) : this.map(maps.tuples6)).count();
  }

  /** Moves a flow's deadline so many seconds from now; negative: it has expired. The fake clock. */
  setDeadline(slot: number, secondsFromNow: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.deadline = (nowTicks() + Math.round((secondsFromNow * 1e9) / 2 ** 24)) >>> 0;
    flows.set(slot, flow);
  }

  /** Makes a flow look as if it had begun so many seconds ago. */
  age(slot: number, seconds: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.created = (flow.head.created - Math.round((seconds * 1e9) / 2 ** 24)) >>> 0;
    flows.set(slot, flow);
  }

  /** Packets by reason and hook, `FORWARDED egress`; those that are not 0. */
  reasons(): Record<string, number> {
    return Object.fromEntries(Object.entries(this.metrics()).map(([name, { packets }]) => [name, packets]));
  }

  metrics(): Record<string, { packets: number; bytes: number }> {
    const metrics = this.map(maps.metrics);
    const names = Object.entries(Reason).filter(([name]) => name !== 'COUNT' && name !== 'DROP_FIRST');
    const found: Record<string, { packets: number; bytes: number }> = {};
    for (const [name, reason] of names) {
      for (const [hook, dir] of [
        ['ingress', HookDir.INGRESS],
        ['egress', HookDir.EGRESS],
      ] as const) {
        const cpus = metrics.getPerCpu(reason * HookDir.DIR_COUNT + dir)!;
        const packets = cpus.reduce((sum, cpu) => sum + Number(cpu.packets), 0);
        if (packets > 0)
          found[`${name} ${hook}`] = {
            packets,
            bytes: cpus.reduce((sum, cpu) => sum + Number(cpu.bytes), 0),
          };
      }
    }
    return found;
  }

  /** Event counters by name; those that are not 0. */
  counters(): Record<string, number> {
    const counters = this.map(maps.counters);
    const names = Object.entries(Counter).filter(([name]) => name !== 'COUNT');
    const sums = names.map(([name, index]): [string, number] => [name, sum(counters.getPerCpu(index)!)]);
    return Object.fromEntries(sums.filter(([, value]) => value > 0));
  }

  /** One event counter, cheaply. */
  counter(which: (typeof Counter)[keyof typeof Counter]): number {
    return sum(this.map(maps.counters).getPerCpu(which)!);
  }

  #zero(name: string): void {
    const { map } = this.#object.map(name);
    const key = Buffer.alloc(4);
    const value = Buffer.alloc(map.valueSize);
    for (let i = 0; i < map.maxEntries; i++) {
      key.writeUInt32LE(i);
      map.set(key, value);
    }
  }
}

function sum(cpus: readonly bigint[]): number {
  return Number(cpus.reduce((total, value) => total + value, 0n));
}
