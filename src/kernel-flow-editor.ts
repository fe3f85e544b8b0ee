// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Single flows of the datapath's table. */
import { readCpuStatistics } from './cpu-statistics.js';
import type { Datapath } from './datapath.js';
import { decodeFlow } from './decode-flow.js';
import type { Flow } from './flow.js';
import type { CpuStatistics, FlowEditor, TupleQuery } from './flow-editor.js';
import { findRaw } from './flow-probe.js';
import { InterfaceNames } from './interface-names.js';
import { Sweeper } from './sweeper.js';
import { nowTicks } from './ticks.js';

export class KernelFlowEditor implements FlowEditor {
  readonly #datapath: Datapath;
  readonly #names: InterfaceNames;
  readonly #sweeper: Sweeper;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
    this.#names = new InterfaceNames(datapath.maps.ifaces);
    this.#sweeper = new Sweeper(datapath);
  }

  slots(family: Flow['family']): number {
    const { flows4, flows6 } = this.#datapath.maps;
    return (family === 'ipv4' ? flows4 : flows6).map.maxEntries;
  }

  find(tuple: TupleQuery): Flow | undefined {
    const raw = findRaw(this.#datapath, tuple);
    return raw && decodeFlow(raw, nowTicks(), this.#names);
  }

  delete({ family, slot, gen }: Flow): boolean {
    return this.#sweeper.deleteOne(family === 'ipv4' ? 4 : 6, slot, gen);
  }

  statistics(): CpuStatistics[] {
    return readCpuStatistics(this.#datapath);
  }
}
