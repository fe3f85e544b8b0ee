// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets through the pinned hooks of a datapath that is attached to nothing, by the thousand: the first packets of
// the bench's flows (bpf/test/bench.bpf.c), as they leave by the loopback interface or come in there.
import { join } from 'node:path';
import { type BpfObject, BpfProgram, TypedMap, u32 } from 'libbpf-ts';
import type { Datapath } from '../../../src/datapath.js';
import { HookDir } from '../../../src/generated/layouts.gen.js';
import { type BenchRequest, readRequest, writeRequest } from '../../bench/bench-request.js';
import { openBuilt } from '../datapath/load.js';
import { bytes, CLIENT, frameWith, ip4Bytes, ROUTER_WAN, SERVER, udp } from '../packet.js';

/** For the loopback interface: it has no hardware address. */
const PACKET = frameWith(
  { mac: '00:00:00:00:00:00' },
  CLIENT,
  SERVER,
  udp({ sport: 1, dport: 2 }),
  bytes(12),
);

export class PacketSource {
  readonly #bench: BpfObject;

  constructor(datapath: Datapath) {
    this.#bench = openBuilt('test/bench.bpf.o');
    this.#bench.load();
    const hooks = new TypedMap(this.#bench.map('hooks').map, u32, u32);
    hooks.set(HookDir.INGRESS, datapath.program('ct_ingress').fd);
    hooks.set(HookDir.EGRESS, datapath.program('ct_egress').fd);
  }

  /** Says which packets come; the next is flow `cursor`'s. */
  aim(request: Partial<BenchRequest>): void {
    const outside = ip4Bytes(ROUTER_WAN.ip4).readUInt32LE(0);
    writeRequest(this.#bench.map('request').map, { outside, sequential: 1, ...request });
  }

  /** Sends so many. */
  send(count: number): void {
    sendPackets(this.#bench.program('bench_hook'), count);
  }

  /** The flow whose packet comes next. */
  get cursor(): number {
    return readRequest(this.#bench.map('request').map).cursor;
  }

  /** Lets other processes send as well: they share the cursor, so that they meet at the same flows. */
  pin(folder: string): void {
    this.#bench.program('bench_hook').pin(join(folder, 'source'));
    this.#bench.map('request').map.pin(join(folder, 'request'));
  }

  close(): void {
    this.#bench.close();
  }
}

export function openPinnedSource(folder: string): BpfProgram {
  return BpfProgram.openPinned(join(folder, 'source'));
}

export function sendPackets(source: BpfProgram, count: number): void {
  const { retval } = source.testRun({ data: PACKET, repeat: count });
  if (retval === 2) throw new Error('the last of the packets was dropped');
}
