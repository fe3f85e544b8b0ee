// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What commands have the datapath do: sweeps, of both families; and the passing of time.
import type { TypedMap } from 'libbpf-ts';
import { type Flow, maps, SWEEP_REQUEST, SweepMode } from '../../../src/generated/layouts.gen.js';
import { TICK_MS } from '../../../src/ticks.js';
import type { Datapath } from '../datapath-fixture.js';

/** A flow table of either family, as far as the head of its flows goes. */
export function flowHeads(datapath: Datapath, family: 4 | 6): TypedMap<number, { head: Flow }> {
  const table: unknown = family === 4 ? datapath.map(maps.flows4) : datapath.map(maps.flows6);
  return table as TypedMap<number, { head: Flow }>;
}

/** Runs a sweep to the table's end, or over one slot. @returns how many flows it tore down */
export function sweepFlows(datapath: Datapath, family: 4 | 6, mode: SweepMode, slot?: number): number {
  const table = flowHeads(datapath, family);
  const { offset, size } = SWEEP_REQUEST;
  const limit = slot === undefined ? table.map.maxEntries : slot + 1;
  let request = Buffer.alloc(size);
  request.writeUInt32LE(mode, offset.mode);
  request.writeUInt32LE(family, offset.family);
  request.writeUInt32LE(slot ?? 0, offset.cursor);
  request.writeUInt32LE(limit, offset.limit);
  if (slot !== undefined && (mode === SweepMode.ONE || mode === SweepMode.ADDRESS)) {
    request.writeUInt32LE(slot, offset.slot);
    request.writeUInt16LE(table.get(slot)!.head.gen, offset.gen);
  }
  while (request.readUInt32LE(offset.cursor) < limit) {
    request = Buffer.from(datapath.program(`ct_sweep${family}`).testRun({ data: request }).data);
  }
  return request.readUInt32LE(offset.deleted);
}

/** Moves the deadline of a flow or an endpoint so far into the past that a sweep takes it. */
export function endFlow(datapath: Datapath, family: 4 | 6, slot: number): void {
  const table = flowHeads(datapath, family);
  const flow = table.get(slot)!;
  flow.head.deadline = (flow.head.deadline - 2_000_000 / TICK_MS) >>> 0;
  table.set(slot, flow);
}

/** What each subscriber is counted to have, ascending. */
export function portsCounted(datapath: Datapath): number[] {
  const counts = [...datapath.map(maps.subscribers).entries()].map(([, { flows }]) => flows | 0);
  return counts.sort((a, b) => a - b);
}
