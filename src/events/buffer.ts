// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A reader's own buffer in the kernel: a ring buffer since Linux 5.8, before that one perf buffer per CPU. */
import { BpfMap, PerfBuffer, type RecordStream, RingBuffer } from 'libbpf-ts';
import { type DatapathFlavour, FLAVOURS, type FlavourName } from '../flavours.js';
import { EventLimits } from '../generated/layouts.gen.js';
import { inOrder } from './in-order.js';

export type Transport = 'ringbuf' | 'perf';

/** What the programs of a flavour put events into. */
export function transportOf(flavour: FlavourName): Transport {
  const found: DatapathFlavour | undefined = FLAVOURS.find(({ name }) => name === flavour);
  return found?.defines && 'CTNAT_RINGBUF' in found.defines ? 'ringbuf' : 'perf';
}

/** Of each CPU: half a MiB with pages of 4 KiB, some 2,800 events. */
const PERF_PAGES = 128;
/** A waking costs the program that sends an interrupt: it is due when so many wait, or after POLL_MS. */
const PERF_WAKEUP = 64;
const POLL_MS = 50;

export class EventBuffer {
  readonly map: BpfMap;
  readonly #stream: RecordStream;
  readonly #transport: Transport;

  constructor(transport: Transport) {
    this.#transport = transport;
    this.map =
      transport === 'ringbuf'
        ? BpfMap.create({
            type: 'ringbuf',
            name: 'events',
            keySize: 0,
            valueSize: 0,
            maxEntries: EventLimits.RING_BYTES,
          })
        : BpfMap.create({
            type: 'perf_event_array',
            name: 'events',
            keySize: 4,
            valueSize: 4,
            maxEntries: EventLimits.CPUS,
          });
    try {
      this.#stream =
        transport === 'ringbuf'
          ? new RingBuffer(this.map)
          : new PerfBuffer(this.map, { pages: PERF_PAGES, wakeupRecords: PERF_WAKEUP });
    } catch (error) {
      this.map.close();
      throw error;
    }
  }

  /** Records as they come, until the signal. */
  batches(signal: AbortSignal, now: () => bigint): AsyncIterable<Buffer[]> {
    if (this.#transport === 'ringbuf') return this.#stream.batches({ signal });
    const all = this.#stream.batches({ signal, pollMs: POLL_MS, maxRecords: Number.POSITIVE_INFINITY });
    return inOrder(all, now);
  }

  /** What is there, without waiting. */
  read(): Buffer[] {
    const records: Buffer[] = [];
    this.#stream.consume((record) => records.push(record));
    return records;
  }

  close(): void {
    this.#stream.close();
    this.map.close();
  }
}
