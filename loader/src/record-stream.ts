// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Records that BPF programs send: what the ring buffer and the perf buffer have in common for those who read. */

import { setImmediate as turn } from 'node:timers/promises';
import type { Readiness } from './readiness.js';

/** As many records as leave the event loop responsive. */
const BATCH_RECORDS = 4096;

export interface StreamOptions {
  /** Ends the iteration when aborted, without an error. */
  signal?: AbortSignal;
  /** The most records of a batch; default 4096. */
  maxRecords?: number;
  /** Looks for records at least so often, woken or not: for buffers that do not wake for every record. */
  pollMs?: number;
}

/**
 * One reader at a time, be it consume(), read() or an iteration. Every record is a copy that stays valid; records of
 * one batch share their memory, so that whoever keeps few of many for long should copy them.
 */
export abstract class RecordStream implements AsyncIterable<Buffer> {
  /** Whether something may be read now. */
  protected abstract hasRecords(): boolean;
  protected abstract readonly readiness: Readiness;

  /** The records that are there, oldest first, at most `maxRecords`. Never waits. @throws BpfError after close() */
  abstract read(maxRecords?: number): Buffer[];

  /** Records that found no room, since the beginning; undefined where nobody counts them. */
  abstract readonly lost: number | undefined;

  abstract readonly isOpen: boolean;

  /** Ends pending iterations and lets go of the memory. Idempotent. */
  abstract close(): void;

  /** Hands every record that is there to `take`; returns how many there were. Never waits. */
  consume(take: (record: Buffer) => void): number {
    let count = 0;
    for (;;) {
      const records = this.read(BATCH_RECORDS);
      if (records.length === 0) return count;
      count += records.length;
      for (const record of records) take(record);
    }
  }

  /**
   * Records as they come, in arrays that are never empty: the way for high rates. Ends when the signal is aborted or
   * the buffer closed. A pending iteration keeps the process alive.
   */
  async *batches(options: StreamOptions = {}): AsyncGenerator<Buffer[], void, undefined> {
    const { signal, maxRecords = BATCH_RECORDS, pollMs } = options;
    const recheck = (): boolean => this.isOpen && this.hasRecords();
    while (this.isOpen && !signal?.aborted) {
      const records = this.read(maxRecords);
      if (records.length === 0) {
        await this.readiness.wait({ signal, recheck, timeoutMs: pollMs });
        continue;
      }
      yield records;
      // while records come without end, timers and other sources have their turn too
      await turn();
    }
  }

  /** Records one by one, as they come; else as batches(). */
  async *records(options: StreamOptions = {}): AsyncGenerator<Buffer, void, undefined> {
    for await (const batch of this.batches(options)) yield* batch;
  }

  [Symbol.asyncIterator](): AsyncGenerator<Buffer, void, undefined> {
    return this.records();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
