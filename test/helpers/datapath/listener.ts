// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Listens to the events of a datapath under test, in the test's own process.
import type { Test } from 'tap';
import { EventBuffer, transportOf } from '../../../src/events/buffer.js';
import { Clock } from '../../../src/events/clock.js';
import { EVENT_TYPES, type EventType, type KernelEvent } from '../../../src/events/event.js';
import { kernelFilter } from '../../../src/events/kernel-filter.js';
import { EventRecord } from '../../../src/events/record.js';
import type { Filter } from '../../../src/filter.js';
import type { FlavourName } from '../../../src/flavours.js';
import { maps } from '../../../src/generated/layouts.gen.js';
import { InterfaceNames } from '../../../src/interface-names.js';
import type { Datapath } from '../datapath-fixture.js';

export class Listener {
  readonly #datapath: Datapath;
  readonly #place: number;
  readonly #buffer: EventBuffer;
  readonly #record: EventRecord;
  readonly #clock = new Clock();

  /** Listens until the test's end. Datapath.configure() makes it deaf. */
  constructor(
    t: Test,
    datapath: Datapath,
    types: readonly EventType[] = EVENT_TYPES,
    { place = 0, filter = {} as Filter } = {},
  ) {
    this.#datapath = datapath;
    this.#place = place;
    this.#record = new EventRecord(new InterfaceNames(datapath.map(maps.ifaces)));
    this.#buffer = new EventBuffer(transportOf(datapath.flavour as FlavourName));
    const counts = datapath.map(maps.event_counts);
    const nothing = counts.getPerCpu(place)!.map(() => ({ sequence: 0n, lost: 0n }));
    counts.setPerCpu(place, nothing);
    datapath.map(maps.event_readers).set(place, kernelFilter(filter));
    datapath.map(maps.event_reader_buffers).set(place, this.#buffer.map.fd);
    this.#wants(types);
    t.teardown(() => {
      this.#wants([]);
      datapath.map(maps.event_reader_buffers).delete(place);
      this.#buffer.close();
    });
  }

  #wants(types: readonly EventType[]): void {
    const settings = this.#datapath.map(maps.settings);
    const now = settings.get(0)!;
    const bit = 1 << this.#place;
    const events = now.events.map((bits, i) => (types.includes(EVENT_TYPES[i]!) ? bits | bit : bits & ~bit));
    settings.set(0, { ...now, events });
  }

  /** What has come since the last call, in the order of its time. */
  take(): KernelEvent[] {
    const events = this.#buffer.read().map((bytes) => {
      if (!this.#record.take(bytes)) throw new Error(`Not an event: ${bytes.toString('hex')}`);
      return this.#record.decode(this.#clock);
    });
    return events.sort((a, b) => Number(a.timeNs - b.timeNs));
  }

  /** The same in short: `new tcp 40000 SYN_SENT [SRC_NAT]`, `destroy replaced udp 40000 [SRC_NAT]`. */
  brief(): string[] {
    return this.take().map((event) => {
      if (event.type === 'drop') return `drop ${event.reason} ${event.packet.proto} ${event.packet.sport}`;
      const { flow } = event;
      const cause = event.type === 'destroy' ? ` ${event.cause}` : '';
      const state = flow.state === undefined ? '' : ` ${flow.state}`;
      const port = flow.original.sport ?? flow.original.id;
      return `${event.type}${cause} ${flow.proto} ${port}${state} [${flow.status.join(' ')}]`;
    });
  }
}
