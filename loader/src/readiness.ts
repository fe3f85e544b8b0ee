// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Waits until a descriptor is readable, in Node's own event loop: no thread, no timer, nothing blocked.
 * A pending wait keeps the process alive; close() or the signal ends it at once.
 */

import { type PollHandle, pollReadable } from './native.js';

export interface WaitOptions {
  signal?: AbortSignal | undefined;
  timeoutMs?: number | undefined;
  /**
   * For descriptors whose poll() forgets that it has reported (perf events: perf_poll() in kernel/events/core.c), so
   * that the report may have been spent when the loop registered it. Called once after that; true ends the wait.
   */
  recheck?: (() => boolean) | undefined;
}

/** One waiter at a time. The owner closes it before it closes the descriptor. */
export class Readiness {
  readonly #fd: number;
  #handle: PollHandle | undefined;
  #finish: ((isReadable: boolean) => void) | undefined;
  #isClosed = false;

  /** @param fd must not be watched by another Readiness: the event loop knows each descriptor once */
  constructor(fd: number) {
    this.#fd = fd;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  /** Resolves to true when the descriptor is readable, to false when closed, aborted or after `timeoutMs`. */
  wait(options: WaitOptions = {}): Promise<boolean> {
    const { signal, timeoutMs, recheck } = options;
    if (this.#isClosed || signal?.aborted) return Promise.resolve(false);
    if (this.#finish) throw new Error('Cannot wait for a descriptor: somebody waits for it already');
    return new Promise((resolve) => {
      const abort = (): void => this.#finish?.(false);
      const timer = timeoutMs === undefined ? undefined : setTimeout(abort, timeoutMs);
      this.#finish = (isReadable) => {
        this.#finish = undefined;
        this.#handle?.stop();
        signal?.removeEventListener('abort', abort);
        clearTimeout(timer);
        resolve(isReadable);
      };
      signal?.addEventListener('abort', abort);
      this.#start();
      // the loop registers the descriptor in its next turn but one at the latest
      if (recheck) setImmediate(() => setImmediate(() => this.#recheck(recheck)));
    });
  }

  #recheck(recheck: () => boolean): void {
    if (this.#finish && !this.#isClosed && recheck()) this.#finish(true);
  }

  #start(): void {
    const ready = (): void => {
      this.#handle?.stop();
      const finish = this.#finish;
      // an abort, and the next wait, may come in between
      setImmediate(() => {
        if (finish !== undefined && finish === this.#finish) finish(true);
      });
    };
    if (this.#handle) this.#handle.start(ready);
    else this.#handle = pollReadable(this.#fd, ready);
  }

  /** Ends a pending wait with false. Idempotent. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#finish?.(false);
    this.#handle?.close();
    this.#handle = undefined;
  }
}
