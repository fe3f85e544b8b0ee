// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The process that a command runs in; tests put their own there. */
import type { Readable, Writable } from 'node:stream';
import type { ProductFactory } from '../product.js';

export interface Host {
  readonly stdout: Writable;
  readonly stderr: Writable;
  readonly stdin: Readable;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly openProduct: ProductFactory;
  /** Signals sent to the process. */
  readonly signals: SignalSource;
}

export interface SignalSource {
  on(signal: NodeJS.Signals, listener: () => void): unknown;
  off(signal: NodeJS.Signals, listener: () => void): unknown;
}
