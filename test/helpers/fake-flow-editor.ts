// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Single flows of the table in memory.
import { formatAddress } from '../../src/address.js';
import type { Flow, FlowTuple } from '../../src/flow.js';
import type { CpuStatistics, FlowEditor, TupleQuery } from '../../src/flow-editor.js';

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
        flow.zone === query.zone &&
        (isOf(flow.original, query) || isOf(flow.reply, query)),
    );
  }

  delete(flow: Flow): boolean {
    const before = this.#product.table.length;
    this.#product.table = this.#product.table.filter((each) => each !== flow);
    return this.#product.table.length < before;
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

function isOf(tuple: FlowTuple, { src, dst, sport, dport }: TupleQuery): boolean {
  return (
    tuple.src === formatAddress(src) &&
    tuple.dst === formatAddress(dst) &&
    (tuple.sport ?? tuple.id ?? 0) === sport &&
    (tuple.dport ?? tuple.id ?? 0) === dport
  );
}
