// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads a BPF_MAP_TYPE_PERF_EVENT_ARRAY: one ring per CPU, in order within a CPU and in none between CPUs. Since 4.4;
 * what the ring buffer is since 5.8, for older kernels. libbpf opens the events, maps their rings and puts them into
 * the map; the rings are read from the mapped pages (include/uapi/linux/perf_event.h, struct perf_event_mmap_page).
 *
 * A record is up to 7 bytes longer than what the program gave to bpf_perf_event_output(): perf pads it to 8 bytes
 * less the 4 of its length, and does not say by how much.
 */

import { readSync } from 'node:fs';
import { LayoutError } from './errors.js';
import { closedError } from './fd.js';
import { readMapInfo } from './info.js';
import { checkPointer, checkResult, libbpf, libc, viewMemory } from './native.js';
import { Readiness } from './readiness.js';
import { RecordStream } from './record-stream.js';

const PERF_TYPE_SOFTWARE = 1;
const PERF_COUNT_SW_BPF_OUTPUT = 10n;
const PERF_SAMPLE_RAW = 1n << 10n;
const PERF_FORMAT_LOST = 1n << 4n;
/** PERF_ATTR_SIZE_VER5; a smaller size than the kernel's means that the rest is zero. */
const ATTR_BYTES = 112;

const PERF_RECORD_LOST = 2;
const PERF_RECORD_SAMPLE = 9;
const DATA_HEAD = 1024 / 8;
const DATA_TAIL = 1032 / 8;

const DEFAULT_PAGES = 64;

export interface PerfBufferOptions {
  /** Pages of each CPU's ring, a power of two; default 64 (256 KiB with pages of 4 KiB). */
  pages?: number;
  /**
   * Records after which a CPU's ring wakes the reader; default 1. Each waking costs the sending program an interrupt
   * (0.1 to 15 microseconds, the most in virtual machines). With more than 1, give the iteration `pollMs` too, or the
   * last few records wait for the next.
   */
  wakeupRecords?: number;
}

interface Ring {
  head: BigUint64Array;
  data: Uint8Array;
  fd: number;
}

export class PerfBuffer extends RecordStream {
  protected readonly readiness: Readiness;
  readonly #pointer: bigint;
  readonly #label: string;
  readonly #rings: Ring[];
  /** The kernel counts, exactly and at any time: since 6.0. Else the records that tell of losses are summed up. */
  readonly #countsLost: boolean;
  #lost = 0;
  /** Where the last read stopped: no ring starves the others. */
  #next = 0;
  #isOpen = true;

  /**
   * Takes the map's place for each online CPU: one reader a map.
   *
   * @param map stays its owner's
   * @throws LayoutError for a map of another type; SyscallError
   */
  constructor(map: { readonly fd: number; readonly name: string }, options: PerfBufferOptions = {}) {
    super();
    const { pages = DEFAULT_PAGES, wakeupRecords = 1 } = options;
    this.#label = `perf buffer "${map.name}"`;
    const operation = `open the ${this.#label}`;
    const { type } = readMapInfo(map.fd);
    if (type !== 'perf_event_array') throw new LayoutError(operation, `the map is of type ${type}`);
    const open = (readFormat: bigint): bigint | null =>
      libbpf.perf_buffer__new_raw(
        map.fd,
        pages,
        eventAttributes(readFormat, wakeupRecords),
        null,
        null,
        null,
      );
    const counting = open(PERF_FORMAT_LOST);
    this.#countsLost = counting !== null;
    this.#pointer =
      counting ?? checkPointer(open(0n), operation, `"pages" (${pages}) must be a power of two`);
    try {
      this.#rings = openRings(this.#pointer, operation);
      this.readiness = new Readiness(libbpf.perf_buffer__epoll_fd(this.#pointer));
    } catch (error) {
      libbpf.perf_buffer__free(this.#pointer);
      throw error;
    }
  }

  get isOpen(): boolean {
    return this.#isOpen;
  }

  get lost(): number {
    if (!this.#countsLost || !this.#isOpen) return this.#lost;
    this.#lost = this.#rings.reduce((sum, ring) => sum + readLost(ring.fd), 0);
    return this.#lost;
  }

  protected hasRecords(): boolean {
    return this.#rings.some(({ head }) => Atomics.load(head, DATA_HEAD) !== head[DATA_TAIL]);
  }

  read(maxRecords = Number.POSITIVE_INFINITY): Buffer[] {
    if (!this.#isOpen) throw closedError(`the ${this.#label}`);
    const records: Buffer[] = [];
    for (let count = 0; count < this.#rings.length && records.length < maxRecords; count++) {
      this.#readRing(this.#rings[this.#next]!, records, maxRecords);
      this.#next = (this.#next + 1) % this.#rings.length;
    }
    return records;
  }

  #readRing({ head, data }: Ring, records: Buffer[], maxRecords: number): void {
    const start = Number(head[DATA_TAIL]);
    const available = Number(Atomics.load(head, DATA_HEAD)) - start;
    if (available === 0) return;
    const chunk = copyRing(data, start % data.length, available);
    let offset = 0;
    while (offset < available && records.length < maxRecords) {
      const type = chunk.readUInt32LE(offset);
      const size = chunk.readUInt16LE(offset + 6);
      if (type === PERF_RECORD_SAMPLE) {
        const length = chunk.readUInt32LE(offset + 8);
        records.push(chunk.subarray(offset + 12, offset + 12 + length));
      } else if (type === PERF_RECORD_LOST && !this.#countsLost) {
        this.#lost += Number(chunk.readBigUInt64LE(offset + 16));
      }
      offset += size;
    }
    // after the copy: from now on the kernel may overwrite it. Atomics order the two.
    Atomics.store(head, DATA_TAIL, BigInt(start + offset));
  }

  close(): void {
    if (!this.#isOpen) return;
    void this.lost; // the last count
    this.#isOpen = false;
    this.readiness.close();
    libbpf.perf_buffer__free(this.#pointer);
  }
}

/** struct perf_event_attr: type, size, config, sample_period, sample_type, read_format, flags, wakeup_events */
function eventAttributes(readFormat: bigint, wakeupRecords: number): Buffer {
  const attributes = Buffer.alloc(ATTR_BYTES);
  attributes.writeUInt32LE(PERF_TYPE_SOFTWARE, 0);
  attributes.writeUInt32LE(ATTR_BYTES, 4);
  attributes.writeBigUInt64LE(PERF_COUNT_SW_BPF_OUTPUT, 8);
  attributes.writeBigUInt64LE(1n, 16);
  attributes.writeBigUInt64LE(PERF_SAMPLE_RAW, 24);
  attributes.writeBigUInt64LE(readFormat, 32);
  attributes.writeUInt32LE(wakeupRecords, 48);
  return attributes;
}

function openRings(pointer: bigint, operation: string): Ring[] {
  const page = libc.getpagesize();
  return Array.from({ length: libbpf.perf_buffer__buffer_cnt(pointer) }, (_, index) => {
    const address = Buffer.alloc(8);
    const size = Buffer.alloc(8);
    checkResult(libbpf.perf_buffer__buffer(pointer, index, address, size), operation);
    const length = Number(size.readBigUInt64LE(0));
    const memory = viewMemory(address.readBigUInt64LE(0), page + length);
    const fd = checkResult(libbpf.perf_buffer__buffer_fd(pointer, index), operation);
    return { head: new BigUint64Array(memory, 0, page / 8), data: new Uint8Array(memory, page, length), fd };
  });
}

/** `length` bytes from `base` on, which may go on at the ring's beginning. */
function copyRing(data: Uint8Array, base: number, length: number): Buffer {
  const chunk = Buffer.allocUnsafeSlow(length);
  const first = Math.min(length, data.length - base);
  chunk.set(data.subarray(base, base + first));
  chunk.set(data.subarray(0, length - first), first);
  return chunk;
}

/** An event's read() with PERF_FORMAT_LOST alone: u64 value, u64 lost. */
function readLost(fd: number): number {
  const bytes = Buffer.alloc(16);
  readSync(fd, bytes, 0, bytes.length, null);
  return Number(bytes.readBigUInt64LE(8));
}
