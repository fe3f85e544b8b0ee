// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The datapath as it was built, in the kernel but attached to nothing: packets go to its hooks and come back by
// a test run or over an interface (datapath/stepper.ts).
import { type BpfObject, type BpfProgram, type MapLayout, SyscallError, TypedMap } from 'libbpf-ts';
import type { Test } from 'tap';
import {
  Counter,
  CtStatus,
  FlowLock,
  HookDir,
  maps,
  type PoolEntry,
  Reason,
  SettingsFlags,
  SWEEP_REQUEST,
  SweepMode,
} from '../../src/generated/layouts.gen.js';
import { trackEntries } from '../../src/track-entry.js';
import { parseTrackRule, type TrackRuleText } from '../../src/track-rule.js';
import { byOriginal, type FlowView, viewFlow4, viewFlow6 } from './datapath/flow-view.js';
import { closeLongWay, type Hooks, openHooks, type Way } from './datapath/hooks.js';
import { isCompiledWith, loadDatapath } from './datapath/load.js';
import { enterRouter } from './datapath/network.js';
import {
  type InterfaceSetup,
  iface,
  natRule,
  nowTicks,
  type RuleSetup,
  settings,
} from './datapath/settings.js';
import type { InterfaceName, Network, StepOptions, StepResult } from './datapath/step.js';
import { openStepper, type Stepper } from './datapath/stepper.js';
import { ETHERTYPE } from './packet.js';
import { countKeys, forgetKeys, type KeyMaps } from './tables/keys.js';

export type { Hook, StepOptions, StepResult } from './datapath/step.js';

export interface Setup {
  /** Attached interfaces; default lan0 plain and wan0 masquerading IPv4 as its own address. */
  interfaces?: Partial<Record<InterfaceName, InterfaceSetup>>;
  rules?: RuleSetup[];
  /** What rules with a pool translate to. */
  pool?: readonly PoolEntry[];
  /** Rules for tracking, as texts. */
  track?: readonly TrackRuleText[];
  /** enum settings_flags. */
  flags?: number;
  /** Slots that may be used of each family. */
  slots?: number;
}

const FLOWS = 4096;
const TAGS = [ETHERTYPE.vlan, ETHERTYPE.qinq];

const DEFAULT_INTERFACES: Partial<Record<InterfaceName, InterfaceSetup>> = {
  lan0: { ip4: '10.0.0.1', ip6: 'fd00:10::1' },
  wan0: { ip4: '198.51.100.1', ip6: '2001:db8:1::1', masquerade: 'all' },
};

export class Datapath {
  readonly network: Network;
  readonly flavour: string;
  readonly #object: BpfObject;
  readonly #hooks: Hooks;
  readonly #stepper: Stepper;

  private constructor(network: Network, flavour: string, object: BpfObject, hooks: Hooks) {
    this.network = network;
    this.flavour = flavour;
    this.#object = object;
    this.#hooks = hooks;
    this.#stepper = openStepper(network, hooks);
  }

  /** Loads a flavour's object and a way to its hooks, for a router that this process is in. */
  static open(flavour: string, network: Network, way: Way = 'any'): Datapath {
    const object = loadDatapath(flavour, FLOWS);
    try {
      return new Datapath(network, flavour, object, openHooks(object, way));
    } catch (error) {
      object.close();
      throw error;
    }
  }

  /** As open(); the test's end unloads it. */
  static async load(t: Test, flavour: string, network?: Network, way?: Way): Promise<Datapath> {
    const datapath = Datapath.open(flavour, network ?? (await enterRouter(t)), way);
    t.teardown(() => datapath.close());
    return datapath;
  }

  close(): void {
    this.#stepper.close();
    this.#hooks.close();
    this.#object.close();
  }

  /** Empties every map and configures anew: each table begins with this. */
  configure(setup: Setup = {}): void {
    for (const name of [
      'tuples4',
      'tuples6',
      'fragments4',
      'fragments6',
      'exempt4',
      'exempt6',
      'ifaces',
      'zones',
      'subscribers',
    ]) {
      this.#object.map(name).map.clear();
    }
    for (const name of [
      'flows4',
      'flows6',
      'tuple_index',
      'metrics',
      'counters',
      'nat_retries',
      'hands',
      'port_hints',
      'leads',
    ])
      this.#zero(name);
    this.#forgetPorts();
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
      if (fields.zone) this.map(maps.zones).set(this.network[name], fields.zone);
    }
    rules.forEach((rule, i) => {
      this.map(maps.nat_rules).set(i, natRule(i + 1, rule));
    });
    setup.pool?.forEach((entry, i) => {
      this.map(maps.nat_pools).set(i, entry);
    });
    const eim = interfaces.some(([, fields]) => fields.eim) ? SettingsFlags.EIM : 0;
    const zones = interfaces.some(([, { zone }]) => zone) ? SettingsFlags.ZONES : 0;
    const limits = interfaces.some(([, { limits }]) => limits) ? SettingsFlags.LIMITS : 0;
    const track = trackEntries((setup.track ?? []).map(parseTrackRule), (name) =>
      name in this.network ? this.network[name as InterfaceName] : undefined,
    );
    this.map(maps.track_rules).set(0, track);
    const { flags: given = SettingsFlags.TCP_LOOSE } = setup;
    const flags = track.count > 0 ? given | SettingsFlags.TRACK : given;
    this.map(maps.settings).set(
      0,
      settings({
        slots: setup.slots ?? FLOWS,
        rules: rules.length,
        flags: flags | eim | zones | limits,
        hintRows: this.map(maps.hints).map.maxEntries,
      }),
    );
  }

  /** A map by its generated layout. */
  map<K, V>(layout: MapLayout<K, V>): TypedMap<K, V> {
    return new TypedMap(this.#object.map(layout.name).map, layout.key, layout.value);
  }

  program(name: string): BpfProgram {
    return this.#object.program(name);
  }

  /** Outside ports that the port map has as used (bpf/port_map.h), those of tables before among them. */
  mappedPorts(): number {
    let bits = 0;
    // from 5.12 on the upper ones say whose a word is
    const ports = isCompiledWith(this.flavour, 'CTNAT_FETCH') ? 48 : 64;
    for (const value of this.map(maps.port_map).values())
      for (let word = BigInt.asUintN(ports, value); word; word &= word - 1n) bits++;
    return bits;
  }

  /** How many searches for a port looked at so many others first; the last: refused. */
  retries(): number[] {
    const retries = this.map(maps.nat_retries);
    return [...retries.keys()].map((key) => sum(retries.getPerCpu(key)!));
  }

  /** Puts a packet through one hook. */
  step(options: StepOptions): StepResult {
    return this.#stepper.step(this.network, options);
  }

  /** Whether a hook meets the frame as it is: on a real interface the kernel first puts an outer VLAN tag beside it. */
  showsAsGiven(packet: Uint8Array): boolean {
    const type = Buffer.from(packet).readUInt16BE(12);
    return this.#stepper.kind === 'harness' || !(TAGS as readonly number[]).includes(type);
  }

  /** Whether a step tells what is left of a packet that was dropped. */
  get showsDropped(): boolean {
    return this.#stepper.kind === 'harness';
  }

  /**
   * Why packets can not be given a checksum beside them, which the kernel then keeps an eye on; undefined if they
   * can. Asked for by doing it.
   */
  whyNoChecksumComplete(packet: Uint8Array): string | undefined {
    if (this.#stepper.kind === 'wire') return 'this kernel has no test runs with an interface';
    try {
      this.step({ hook: 'egress', at: 'dmz0', packet, checksumComplete: true });
      return undefined;
    } catch (error) {
      if (!(error instanceof SyscallError && error.errnoName === 'EINVAL')) throw error;
      return 'this kernel does not know BPF_F_TEST_SKB_CHECKSUM_COMPLETE';
    }
  }

  /**
   * The tracked flows of a family, by their original tuples, as slots have no order to rely on (bpf/home.h); expired
   * ones that nobody has torn down yet are among them.
   */
  flows(family: 4 | 6 = 4): FlowView[] {
    const table = family === 4 ? this.map(maps.flows4) : this.map(maps.flows6);
    const found: FlowView[] = [];
    for (const [slot, flow] of table.entries()) {
      if (!(flow.head.status & CtStatus.CONFIRMED)) continue;
      found.push(family === 4 ? viewFlow4(slot, flow as never) : viewFlow6(slot, flow as never));
    }
    return found.sort(byOriginal);
  }

  /** The endpoint-independent mappings of a family, by their original tuples, and how many flows count on each. */
  endpoints(family: 4 | 6 = 4): (FlowView & { flows: number })[] {
    const table = family === 4 ? this.map(maps.flows4) : this.map(maps.flows6);
    const found: (FlowView & { flows: number })[] = [];
    for (const [slot, flow] of table.entries()) {
      const { status, lock } = flow.head;
      if (!(status & CtStatus.ENDPOINT)) continue;
      const view = family === 4 ? viewFlow4(slot, flow as never) : viewFlow6(slot, flow as never);
      found.push({ ...view, flows: (lock & FlowLock.CLAIM_MASK) - 1 });
    }
    return found.sort(byOriginal);
  }

  /** Takes the long way's programs away (datapath/hooks.ts). @returns what puts them back */
  closeLongWay(): () => void {
    return closeLongWay(this.#object);
  }

  /** Keys that lead to flows. */
  keys(family: 4 | 6 = 4): number {
    return countKeys(this.#keyMaps(), family);
  }

  /** Tears one IPv4 flow down, or an endpoint without flows, as the commands do; false if nobody is in the slot. */
  deleteFlow(slot: number): boolean {
    const { gen } = this.map(maps.flows4).get(slot)!.head;
    const request = Buffer.alloc(SWEEP_REQUEST.size);
    const { offset } = SWEEP_REQUEST;
    request.writeUInt32LE(SweepMode.ONE, offset.mode);
    request.writeUInt32LE(4, offset.family);
    request.writeUInt32LE(slot, offset.cursor);
    request.writeUInt32LE(slot + 1, offset.limit);
    request.writeUInt32LE(slot, offset.slot);
    request.writeUInt16LE(gen, offset.gen);
    const { data } = this.program('ct_sweep4').testRun({ data: request });
    return data.readUInt32LE(offset.deleted) + data.readUInt32LE(offset.endpoints) > 0;
  }

  /** Looks at every IPv4 slot and tears down what has expired, or everything. */
  sweep(what: 'expired' | 'all' = 'expired'): void {
    const { offset, size } = SWEEP_REQUEST;
    let request: Buffer = Buffer.alloc(size);
    request.writeUInt32LE(what === 'all' ? SweepMode.ALL : SweepMode.EXPIRED, offset.mode);
    request.writeUInt32LE(4, offset.family);
    request.writeUInt32LE(FLOWS, offset.limit);
    while (request.readUInt32LE(offset.cursor) < FLOWS) {
      request = Buffer.from(this.program('ct_sweep4').testRun({ data: request }).data);
    }
  }

  /** Moves a flow's deadline so many seconds from now; negative: it has expired. The fake clock. */
  setDeadline(slot: number, secondsFromNow: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.deadline = (nowTicks() + Math.round((secondsFromNow * 1e9) / 2 ** 24)) >>> 0;
    flows.set(slot, flow);
  }

  /** Puts a slot's lock (FlowLock) to what another CPU that works on it would have made of it. */
  lock(slot: number, lock: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.lock = lock;
    flows.set(slot, flow);
  }

  /** Takes an IPv4 flow's key away, which is of that form (TupleForm). */
  forgetKey(slot: number, form: number): void {
    forgetKeys(this.#keyMaps(), 4, (ref) => ref.slot === slot && (ref.form & form) !== 0);
  }

  #keyMaps(): KeyMaps {
    const { tuples4, tuples6, tuple_index, index_head } = maps;
    return {
      tuples4: this.map(tuples4),
      tuples6: this.map(tuples6),
      tuple_index: this.map(tuple_index),
      index_head: this.map(index_head),
    };
  }

  /** Makes a flow look as if it had begun so many seconds ago. */
  age(slot: number, seconds: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.created = (flow.head.created - Math.round((seconds * 1e9) / 2 ** 24)) >>> 0;
    flows.set(slot, flow);
  }

  /** Makes a flow look as if it had begun just now: on a slow machine seconds pass between two packets. */
  renew(slot: number): void {
    const flows = this.map(maps.flows4);
    const flow = flows.get(slot)!;
    flow.head.created = nowTicks();
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

  /** The flows that were wiped have not given their ports back. */
  #forgetPorts(): void {
    const { map } = this.#object.map('port_map');
    const zeros = Buffer.alloc(map.valueSize);
    for (const { keys, values, count } of map.lookupBatch(8192)) {
      const used = values.subarray(0, count * map.valueSize);
      if (!used.some((byte) => byte !== 0)) continue;
      for (let i = 0; i < count; i++)
        if (used.readBigUInt64LE(i * map.valueSize))
          map.set(Buffer.from(keys.subarray(i * 4, i * 4 + 4)), zeros);
    }
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
