// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Where events come from. `Product.events()` opens one:
 *
 *     const source = await product.events({ types: ['new', 'destroy'], filter: { proto: 6 }, signal });
 *     for await (const event of source) {
 *       if (event.type === 'lost') console.error(`${event.count} events lost`);
 *       else if (event.type !== 'drop') console.log(event.flow.original.src);
 *     }
 *
 * From the moment that events() has resolved, every change is told: the kernel keeps events until they are read. Each
 * source has its own buffer in the kernel, so that readers do not take events from each other, and at most
 * MAX_READERS are open at a time on one pin path.
 */
import type { Filter } from '../filter.js';
import type { CtEvent, EventType } from './event.js';

export interface EventOptions {
  /** At least one. Types that nobody wants cost the datapath nothing. */
  readonly types: readonly EventType[];
  /**
   * Which flows, and dropped packets, the events are about. Type, family, protocol and the original tuple's addresses
   * are tested in the kernel, the rest here. A drop has only the tuple of its packet, which counts as the original
   * one, and matches no filter of states or reply addresses.
   */
  readonly filter?: Filter;
  /** Ends the iteration, without an error; what was read until then is still given. */
  readonly signal?: AbortSignal;
}

/**
 * One reader's events, in the order of their time. Iterate once. Losing events is no error: a LostEvent stands where
 * they are missing, at the latest when the iteration ends.
 */
export interface EventSource extends AsyncIterable<CtEvent> {
  /** What carries the events: the ring buffer since Linux 5.8, one perf buffer per CPU before. */
  readonly transport: 'ringbuf' | 'perf';
  /** Events lost so far. */
  readonly lost: number;
  /** Events as they come, in arrays that are never empty: for high rates. */
  batches(): AsyncIterable<readonly CtEvent[]>;
  /** Wants these types from now on, at least one; events that have come are still given. */
  want(types: readonly EventType[]): Promise<void>;
  /** Ends the iteration behind what has come until now, as the signal does. Does not wait for it. */
  stop(): void;
  /** Ends the iteration at once and gives up the reader's place. Harmless when repeated. */
  close(): Promise<void>;
}
