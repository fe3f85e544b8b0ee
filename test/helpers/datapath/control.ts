// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What commands and the agent have the datapath do: sweeps, of both families; mappings on request; and the passing of
// time.
import type { TypedMap } from 'libbpf-ts';
import { parseAddress } from '../../../src/address.js';
import { addressWords, edit } from '../../../src/edit-request.js';
import { timeoutTicks } from '../../../src/flow-insert.js';
import {
  CtStatus,
  EditOp,
  type EditRequest,
  type EditResult,
  type Flow,
  FlowFlags,
  maps,
  NatType,
  SWEEP_REQUEST,
  SweepMode,
} from '../../../src/generated/layouts.gen.js';
import { TICK_MS } from '../../../src/ticks.js';
import type { Datapath } from '../datapath-fixture.js';
import { type Host, ROUTER_WAN } from '../packet.js';

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

/** An endpoint that somebody asks for, as the PCP server has it made (bpf/edit.h). */
export interface Wish {
  inside: Host;
  port: number;
  /** Default: the inside port. */
  external?: number;
  seconds?: number;
}

/** Has a UDP endpoint of the outside interface opened in the first free slot. @returns what has become of it */
export function openEndpoint(datapath: Datapath, family: 4 | 6, wish: Wish): EditRequest {
  const { inside, port, external = port, seconds = 600 } = wish;
  const [own, outside] = family === 4 ? [inside.ip4, ROUTER_WAN.ip4] : [inside.ip6, ROUTER_WAN.ip6];
  const saddr = addressWords(parseAddress(own));
  const daddr = addressWords(parseAddress(outside));
  const free = [...flowHeads(datapath, family).entries()].find(([, { head }]) => head.lock === 0);
  return edit(datapath, family, {
    op: EditOp.OPEN,
    slot: free![0],
    timeout: timeoutTicks(seconds),
    proto: 17,
    nat: NatType.MASQUERADE,
    flags: FlowFlags.ENDPOINT,
    status: CtStatus.FIXED_TIMEOUT,
    ifindex: datapath.network.wan0,
    tuple: [
      { saddr, daddr, sport: port, dport: 0 },
      { saddr: [0, 0, 0, 0], daddr, sport: 0, dport: external },
    ],
  });
}

/** Has an endpoint kept for so many seconds; 0: it is asked for no longer. @returns what has become of it */
export function keepEndpoint(datapath: Datapath, family: 4 | 6, slot: number, seconds: number): EditResult {
  const { gen } = flowHeads(datapath, family).get(slot)!.head;
  const kept = { status: CtStatus.FIXED_TIMEOUT, timeout: timeoutTicks(seconds) };
  const released = { status: 0, timeout: 0xffff_ffff };
  const request = { op: EditOp.KEEP, slot, gen, ...(seconds > 0 ? kept : released) };
  return edit(datapath, family, request).result as EditResult;
}
