// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the commands of conntrack(8) work with. */
import type { GlobalOptions, Product } from '../product.js';
import { told } from './failure.js';
import { Printer, type PrinterSetting } from './printer.js';
import type { Request } from './request.js';

export interface Session {
  /** Opens the product, of other pins and in another namespace where the options say so. */
  product(options: Partial<GlobalOptions>): Promise<Product>;
  /** To standard output. */
  write(text: string): Promise<void>;
  /** To standard error. */
  tell(text: string): Promise<void>;
  readonly signals: {
    on(signal: NodeJS.Signals, listener: () => void): unknown;
    off(signal: NodeJS.Signals, listener: () => void): unknown;
  };
  /** All of standard input, for `-R -`. */
  readInput(): Promise<string>;
  /** Where label names are, unless where conntrack(8) has them. */
  readonly labelFile?: string;
}

/** One request being done. */
export class Call {
  readonly request: Request;
  readonly product: Product;
  readonly session: Session;
  /** One of many: how many flows it was is not told. */
  readonly isBatch: boolean;

  constructor(request: Request, product: Product, session: Session, isBatch: boolean) {
    this.request = request;
    this.product = product;
    this.session = session;
    this.isBatch = isBatch;
  }

  printer(setting: Pick<PrinterSetting, 'use' | 'command' | 'hidden' | 'xml'>): Printer {
    const editor = this.product.flowEditor();
    const { session, request } = this;
    return new Printer({
      request,
      slots: (family) => editor.slots(family),
      labelsOf: (flow) => editor.labelsOf(flow),
      write: (text) => session.write(text),
      ...setting,
    });
  }

  /** What has become of how many, on standard error. */
  async sum(count: number, done: 'shown' | 'deleted' | 'updated' | 'created' | 'added'): Promise<void> {
    if (this.isBatch) return;
    await this.session.tell(told(`${count} flow entries have been ${done}.`));
  }
}

/** Exit statuses: done, could not be done or nothing matched, wrong usage. */
export type Status = 0 | 1 | 2;
