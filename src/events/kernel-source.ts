// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Listens to the datapath's events. What is opened of the pin path is closed again at once, so that it can be purged. */
import { statSync } from 'node:fs';
import { join } from 'node:path';
import { Datapath } from '../datapath.js';
import { CtnatError } from '../errors.js';
import type { Filter } from '../filter.js';
import { EventType } from '../generated/layouts.gen.js';
import { InterfaceNames } from '../interface-names.js';
import { requirePerfBuffers } from '../kernel-support.js';
import { Ledger } from '../ledger.js';
import { withChangeLock } from '../lock.js';
import { rawPredicate } from '../raw-filter.js';
import { EventBuffer, type Transport, transportOf } from './buffer.js';
import { Clock } from './clock.js';
import type { CtEvent, EventType as TypeName } from './event.js';
import { kernelFilter, remainingFilter } from './kernel-filter.js';
import { Losses } from './losses.js';
import { clearPlace, occupy, type Place, setTypes, takePlace } from './places.js';
import { EventRecord } from './record.js';
import type { EventOptions, EventSource } from './source.js';

/** How often it is looked whether what is listened to is still there. */
const WATCH_MS = 1000;

/**
 * Begins to listen.
 * @throws NotAttachedError; CtnatError if as many listen as can, or the kernel has no way to tell
 */
export async function openEvents(pinPath: string, options: EventOptions): Promise<EventSource> {
  if (options.types.length === 0) throw new RangeError('Cannot listen to events of no type');
  return await withChangeLock(pinPath, () => {
    using datapath = Datapath.open(pinPath);
    using ledger = Ledger.open(pinPath);
    const transport = transportOf(ledger.read().flavour);
    if (transport === 'perf') requirePerfBuffers();
    const place = takePlace(pinPath, datapath);
    try {
      return new KernelEventSource(pinPath, datapath, place, transport, options);
    } catch (error) {
      place.lock.release();
      throw error;
    }
  });
}

class KernelEventSource implements EventSource {
  readonly transport: Transport;
  readonly #pinPath: string;
  /** The pinned settings: another inode is another load. */
  readonly #inode: number;
  readonly #place: Place;
  readonly #buffer: EventBuffer;
  readonly #record: EventRecord;
  readonly #isWanted: () => boolean;
  readonly #clock = new Clock();
  readonly #losses = new Losses();
  readonly #end = new AbortController();
  readonly #until: AbortSignal;
  readonly #watch: NodeJS.Timeout;
  #isGone = false;

  constructor(
    pinPath: string,
    datapath: Datapath,
    place: Place,
    transport: Transport,
    { types, filter = {}, signal }: EventOptions,
  ) {
    this.transport = transport;
    this.#pinPath = pinPath;
    this.#inode = inodeOf(pinPath) ?? 0;
    this.#place = place;
    const names = new InterfaceNames({
      get: (ifindex) => this.#using((opened) => opened.maps.ifaces.get(ifindex)),
    });
    this.#record = new EventRecord(names);
    this.#isWanted = this.#test(remainingFilter(filter), names);
    this.#until = signal ? AbortSignal.any([signal, this.#end.signal]) : this.#end.signal;
    this.#buffer = new EventBuffer(transport);
    try {
      occupy(datapath, place, this.#buffer.map, kernelFilter(filter), types);
    } catch (error) {
      this.#buffer.close();
      throw error;
    }
    this.#watch = setInterval(() => this.#look(), WATCH_MS);
    this.#watch.unref();
  }

  #test(filter: Filter, names: InterfaceNames): () => boolean {
    const hasOnlyFlows = filter.states ?? filter.replySrc ?? filter.replyDst;
    const predicate = rawPredicate(filter, names);
    return () => {
      if (hasOnlyFlows !== undefined && this.#record.type === EventType.DROP) return false;
      return this.#record.matches(predicate);
    };
  }

  get lost(): number {
    return this.#losses.total;
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<CtEvent, void, undefined> {
    for await (const batch of this.batches()) yield* batch;
  }

  async *batches(): AsyncGenerator<readonly CtEvent[], void, undefined> {
    try {
      const batches = this.#buffer.batches(this.#until, () => this.#clock.now())[Symbol.asyncIterator]();
      for (let next = batches.next(); ; ) {
        const result = await Promise.race([next, this.#nudged()]);
        if (result?.done) break;
        if (result) next = batches.next();
        const events = this.#decode(result?.value ?? []);
        if (events.length > 0) yield events;
      }
      const counts = await this.#leave();
      if (this.#closed) return;
      const rest = this.#decode(this.#buffer.read(), counts);
      if (rest.length > 0) yield rest;
    } finally {
      await this.close();
    }
    if (this.#isGone)
      throw new CtnatError(`the events of ${this.#pinPath} have ended: ctnat was purged; attach again`);
  }

  /** @param counts how far each CPU has counted, when no more come */
  #decode(records: readonly Buffer[], counts: readonly number[] = []): CtEvent[] {
    const record = this.#record;
    const events: CtEvent[] = [];
    this.#clock.follow();
    for (const bytes of records) {
      if (!record.take(bytes)) continue;
      this.#losses.take(record.cpu, record.sequence);
      if (this.#isWanted()) events.push(record.decode(this.#clock));
    }
    counts.forEach((sequence, cpu) => {
      this.#losses.reach(cpu, sequence);
    });
    const count = this.#losses.untold();
    if (count > 0) {
      const timeNs = this.#clock.now();
      const { total } = this.#losses;
      events.push({ type: 'lost', timeNs, unixMs: this.#clock.unixMs(timeNs), count, total });
    }
    return events;
  }

  #nudge: () => void = () => {};

  /** Resolves when losses are to be told behind which no event comes that would show them. */
  #nudged(): Promise<undefined> {
    return new Promise((resolve) => {
      this.#nudge = () => resolve(undefined);
    });
  }

  #look(): void {
    const cpus = this.#using(({ maps }) => maps.event_counts.getPerCpu(this.#place.number));
    if (!cpus) {
      this.#isGone = true;
      this.#end.abort();
      return;
    }
    this.#losses.refused(cpus.reduce((sum, { lost }) => sum + Number(lost), 0));
    if (this.#losses.hasUntold) this.#nudge();
  }

  /** What is loaded, for a moment; undefined once it is gone. */
  #using<T>(work: (datapath: Datapath) => T): T | undefined {
    if (inodeOf(this.#pinPath) !== this.#inode) return undefined;
    using datapath = Datapath.open(this.#pinPath);
    return work(datapath);
  }

  async want(types: readonly TypeName[]): Promise<void> {
    if (types.length === 0) throw new RangeError('Cannot listen to events of no type');
    await withChangeLock(this.#pinPath, () =>
      this.#using((datapath) => setTypes(datapath, this.#place.number, types)),
    );
  }

  stop(): void {
    this.#end.abort();
  }

  #left: Promise<number[]> | undefined;

  /** Ends the kernel's side: nothing comes into the buffer any more. Returns how far each CPU has counted. */
  #leave(): Promise<number[]> {
    this.#left ??= withChangeLock(this.#pinPath, () => {
      const counts = this.#using((datapath) => {
        const cpus = datapath.maps.event_counts.getPerCpu(this.#place.number) ?? [];
        clearPlace(datapath, this.#place.number);
        return cpus.map(({ sequence }) => Number(sequence));
      });
      return counts ?? [];
    });
    return this.#left;
  }

  #closed: Promise<void> | undefined;

  close(): Promise<void> {
    this.#closed ??= this.#close();
    return this.#closed;
  }

  async #close(): Promise<void> {
    clearInterval(this.#watch);
    this.#end.abort();
    try {
      await this.#leave();
    } finally {
      // Should the place not have been cleared, whoever looks next finds its lock free and does it.
      this.#buffer.close();
      this.#place.lock.release();
    }
  }
}

function inodeOf(pinPath: string): number | undefined {
  return statSync(join(pinPath, 'maps', 'settings'), { throwIfNoEntry: false })?.ino;
}
