// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Writes a listing of any length: at most one chunk of it is in memory, and a slow reader slows it down. */
import type { Writable } from 'node:stream';
import { CtnatError } from '../errors.js';

/** The reader has gone (EPIPE), as in `ctnat … | head`: no error, but nothing more to do. */
export class OutputClosed extends Error {
  override readonly name = 'OutputClosed';
}

export class Output {
  readonly #stream: Writable;
  /** Ends the write that is under way. */
  #abandon: () => void = () => {};

  constructor(stream: Writable) {
    this.#stream = stream;
    // A write's error is also an event, which would end the process; the write's callback tells it.
    stream.on('error', () => {});
    stream.on('close', () => this.#abandon());
  }

  /** Colour and progress are only for a terminal. */
  get isTerminal(): boolean {
    return (this.#stream as NodeJS.WriteStream).isTTY === true;
  }

  /** Resolves when the stream has passed the text on, rejects with OutputClosed when nobody reads it. */
  write(text: string | Uint8Array): Promise<void> {
    if (text.length === 0) return Promise.resolve();
    return new Promise((resolve, reject) => {
      this.#abandon = () => reject(new OutputClosed());
      this.#stream.write(text, (error) => (error ? reject(writeError(error)) : resolve()));
    });
  }

  /** The chunks of a listing, each written before the next is made. */
  async chunks(chunks: Iterable<string | Uint8Array>): Promise<void> {
    for (const chunk of chunks) await this.write(chunk);
  }
}

function writeError(error: NodeJS.ErrnoException): Error {
  // A destroyed stream is what EPIPE leaves behind for the next write.
  if (error.code === 'EPIPE' || error.code === 'ERR_STREAM_DESTROYED') return new OutputClosed();
  const reason = error.code === 'ENOSPC' ? 'no space is left on the device (ENOSPC)' : error.message;
  return new CtnatError(`can not write to standard output: ${reason}`, { cause: error });
}
