// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads a BPF_MAP_TYPE_RINGBUF: records of all CPUs in the order in which they were reserved. Since 5.8.
 *
 *   consumer page     producer page     data             data again
 *   +-------------+   +-------------+   +----------------+----------------+
 *   | ours, u64   |   | kernel, u64 |   | len|flags, pgoff, bytes, ...    |
 *   +-------------+   +-------------+   +----------------+----------------+
 *
 * The data stand there twice in a row, so that a record that wraps is read in one piece. Positions only grow. The
 * kernel writes a record's header with BUSY, moves the producer position, and takes BUSY off when the program submits
 * (kernel/bpf/ringbuf.c): both are read with Atomics, header after position. Read from the mapped pages and not by
 * ring_buffer__consume(), whose callback costs a crossing from C to JavaScript for every record.
 */

import { LayoutError, SyscallError } from './errors.js';
import { closedError } from './fd.js';
import { readMapInfo } from './info.js';
import { MemoryMap } from './memory-map.js';
import { checkErrno, errno, libc } from './native.js';
import { Readiness } from './readiness.js';
import { RecordStream } from './record-stream.js';

const PROT_READ = 1;
const PROT_READ_WRITE = 3;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;
const F_DUPFD_CLOEXEC = 1030;

const HEADER_BYTES = 8;
const BUSY = 1 << 31;
const DISCARDED = 1 << 30;
const LENGTH_MASK = ~(BUSY | DISCARDED);

/** What is copied out in one go at most, beyond one record. */
const CHUNK_BYTES = 1024 * 1024;

export interface RingBufferOptions {
  /** Reads the program's own count of failed reservations: the kernel keeps none. */
  lost?: () => number;
}

export class RingBuffer extends RecordStream {
  protected readonly readiness: Readiness;
  readonly #fd: number;
  readonly #label: string;
  readonly #size: number;
  readonly #memories: MemoryMap[] = [];
  readonly #consumerPosition: BigUint64Array;
  readonly #producerPosition: BigUint64Array;
  /** The headers of both copies of the data, as 32-bit words. */
  readonly #words: Int32Array;
  readonly #data: Uint8Array;
  readonly #countLost: (() => number) | undefined;
  #position: number;
  #isOpen = true;

  /**
   * @param map stays its owner's; it may be closed while this reads on
   * @throws LayoutError for a map of another type; SyscallError
   */
  constructor(map: { readonly fd: number; readonly name: string }, options: RingBufferOptions = {}) {
    super();
    this.#label = `ring buffer "${map.name}"`;
    const { type, maxEntries } = readMapInfo(map.fd);
    if (type !== 'ringbuf') throw new LayoutError(`read the ${this.#label}`, `the map is of type ${type}`);
    this.#size = maxEntries;
    this.#countLost = options.lost;
    // a descriptor of our own: the event loop must not watch one that somebody else closes
    this.#fd = checkErrno(libc.fcntl(map.fd, F_DUPFD_CLOEXEC, 0), `open the ${this.#label}`);
    this.readiness = new Readiness(this.#fd);
    try {
      const page = libc.getpagesize();
      const consumer = this.#map(PROT_READ_WRITE, 0, page);
      const producer = this.#map(PROT_READ, page, page + 2 * maxEntries);
      this.#consumerPosition = new BigUint64Array(consumer, 0, 1);
      this.#producerPosition = new BigUint64Array(producer, 0, 1);
      this.#words = new Int32Array(producer, page, (2 * maxEntries) / 4);
      this.#data = new Uint8Array(producer, page, 2 * maxEntries);
    } catch (error) {
      this.close();
      throw error;
    }
    this.#position = Number(Atomics.load(this.#consumerPosition, 0));
  }

  #map(protection: number, offset: number, length: number): ArrayBuffer {
    const address = libc.mmap(null, length, protection, MAP_SHARED, this.#fd, offset);
    if (address === null || address === MAP_FAILED) {
      throw new SyscallError(`map the ${this.#label} into memory`, errno());
    }
    const memory = new MemoryMap(address, length, length, this.#label);
    this.#memories.push(memory);
    return memory.buffer.buffer;
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get lost(): number | undefined {
    return this.#countLost?.();
  }

  protected hasRecords(): boolean {
    return Number(Atomics.load(this.#producerPosition, 0)) !== this.#position;
  }

  read(maxRecords = Number.POSITIVE_INFINITY): Buffer[] {
    for (;;) {
      const records = this.#readChunk(maxRecords);
      if (records === undefined) return [];
      // none: all were discarded, and what comes behind them counts
      if (records.length > 0) return records;
    }
  }

  /** Undefined if nothing is there, or the first record is not finished. */
  #readChunk(maxRecords: number): Buffer[] | undefined {
    if (!this.#isOpen) throw closedError(`the ${this.#label}`);
    const start = this.#position;
    const base = start % this.#size;
    const produced = Number(Atomics.load(this.#producerPosition, 0)) - start;
    const limit = Math.min(produced, CHUNK_BYTES);
    // where each record's bytes begin and end, counted from `base`
    const bounds: number[] = [];
    let offset = 0;
    while (offset < limit && bounds.length < 2 * maxRecords) {
      const header = Atomics.load(this.#words, (base + offset) >>> 2);
      if ((header & BUSY) !== 0) break;
      const length = header & LENGTH_MASK;
      if ((header & DISCARDED) === 0) bounds.push(offset + HEADER_BYTES, offset + HEADER_BYTES + length);
      offset += (HEADER_BYTES + length + 7) & ~7;
    }
    if (offset === 0) return undefined;
    const chunk = this.#copy(base, offset);
    this.#position = start + offset;
    // after the copy: from now on the kernel may overwrite it. Atomics order the two.
    Atomics.store(this.#consumerPosition, 0, BigInt(this.#position));
    const records: Buffer[] = new Array(bounds.length / 2);
    for (let index = 0; index < records.length; index++) {
      records[index] = chunk.subarray(bounds[2 * index]!, bounds[2 * index + 1]!);
    }
    return records;
  }

  #copy(base: number, length: number): Buffer {
    const chunk = Buffer.allocUnsafeSlow(length);
    chunk.set(this.#data.subarray(base, base + length));
    return chunk;
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.readiness.close();
    for (const memory of this.#memories) memory.close();
    libc.close(this.#fd);
  }
}
