// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The tracked flows of both families, as the commands see them. Flows past their deadline are none. */
import type { Datapath } from './datapath.js';
import { decodeFlow } from './decode-flow.js';
import { type Filter, isEmptyFilter } from './filter.js';
import type { Flow } from './flow.js';
import { type FlowFormat, FlowPrinter } from './flow-printer.js';
import type { Frame } from './frame.js';
import { InterfaceNames } from './interface-names.js';
import { filterFamilies, rawPredicate } from './raw-filter.js';
import type { RawFlow } from './raw-flow.js';
import { SlotReader } from './slot-reader.js';
import { Sweeper } from './sweeper.js';
import { TupleTable } from './tuple-table.js';

/** A flow that matched, and the tick by which it was alive. */
export interface Match {
  /** Shows the next match as soon as that is asked for. */
  readonly raw: RawFlow;
  readonly now: number;
}

export class FlowTable {
  readonly names: InterfaceNames;
  readonly #datapath: Datapath;
  readonly #sweeper: Sweeper;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
    this.#sweeper = new Sweeper(datapath);
    this.names = new InterfaceNames(datapath.maps.ifaces);
  }

  /** The matching flows in the order of their slots, IPv4 first. A flow that lives meanwhile comes exactly once. */
  *flows(filter: Filter = {}): Generator<Flow, void, undefined> {
    for (const { raw, now } of this.matches(filter)) yield decodeFlow(raw, now, this.names);
  }

  /** The matching flows as text, each as the formatter writes it. A chunk's bytes hold until the next is asked for. */
  text(filter: Filter, format: FlowFormat, frame: Frame): Generator<Uint8Array, void, undefined> {
    return new FlowPrinter(format, this.names).chunks(this.matches(filter), frame);
  }

  /** Like flows(), not decoded. */
  *matches(filter: Filter): Generator<Match, void, undefined> {
    const matches = rawPredicate(filter, this.names);
    for (const family of filterFamilies(filter)) {
      if (this.#isEmpty(family)) continue;
      const reader = this.#reader(family);
      for (const raw of reader.live()) if (matches(raw)) yield { raw, now: reader.now };
    }
  }

  count(filter: Filter = {}): number {
    let count = 0;
    if (isEmptyFilter(filter)) {
      for (const family of [4, 6] as const)
        if (!this.#isEmpty(family)) count += this.#reader(family).countLive();
      return count;
    }
    for (const _match of this.matches(filter)) count++;
    return count;
  }

  /** Tears down the matching flows. Returns how many this call has, not how many matched. */
  delete(filter: Filter): number {
    let deleted = 0;
    for (const { raw } of this.matches(filter)) if (this.deleteMatch(raw)) deleted++;
    return deleted;
  }

  /** Tears one flow down. Returns false if it was gone already. */
  deleteMatch({ family, slot, gen }: RawFlow): boolean {
    return this.#sweeper.deleteOne(family, slot, gen);
  }

  /** Tears down every flow and returns how many; expired ones that nobody has swept yet are among them. */
  flush(): number {
    return this.#sweeper.flush();
  }

  /** No flow is without a key. To ask for one spares the look at every slot of a table that nobody uses. */
  #isEmpty(family: 4 | 6): boolean {
    return new TupleTable(this.#datapath, family).isSeenEmpty();
  }

  #reader(family: 4 | 6): SlotReader {
    return new SlotReader(this.#datapath.maps, family);
  }
}
