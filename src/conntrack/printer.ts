// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Writes flows in the form that `-o` asks for. */
import type { Flow } from '../flow.js';
import { flowJson } from '../format-flow.js';
import { ARRAY, type Frame, LINES } from '../frame.js';
import { flowLine } from './line.js';
import type { Request } from './request.js';
import { saveLine } from './save.js';
import { flowId, type Shown, type ShowOptions } from './shown.js';
import { flowElement, XML_BEGIN, XML_END } from './xml.js';

/** Flows that pass to the output at a time, in characters. */
const CHUNK = 64 * 1024;

export interface PrinterSetting {
  readonly request: Pick<Request, 'outputs' | 'labelNames'>;
  readonly slots: (family: Flow['family']) => number;
  readonly labelsOf: (flow: Flow) => bigint;
  readonly write: (text: string) => Promise<void>;
  /** References that the listing says there are: what has been asked for alone is held by the asker. */
  readonly use: number;
  /** What a saved line begins with. */
  readonly command?: 'A' | 'D';
  /** What the real tool does not show of flows that it deletes or changes, whatever `-o` asks for. */
  readonly hidden?: readonly ('start' | 'labels')[];
  /** XML's first lines, and its last; the real tool leaves them out here and there. */
  readonly xml?: { readonly begin: boolean; readonly end: boolean };
}

export class Printer {
  readonly #setting: PrinterSetting;
  readonly #options: ShowOptions;
  readonly #format: (flow: Flow) => string;
  readonly #frame: Frame;
  #pending = '';
  /** How many were printed. */
  count = 0;

  constructor(setting: PrinterSetting) {
    const { outputs, labelNames } = setting.request;
    this.#setting = setting;
    this.#options = {
      isExtended: outputs.has('extended'),
      hasId: outputs.has('id'),
      hasTimes: outputs.has('ktimestamp'),
      hasStart: !setting.hidden?.includes('start'),
      labelNames: setting.hidden?.includes('labels') ? undefined : labelNames,
    };
    const { begin = true, end = true } = setting.xml ?? {};
    if (outputs.has('json') || outputs.has('jsonl')) {
      this.#format = flowJson;
      this.#frame = outputs.has('json') ? ARRAY : LINES;
    } else if (outputs.has('save')) {
      this.#format = (flow) => saveLine(flow, setting.command);
      this.#frame = LINES;
    } else if (outputs.has('xml')) {
      this.#format = (flow) => flowElement(this.#shown(flow), this.#id(flow), this.#options);
      this.#frame = { ...LINES, begin: begin ? XML_BEGIN : '', end: end ? `\n${XML_END}` : '\n' };
    } else {
      this.#format = (flow) => flowLine(this.#shown(flow), this.#id(flow), this.#options);
      this.#frame = LINES;
    }
  }

  async print(flow: Flow): Promise<void> {
    this.#pending += (this.count++ === 0 ? this.#frame.begin : this.#frame.between) + this.#format(flow);
    if (this.#pending.length > CHUNK) await this.#flush();
  }

  /** Writes what is left. */
  async end(): Promise<void> {
    this.#pending += this.count === 0 ? this.#frame.empty : this.#frame.end;
    await this.#flush();
  }

  async #flush(): Promise<void> {
    const text = this.#pending;
    this.#pending = '';
    await this.#setting.write(text);
  }

  #id(flow: Flow): number {
    return this.#options.hasId || this.#setting.request.outputs.has('xml')
      ? flowId(flow, this.#setting.slots(flow.family))
      : 0;
  }

  #shown(flow: Flow): Shown {
    return {
      flow,
      use: this.#setting.use,
      hasCounters: true,
      hasZeroMark: true,
      labels: this.#options.labelNames ? this.#setting.labelsOf(flow) : 0n,
      startMs: this.#options.hasTimes ? Date.now() - flow.age * 1000 : 0,
    };
  }
}
