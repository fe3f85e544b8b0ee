// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The product over one pin path and the process's network namespace. Each method is a module's work; those that only
 * some commands need are loaded when they are called.
 */
import type { Config } from './config/config.js';
import { Datapath } from './datapath.js';
import { clearDeadPlaces } from './events/places.js';
import type { EventOptions, EventSource } from './events/source.js';
import type { Filter } from './filter.js';
import type { Flow } from './flow.js';
import type { FlowEditor } from './flow-editor.js';
import type { FlowFormat } from './flow-printer.js';
import { FlowTable } from './flow-table.js';
import type { Frame } from './frame.js';
import type { InterfaceOptions } from './interface-config.js';
import { KernelFlowEditor } from './kernel-flow-editor.js';
import type { MissingFeature } from './kernel-support.js';
import type { Mapping } from './mapping.js';
import { readMetrics, readRetries } from './metrics-table.js';
import type { NatRule } from './nat-rule.js';
import { NatTable } from './nat-table.js';
import type {
  AgentOptions,
  InterfaceStatus,
  Metric,
  Product,
  RetryHistogram,
  Status,
  SweepResult,
} from './product.js';
import { Sweeper } from './sweeper.js';
import type { TimeoutChange } from './timeout-change.js';
import type { Timeouts } from './timeouts.js';
import type { TrackRule } from './track-rule.js';

export class KernelProduct implements Product {
  readonly #pinPath: string;
  #opened: Datapath | undefined;
  #editor: KernelFlowEditor | undefined;

  constructor(pinPath: string) {
    this.#pinPath = pinPath;
  }

  async attach(names: readonly string[], options: InterfaceOptions): Promise<InterfaceStatus[]> {
    const { attach } = await import('./attach.js');
    return await attach(this.#pinPath, names, options);
  }

  async detach(names: readonly string[] | 'all', options: { readonly purge: boolean }): Promise<string[]> {
    this.close();
    const { detach } = await import('./detach.js');
    return await detach(this.#pinPath, names, options);
  }

  async natAdd(rule: NatRule): Promise<NatRule> {
    const { addRule } = await import('./rules.js');
    return await addRule(this.#pinPath, rule);
  }

  async natList(): Promise<readonly NatRule[]> {
    const { listRules } = await import('./rules.js');
    return listRules(this.#pinPath);
  }

  async natDelete(id: number): Promise<boolean> {
    const { deleteRule } = await import('./rules.js');
    return await deleteRule(this.#pinPath, id);
  }

  async natFlush(): Promise<number> {
    const { flushRules } = await import('./rules.js');
    return await flushRules(this.#pinPath);
  }

  async trackAdd(rule: TrackRule): Promise<TrackRule> {
    const { addTrackRule } = await import('./track-rules.js');
    return await addTrackRule(this.#pinPath, rule);
  }

  async trackList(): Promise<readonly TrackRule[]> {
    const { listTrackRules } = await import('./track-rules.js');
    return listTrackRules(this.#pinPath);
  }

  async trackDelete(id: number): Promise<boolean> {
    const { deleteTrackRule } = await import('./track-rules.js');
    return await deleteTrackRule(this.#pinPath, id);
  }

  async trackFlush(): Promise<number> {
    const { flushTrackRules } = await import('./track-rules.js');
    return await flushTrackRules(this.#pinPath);
  }

  async timeouts(): Promise<Timeouts> {
    const { currentTimeouts } = await import('./status.js');
    return currentTimeouts(this.#pinPath);
  }

  async setTimeouts(change: TimeoutChange): Promise<Timeouts> {
    const { changeTimeouts } = await import('./timeout-change.js');
    return await changeTimeouts(this.#pinPath, change);
  }

  async apply(config: Config): Promise<readonly string[]> {
    const { apply } = await import('./apply.js');
    return await apply(this.#pinPath, config);
  }

  async missing(): Promise<readonly MissingFeature[]> {
    const { missingHere } = await import('./status.js');
    return missingHere(this.#pinPath);
  }

  async status(): Promise<Status> {
    const { status } = await import('./status.js');
    return status(this.#pinPath);
  }

  flows(filter: Filter): Iterable<Flow> {
    return new FlowTable(this.#datapath()).flows(filter);
  }

  flowText(filter: Filter, format: FlowFormat, frame: Frame): Iterable<Uint8Array> {
    return new FlowTable(this.#datapath()).text(filter, format, frame);
  }

  deleteFlows(filter: Filter): number {
    return new FlowTable(this.#datapath()).delete(filter);
  }

  countFlows(filter: Filter): number {
    return new FlowTable(this.#datapath()).count(filter);
  }

  flushFlows(): number {
    return new FlowTable(this.#datapath()).flush();
  }

  flowEditor(): FlowEditor {
    this.#editor ??= new KernelFlowEditor(this.#datapath());
    return this.#editor;
  }

  mappings(filter: Filter): Iterable<Mapping> {
    return new NatTable(this.#datapath()).mappings(filter);
  }

  flushNat(filter: Filter): number {
    return new NatTable(this.#datapath()).flush(filter);
  }

  natRetries(): RetryHistogram {
    return readRetries(this.#datapath());
  }

  metrics(): readonly Metric[] {
    return readMetrics(this.#datapath());
  }

  sweep(): SweepResult {
    clearDeadPlaces(this.#pinPath, this.#datapath());
    return new Sweeper(this.#datapath()).sweep();
  }

  async events(options: EventOptions): Promise<EventSource> {
    const { openEvents } = await import('./events/kernel-source.js');
    return await openEvents(this.#pinPath, options);
  }

  async runAgent(options: AgentOptions): Promise<void> {
    const { runAgent } = await import('./agent.js');
    await runAgent(this.#pinPath, options);
  }

  close(): void {
    this.#opened?.close();
    this.#opened = undefined;
    this.#editor = undefined;
  }

  #datapath(): Datapath {
    this.#opened ??= Datapath.open(this.#pinPath);
    return this.#opened;
  }
}
