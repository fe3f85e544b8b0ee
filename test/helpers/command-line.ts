// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Runs a command line inside the test, on a product in memory.

import { EventEmitter } from 'node:events';
import { Readable, Writable } from 'node:stream';
import { execute } from '../../src/cli/execute.js';
import type { Host } from '../../src/cli/host.js';
import type { GlobalOptions, Product } from '../../src/product.js';
import { FakeProduct } from './fake-product.js';

export interface Outcome {
  status: number;
  stdout: string;
  stderr: string;
  /** What the product was opened with, in the order of the calls. */
  opened: GlobalOptions[];
}

export interface Setting {
  product?: Product;
  env?: Record<string, string>;
  signals?: EventEmitter;
  stdin?: string;
  host?: Partial<Host>;
}

/** A stream that keeps what is written to it. */
export class Collected extends Writable {
  text = '';

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.text += chunk.toString();
    done();
  }
}

/** Splits a line as a shell does that knows only blanks and single quotes. */
export function words(line: string): string[] {
  return (line.match(/(?:'[^']*'|[^\s'])+/g) ?? []).map((word) => word.replaceAll("'", ''));
}

/** Runs `ctnat LINE`. */
export async function ctnat(line: string | readonly string[], setting: Setting = {}): Promise<Outcome> {
  const stdout = new Collected();
  const stderr = new Collected();
  const opened: GlobalOptions[] = [];
  const product = setting.product ?? new FakeProduct();
  const status = await execute(typeof line === 'string' ? words(line) : line, {
    stdout,
    stderr,
    stdin: Readable.from(setting.stdin ?? ''),
    env: setting.env ?? {},
    signals: setting.signals ?? new EventEmitter(),
    openProduct: async (options) => {
      opened.push(options);
      return product;
    },
    ...setting.host,
  });
  return { status, stdout: stdout.text, stderr: stderr.text, opened };
}
