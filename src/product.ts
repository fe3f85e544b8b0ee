// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What the commands need of ctnat. Behind it stands the datapath; tests put a table in memory there.
 * A method that can't do its work throws a CtnatError whose message says what, to what, why and what to do.
 */
import type { Config } from './config/config.js';
import type { EventType } from './events/event.js';
import type { EventOptions, EventSource } from './events/source.js';
import type { Filter } from './filter.js';
import type { Flow } from './flow.js';
import type { FlowEditor } from './flow-editor.js';
import type { FlowFormat } from './flow-printer.js';
import type { Frame } from './frame.js';
import type {
  FilteringModes,
  InterfaceOptions,
  MappingModes,
  Masquerade,
  MssLimit,
} from './interface-config.js';
import type { MissingFeature } from './kernel-support.js';
import type { Limits } from './limits.js';
import type { Mapping } from './mapping.js';
import type { NatRule } from './nat-rule.js';
import type { Refusal } from './refusals.js';
import type { LimitedSubscriber } from './subscribers.js';
import type { TimeoutChange } from './timeout-change.js';
import type { Timeouts } from './timeouts.js';
import type { TrackRule } from './track-rule.js';

/** Options that every command takes. */
export interface GlobalOptions {
  /** Name below /run/netns, or a path; absent: the caller's network namespace. */
  readonly netns?: string;
  /** Absolute folder of the pins on bpffs. */
  readonly pinPath: string;
}

/** Makes the product for one command; the caller closes it. */
export type ProductFactory = (options: GlobalOptions) => Promise<Product>;

export interface InterfaceStatus {
  readonly name: string;
  readonly ifindex: number;
  /** What is in force; never `auto`. */
  readonly mode: string;
  /** Why that, where `auto` chose or `xdp` could not be had. */
  readonly why?: string;
  /** Where programs sit, such as `tcx/ingress`. */
  readonly hooks: readonly string[];
  readonly masquerade: Masquerade;
  readonly mapping: MappingModes;
  readonly filtering: FilteringModes;
  /** The greatest MSS that SYNs may announce; null: any. */
  readonly mss: MssLimit | null;
  /** Whether established flows skip the stack at TC. */
  readonly redirect: boolean;
  /** 0: that of interfaces without one. */
  readonly zone: number;
  /** Of each subscriber whose flows leave translated by it; null: none. */
  readonly limits: Limits | null;
}

export interface MapStatus {
  readonly name: string;
  readonly type: string;
  readonly entries: number;
  readonly maxEntries: number;
  /** Kernel memory that the map takes. */
  readonly bytes: number;
}

export interface AgentStatus {
  readonly running: boolean;
  /** null unless it runs. */
  readonly pid: number | null;
}

/** Somebody who listens to events. */
export interface ReaderStatus {
  readonly pid: number;
  readonly types: readonly EventType[];
}

/** What a packet is to tracking, by the names of iptables' --ctstate. */
export type PacketClass = 'NEW' | 'ESTABLISHED' | 'RELATED' | 'INVALID' | 'UNTRACKED';

/** Packets of one class at one side's hooks, since the programs were loaded. */
export interface ClassCount {
  readonly class: PacketClass;
  readonly direction: 'ingress' | 'egress';
  readonly packets: number;
  readonly bytes: number;
}

export interface Status {
  readonly version: string;
  readonly kernel: string;
  readonly pinPath: string;
  readonly interfaces: readonly InterfaceStatus[];
  readonly maps: readonly MapStatus[];
  readonly timeouts: Timeouts;
  /** For which outside addresses and other sides flows were refused for want of a port. */
  readonly refusals: readonly Refusal[];
  /** Subscribers that stand at a limit, or were refused something by one. */
  readonly limited: readonly LimitedSubscriber[];
  /** Kernel features by name: what is used instead of them stands in the value where there is a choice. */
  readonly features: Readonly<Record<string, boolean | number | string>>;
  /** Those of the features that this kernel lacks and ctnat would use, with what it does instead. */
  readonly missing: readonly MissingFeature[];
  readonly agent: AgentStatus;
  readonly readers: readonly ReaderStatus[];
  /** New flows whose packets were dropped because the table was full, since the programs were loaded. */
  readonly tableFullDrops: number;
  /** Every class in both directions, also those that count 0; empty where nothing is loaded. */
  readonly classes: readonly ClassCount[];
}

/** What one sweep did in one map. */
export interface SweptMap {
  readonly name: string;
  /** Entries looked at, of these alive, of these removed because they had expired. */
  readonly looked: number;
  readonly live: number;
  readonly deleted: number;
}

export interface SweepResult {
  readonly maps: readonly SweptMap[];
  readonly durationMs: number;
}

/** How many attempts port allocations took, of both families together. */
export interface RetryHistogram {
  /** Index: retries; value: allocations. */
  readonly retries: readonly number[];
  /** Allocations that found nothing. */
  readonly refused: number;
}

/** One counter of the metrics map. */
export interface Metric {
  /** In lower case, as in enum reason without its prefix. */
  readonly reason: string;
  readonly direction: 'ingress' | 'egress';
  readonly packets: number;
  readonly bytes: number;
}

export interface AgentOptions {
  /** Reads the configuration, again on each reload; undefined without -c. Throws ConfigError. */
  readonly readConfig?: () => Promise<Config>;
  /** Aborted by SIGTERM and SIGINT: the agent ends, the datapath stays. */
  readonly stop: AbortSignal;
  /** Calls the listener on every SIGHUP. */
  readonly onReload: (listener: () => void) => void;
}

export interface Product {
  /**
   * Attaches the interfaces with these options, replacing the ones that they had; live flows go on.
   * All or nothing: if one fails, those attached by this call are detached.
   * @returns the state of each, in the order given
   */
  attach(names: readonly string[], options: InterfaceOptions): Promise<readonly InterfaceStatus[]>;
  /**
   * Detaches the interfaces, or all. With purge, maps and pins go too, which needs that none stays attached.
   * @returns the names that were attached before
   */
  detach(names: readonly string[] | 'all', options: { readonly purge: boolean }): Promise<readonly string[]>;

  /** Puts the rule behind the others and returns it with its id; a rule that does the same is not added twice. */
  natAdd(rule: NatRule): Promise<NatRule>;
  /** In the order in which they are tried. */
  natList(): Promise<readonly NatRule[]>;
  /** False if there is no rule of that id. */
  natDelete(id: number): Promise<boolean>;
  /** Returns how many rules there were. */
  natFlush(): Promise<number>;

  /** Puts the rule for tracking behind the others and returns it with its id; one that does the same is not added twice. */
  trackAdd(rule: TrackRule): Promise<TrackRule>;
  /** In order. */
  trackList(): Promise<readonly TrackRule[]>;
  /** False if there is no rule of that id. */
  trackDelete(id: number): Promise<boolean>;
  /** Returns how many rules there were. */
  trackFlush(): Promise<number>;

  /** What holds; the defaults where nothing is loaded. */
  timeouts(): Promise<Timeouts>;
  /** Puts timeouts in force, for live flows from their next packet on, and returns what holds then. */
  setTimeouts(change: TimeoutChange): Promise<Timeouts>;

  /**
   * Makes the running state equal to the configuration, all or nothing.
   * @returns what was changed, a phrase each; empty if it was so already
   */
  apply(config: Config): Promise<readonly string[]>;
  status(): Promise<Status>;

  /** As in Status, without the rest. */
  missing(): Promise<readonly MissingFeature[]>;

  /** Streams the live flows that match; expired ones are not among them. */
  flows(filter: Filter): Iterable<Flow>;
  /**
   * The same as text, each flow as `format` writes it, faster than by formatting one after the other. A chunk's
   * bytes hold until the next chunk is asked for.
   */
  flowText(filter: Filter, format: FlowFormat, frame: Frame): Iterable<Uint8Array>;
  /** Returns how many were deleted. */
  deleteFlows(filter: Filter): number;
  countFlows(filter: Filter): number;
  /** Deletes all flows and returns how many. */
  flushFlows(): number;
  /** For what is done to flows one by one. */
  flowEditor(): FlowEditor;

  mappings(filter: Filter): Iterable<Mapping>;
  /** Deletes the matching mappings with the flows that use them; returns how many mappings. */
  flushNat(filter: Filter): number;
  natRetries(): RetryHistogram;
  /** Every reason in both directions, also those that count 0. */
  metrics(): readonly Metric[];
  /** Removes what has expired, now. */
  sweep(): SweepResult;

  /** Begins to listen to events: every change from now on is told. The caller closes the source. */
  events(options: EventOptions): Promise<EventSource>;

  /** Runs the agent until `stop` is aborted. */
  runAgent(options: AgentOptions): Promise<void>;
  /** Gives up every handle; what is pinned stays. Harmless when repeated. */
  close(): void;
}
