// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The product as a table in memory, for tests of the command line: it remembers what it was asked to do.

import { once } from 'node:events';
import type { Config } from '../../src/config/config.js';
import { DEFAULT_TIMEOUTS, TIMEOUT_PRESETS } from '../../src/defaults.js';
import type { CtEvent } from '../../src/events/event.js';
import type { EventOptions, EventSource } from '../../src/events/source.js';
import { type Filter, flowPredicate, mappingPredicate } from '../../src/filter.js';
import { type Flow, statusNames } from '../../src/flow.js';
import type { FlowEditor } from '../../src/flow-editor.js';
import type { FlowFormat } from '../../src/flow-printer.js';
import { type Frame, framed } from '../../src/frame.js';
import type { InterfaceOptions } from '../../src/interface-config.js';
import type { MissingFeature } from '../../src/kernel-support.js';
import type { Mapping } from '../../src/mapping.js';
import { isSameRule, type NatRule } from '../../src/nat-rule.js';
import type {
  AgentOptions,
  ClassCount,
  InterfaceStatus,
  Metric,
  Product,
  ReaderStatus,
  RetryHistogram,
  Status,
  SweepResult,
} from '../../src/product.js';
import type { TimeoutChange } from '../../src/timeout-change.js';
import type { Timeouts } from '../../src/timeouts.js';
import type { TrackRule } from '../../src/track-rule.js';

import { FakeFlowEditor } from './fake-flow-editor.js';

export class FakeProduct implements Product {
  readonly interfaces = new Map<string, InterfaceOptions>();
  readonly applied: Config[] = [];
  readonly purges: boolean[] = [];
  held: Timeouts = DEFAULT_TIMEOUTS;
  table: Flow[] = [];
  nat: Mapping[] = [];
  track: TrackRule[] = [];
  rules: NatRule[] = [];
  counters: Metric[] = [];
  histogram: RetryHistogram = { retries: [], refused: 0 };
  /** What `apply` says that it changed. */
  changes: string[] = [];
  /** What the kernel lacks. */
  lacking: MissingFeature[] = [];
  /** What those who listen get, before they wait until they are told to stop. */
  stream: CtEvent[] = [];
  /** What they asked for. */
  readonly listened: EventOptions[] = [];
  /** What the agent does. */
  agent: (options: AgentOptions) => Promise<void> = async () => {};
  closed = 0;
  readers: ReaderStatus[] = [];
  tableFullDrops = 0;
  classes: ClassCount[] = [];

  async attach(names: readonly string[], options: InterfaceOptions): Promise<InterfaceStatus[]> {
    for (const name of names) this.interfaces.set(name, options);
    return this.#interfaces().filter(({ name }) => names.includes(name));
  }

  async detach(names: readonly string[] | 'all', { purge }: { purge: boolean }): Promise<string[]> {
    this.purges.push(purge);
    const wanted = names === 'all' ? [...this.interfaces.keys()] : names;
    return wanted.filter((name) => this.interfaces.delete(name));
  }

  async natAdd(rule: NatRule): Promise<NatRule> {
    const same = this.rules.find((each) => isSameRule(each, rule));
    if (same) return same;
    const added = { ...rule, id: Math.max(0, ...this.rules.map(({ id }) => id)) + 1 };
    this.rules.push(added);
    return added;
  }

  async trackAdd(rule: TrackRule): Promise<TrackRule> {
    const added = { ...rule, id: this.track.length + 1 };
    this.track.push(added);
    return added;
  }

  async trackList(): Promise<TrackRule[]> {
    return this.track;
  }

  async trackDelete(id: number): Promise<boolean> {
    const before = this.track.length;
    this.track = this.track.filter((rule) => rule.id !== id);
    return this.track.length < before;
  }

  async trackFlush(): Promise<number> {
    return this.track.splice(0).length;
  }

  async timeouts(): Promise<Timeouts> {
    return this.held;
  }

  async setTimeouts({ preset, timeouts }: TimeoutChange): Promise<Timeouts> {
    this.held = { ...(preset ? TIMEOUT_PRESETS[preset] : this.held), ...timeouts };
    return this.held;
  }

  async natList(): Promise<NatRule[]> {
    return this.rules;
  }

  async natDelete(id: number): Promise<boolean> {
    const before = this.rules.length;
    this.rules = this.rules.filter((rule) => rule.id !== id);
    return this.rules.length < before;
  }

  async natFlush(): Promise<number> {
    return this.rules.splice(0).length;
  }

  async apply(config: Config): Promise<string[]> {
    this.applied.push(config);
    return this.changes;
  }

  async status(): Promise<Status> {
    return {
      version: '1.2.3',
      kernel: '6.1.0',
      pinPath: '/sys/fs/bpf/ctnat',
      interfaces: this.#interfaces(),
      maps: [{ name: 'flows4', type: 'array', entries: 512, maxEntries: 4096, bytes: 1_048_576 }],
      refusals: [],
      limited: [],
      timeouts: this.held,
      features: { tcx: true, batch: false, flavour: 'v5_13' },
      missing: [...this.lacking],
      agent: { running: true, pid: 4711 },
      readers: this.readers,
      tableFullDrops: this.tableFullDrops,
      classes: this.classes,
    };
  }

  async missing(): Promise<readonly MissingFeature[]> {
    return this.lacking;
  }

  *flows(filter: Filter): Iterable<Flow> {
    const matches = flowPredicate(filter);
    for (const flow of this.table) if (matches(flow)) yield flow;
  }

  *flowText(filter: Filter, format: FlowFormat, frame: Frame): Iterable<Uint8Array> {
    for (const chunk of framed(this.flows(filter), format, frame)) yield Buffer.from(chunk);
  }

  deleteFlows(filter: Filter): number {
    const matches = flowPredicate(filter);
    const before = this.table.length;
    this.table = this.table.filter((flow) => !matches(flow));
    return before - this.table.length;
  }

  countFlows(filter: Filter): number {
    return [...this.flows(filter)].length;
  }

  flushFlows(): number {
    return this.table.splice(0).length;
  }

  flowEditor(): FlowEditor {
    return new FakeFlowEditor(this);
  }

  *mappings(filter: Filter): Iterable<Mapping> {
    const matches = mappingPredicate(filter);
    for (const mapping of this.nat) if (matches(mapping)) yield mapping;
  }

  flushNat(filter: Filter): number {
    const matches = mappingPredicate(filter);
    const before = this.nat.length;
    this.nat = this.nat.filter((mapping) => !matches(mapping));
    return before - this.nat.length;
  }

  natRetries(): RetryHistogram {
    return this.histogram;
  }

  metrics(): Metric[] {
    return this.counters;
  }

  sweep(): SweepResult {
    return { maps: [{ name: 'flows4', looked: 4096, live: 500, deleted: 12 }], durationMs: 1.5 };
  }

  async events(options: EventOptions): Promise<EventSource> {
    this.listened.push(options);
    return fakeEvents(this.stream, options.signal);
  }

  runAgent(options: AgentOptions): Promise<void> {
    return this.agent(options);
  }

  close(): void {
    this.closed++;
  }

  #interfaces(): InterfaceStatus[] {
    return [...this.interfaces].map(
      ([name, { masquerade, mapping, filtering, mss, redirect, zone, limits }], i) => ({
        name,
        ifindex: i + 2,
        mode: 'tc',
        hooks: ['tcx/ingress', 'tcx/egress'],
        masquerade,
        mapping,
        filtering,
        mss: mss ?? null,
        redirect: redirect ?? false,
        zone: zone ?? 0,
        limits: limits ?? null,
      }),
    );
  }
}

/** The contract's example flow, with changes. */
export function exampleFlow(changes: Partial<Flow> = {}): Flow {
  return {
    family: 'ipv4',
    proto: 'tcp',
    protonum: 6,
    state: 'ESTABLISHED',
    status: statusNames((1 << 1) | (1 << 2) | (1 << 4)),
    original: { src: '10.0.0.2', dst: '192.0.2.9', sport: 40000, dport: 80, packets: 12, bytes: 3400 },
    reply: { src: '192.0.2.9', dst: '198.51.100.1', sport: 80, dport: 40000, packets: 10, bytes: 9000 },
    timeout: 7439,
    age: 12.4,
    mark: 0,
    zone: 0,
    iface: 'eth0',
    slot: 5,
    gen: 7,
    natType: 'masquerade',
    ifindex: 2,
    ...changes,
  };
}

/** A ping through masquerade, which has an identifier and no state. */
export function pingFlow(): Flow {
  const { state: _none, ...rest } = exampleFlow();
  return {
    ...rest,
    proto: 'icmp',
    protonum: 1,
    status: statusNames(1 << 4),
    original: { src: '10.0.0.3', dst: '192.0.2.9', type: 8, code: 0, id: 77, packets: 1, bytes: 84 },
    reply: { src: '192.0.2.9', dst: '198.51.100.1', type: 0, code: 0, id: 78, packets: 0, bytes: 0 },
    timeout: 59,
  };
}

/** The contract's example mapping, with changes. */
export function exampleMapping(changes: Partial<Mapping> = {}): Mapping {
  return {
    family: 'ipv4',
    proto: 'tcp',
    protonum: 6,
    type: 'masquerade',
    iface: 'eth0',
    internal: { address: '10.0.0.2', port: 40000 },
    external: { address: '198.51.100.1', port: 40000 },
    remote: { address: '192.0.2.9', port: 80 },
    age: 12.4,
    flows: 1,
    ...changes,
  };
}

function fakeEvents(stream: readonly CtEvent[], signal: AbortSignal | undefined): EventSource {
  const closed = new AbortController();
  const until = AbortSignal.any([closed.signal, ...(signal ? [signal] : [])]);
  const all = async function* () {
    for (const event of stream) yield event;
    if (!until.aborted) await once(until, 'abort');
  };
  return {
    transport: 'ringbuf',
    lost: stream.reduce((sum, event) => (event.type === 'lost' ? event.total : sum), 0),
    [Symbol.asyncIterator]: all,
    batches: async function* () {
      for await (const event of all()) yield [event];
    },
    want: async () => {},
    stop: () => closed.abort(),
    close: async () => closed.abort(),
  };
}
