// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The datapath loaded below a pin path of its own, attached to nothing, with flows put into its slots by hand.
import { removePinDirectory } from 'libbpf-ts';
import type { Test } from 'tap';
import { Datapath } from '../../../src/datapath.js';
import type { FlavourName } from '../../../src/flavours.js';
import { tupleKeys } from '../../../src/tuple-keys.js';
import { Daemon } from '../process.js';
import { Teardown } from '../teardown.js';
import { putKey } from './keys.js';
import { flow4, flow6, flowExtra, isIpv6, type Made, rawFlow } from './made-flow.js';

let loaded = 0;

export class Tables {
  readonly pinPath: string;
  readonly datapath: Datapath;
  readonly #teardown: Teardown;

  private constructor(datapath: Datapath, teardown: Teardown) {
    this.datapath = datapath;
    this.pinPath = datapath.pinPath;
    this.#teardown = teardown;
  }

  /** Loads the datapath; the test's end unloads it. */
  static async load(t: Test, flows4: number, flows6: number, flavour?: FlavourName): Promise<Tables> {
    const teardown = Teardown.of(t);
    const pinPath = `/sys/fs/bpf/ctnat-tables-${process.pid}-${++loaded}`;
    teardown.defer(pinPath, () => removePinDirectory(pinPath));
    const datapath = await Datapath.load(pinPath, { flows4, flows6, ...(flavour && { flavour }) });
    teardown.defer('the handles', () => datapath.close());
    return new Tables(datapath, teardown);
  }

  /** Puts a flow into a slot, and its keys where the datapath finds them. */
  put(slot: number, made: Made): void {
    const { flows4, flows6, extras4, extras6 } = this.datapath.maps;
    (isIpv6(made) ? extras6 : extras4).set(slot, flowExtra(made));
    if (isIpv6(made)) flows6.set(slot, flow6(made));
    else flows4.set(slot, flow4(made));
    const raw = rawFlow(made, slot);
    for (const { bytes, form } of tupleKeys(raw)) {
      putKey(this.datapath.maps, raw.family, bytes, { slot, gen: raw.gen, form });
    }
  }

  /** Frees every slot and forgets every key and count. */
  clear(): void {
    const { maps } = this.datapath;
    for (const name of [
      'flows4',
      'flows6',
      'tuple_index',
      'tuples4',
      'tuples6',
      'ifaces',
      'counters',
    ] as const)
      maps[name].clear();
  }

  /** Starts a process of table-traffic-main.ts on these tables, and waits until it has begun. */
  async traffic(kind: string, ...args: readonly (string | number)[]): Promise<Daemon> {
    const daemon = this.start([], kind, ...args);
    await daemon.printed(/begun/);
    return daemon;
  }

  /** As traffic(), with a command before it, such as taskset; does not wait. */
  start(before: readonly string[], kind: string, ...args: readonly (string | number)[]): Daemon {
    const main = new URL('./table-traffic-main.js', import.meta.url).pathname;
    const daemon = Daemon.start([...before, process.execPath, main, this.pinPath, kind, ...args.map(String)]);
    this.#teardown.defer(`${kind} traffic`, () => daemon.stop());
    return daemon;
  }
}
