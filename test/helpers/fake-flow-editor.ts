// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Single flows of the table in memory.
import { formatAddress } from '../../src/address.js';
import { type Flow, type FlowTuple, statusBits, statusNames } from '../../src/flow.js';
import type {
  CpuStatistics,
  FlowChange,
  FlowEditor,
  InsertResult,
  NewFlow,
  TupleQuery,
} from '../../src/flow-editor.js';

import { protocolName } from '../../src/protocol.js';

export class FakeFlowEditor implements FlowEditor {
  readonly #product: { table: Flow[] };

  constructor(product: { table: Flow[] }) {
    this.#product = product;
  }

  slots(): number {
    return 4096;
  }

  find(query: TupleQuery): Flow | undefined {
    return this.#product.table.find(
      (flow) =>
        flow.protonum === query.protonum &&
        ((isOf(flow.original, query) && zoneOf(flow, 'original') === query.zone) ||
          (isOf(flow.reply, query) && zoneOf(flow, 'reply') === query.zone)),
    );
  }

  delete(flow: Flow): boolean {
    const before = this.#product.table.length;
    this.#product.table = this.#product.table.filter((each) => each !== flow);
    return this.#product.table.length < before;
  }

  insert(flow: NewFlow): InsertResult {
    if (this.find(flow.original)) return 'exists';
    const { original, reply, state } = flow;
    const family = original.src.family;
    const made: Flow = {
      family,
      proto: protocolName(original.protonum),
      protonum: original.protonum,
      status: statusNames(flow.status),
      original: tupleOf(original),
      reply: tupleOf(reply),
      timeout: flow.timeout,
      age: 0,
      mark: flow.mark,
      zone: flow.zone,
      iface: '',
      slot: this.#product.table.length,
      gen: 0,
      natType: 'none',
      ifindex: 0,
    };
    if (state !== undefined) made.state = state;
    if (flow.vtags) made.vtags = flow.vtags;
    if (flow.zoneDirection !== undefined) made.zoneDirection = flow.zoneDirection;
    this.#product.table.push(made);
    return 'inserted';
  }

  update(flow: Flow, { timeout, mark, status = 0, state }: FlowChange): Flow {
    if (timeout !== undefined) flow.timeout = timeout;
    if (mark) flow.mark = ((flow.mark & ~mark.mask) ^ mark.value) >>> 0;
    flow.status = statusNames(statusBits(flow.status) | status);
    if (state !== undefined) flow.state = state;
    return flow;
  }

  zero({ original, reply }: Flow): void {
    Object.assign(original, { packets: 0, bytes: 0 });
    Object.assign(reply, { packets: 0, bytes: 0 });
  }

  labelsOf(): bigint {
    return 0n;
  }

  statistics(): CpuStatistics[] {
    return [0, 1].map((cpu) => ({
      cpu,
      invalid: 3,
      inserted: 4,
      insertFailed: 5,
      dropped: 6,
      evicted: 7,
      clashJoined: 8,
    }));
  }
}

function tupleOf({ src, dst, sport, dport }: NewFlow['reply']): FlowTuple {
  return { src: formatAddress(src), dst: formatAddress(dst), sport, dport, packets: 0, bytes: 0 };
}

function zoneOf({ zone, zoneDirection }: Flow, direction: Flow['zoneDirection']): number {
  return zoneDirection === undefined || zoneDirection === direction ? zone : 0;
}

function isOf(tuple: FlowTuple, { src, dst, sport, dport }: TupleQuery): boolean {
  return (
    tuple.src === formatAddress(src) &&
    tuple.dst === formatAddress(dst) &&
    (tuple.sport ?? tuple.id ?? 0) === sport &&
    (tuple.dport ?? tuple.id ?? 0) === dport
  );
}
