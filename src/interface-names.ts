// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Names of interfaces by ifindex, as flows remember them: the interface may be detached or gone by now. */
import { listLinks } from 'libbpf-ts';
import type { Iface } from './generated/layouts.gen.js';

/** The datapath's map of attached interfaces, or what stands for it. */
export interface Attached {
  get(ifindex: number): Iface | undefined;
}

export class InterfaceNames {
  readonly #names = new Map<number, string>();
  readonly #ifaces: Attached;
  #asked = false;

  /** @param ifaces the datapath's map: attached interfaces keep the name that they were attached by */
  constructor(ifaces: Attached) {
    this.#ifaces = ifaces;
  }

  /** The interface's name; `if7` for number 7 if it has none any more; empty for 0, a flow that no packet made. */
  of(ifindex: number): string {
    if (ifindex === 0) return '';
    let name = this.#names.get(ifindex);
    if (name === undefined) {
      name = this.#ifaces.get(ifindex)?.name || this.#ofSystem(ifindex) || `if${ifindex}`;
      this.#names.set(ifindex, name);
    }
    return name;
  }

  /** All others are asked for at once, and only where there are flows of such. */
  #ofSystem(ifindex: number): string | undefined {
    if (!this.#asked) {
      this.#asked = true;
      for (const link of listLinks()) {
        if (!this.#names.has(link.ifindex)) this.#names.set(link.ifindex, link.name);
      }
    }
    return this.#names.get(ifindex);
  }
}
