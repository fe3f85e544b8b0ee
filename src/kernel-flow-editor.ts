// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Single flows of the datapath's table. */
import { readCpuStatistics } from './cpu-statistics.js';
import type { Datapath } from './datapath.js';
import { decodeFlow } from './decode-flow.js';
import { edit } from './edit-request.js';
import { type Flow, statusBits } from './flow.js';
import type {
  CpuStatistics,
  FlowChange,
  FlowEditor,
  InsertResult,
  NewFlow,
  TupleQuery,
} from './flow-editor.js';
import { FlowInsert, stateNumber, timeoutTicks } from './flow-insert.js';
import { findRaw } from './flow-probe.js';
import { EditFields, EditOp, type EditRequest, EditResult } from './generated/layouts.gen.js';
import { InterfaceNames } from './interface-names.js';
import { LabelTable } from './label-table.js';
import { SlotReader } from './slot-reader.js';
import { Sweeper } from './sweeper.js';
import { nowTicks } from './ticks.js';

/** Tries to take a flow that another CPU holds for an instant, and to set a bit that a packet's own has overwritten. */
const TRIES = 8;

/** A tick ago, in 32 bits: the flow no longer matches. */
const AT_ONCE = 0xffff_ffff;

export class KernelFlowEditor implements FlowEditor {
  readonly #datapath: Datapath;
  readonly #names: InterfaceNames;
  readonly #sweeper: Sweeper;
  readonly #labels: LabelTable;
  readonly #insert: FlowInsert;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
    this.#names = new InterfaceNames(datapath.maps.ifaces);
    this.#sweeper = new Sweeper(datapath);
    this.#labels = new LabelTable(datapath);
    this.#insert = new FlowInsert(datapath, this.#sweeper);
  }

  slots(family: Flow['family']): number {
    const { flows4, flows6 } = this.#datapath.maps;
    return (family === 'ipv4' ? flows4 : flows6).map.maxEntries;
  }

  find(tuple: TupleQuery): Flow | undefined {
    const raw = findRaw(this.#datapath, tuple);
    return raw && decodeFlow(raw, nowTicks(), this.#names);
  }

  delete(flow: Flow): boolean {
    return this.#sweeper.deleteOne(familyOf(flow), flow.slot, flow.gen);
  }

  insert(flow: NewFlow): InsertResult {
    const result = this.#insert.insert(flow);
    if (result === 'inserted' && flow.labels !== 0n) {
      const made = this.find(flow.original);
      if (made) this.#labels.set(made, flow.labels);
    }
    return result;
  }

  update(flow: Flow, change: FlowChange): Flow | undefined {
    const { timeout, mark, status = 0, state, labels } = change;
    const request: Partial<EditRequest> = {
      fields:
        (timeout === undefined ? 0 : EditFields.TIMEOUT) |
        (mark === undefined ? 0 : EditFields.MARK) |
        (status === 0 ? 0 : EditFields.STATUS) |
        (state === undefined ? 0 : EditFields.STATE),
      timeout: timeout === 0 ? AT_ONCE : timeoutTicks(timeout ?? 0),
      mark: mark?.value ?? 0,
      markMask: mark?.mask ?? 0,
      status,
      state: state === undefined ? 0 : (stateNumber(flow.protonum, state) ?? 0),
    };
    if (labels !== undefined) this.#labels.set(flow, labels);
    for (let i = 0; i < TRIES; i++) {
      if (request.fields !== 0 && !this.#edit(flow, request)) return undefined;
      const now = this.#read(flow);
      if (!now || (statusBits(now.status) & status) === status) return now;
      // a packet has set a bit of its own at the same time, over ours
      request.fields = EditFields.STATUS;
    }
    return this.#read(flow);
  }

  zero(flow: Flow): void {
    const { original, reply } = flow;
    this.#edit(flow, {
      fields: EditFields.ZERO,
      packets: [BigInt(original.packets), BigInt(reply.packets)],
      bytes: [BigInt(original.bytes), BigInt(reply.bytes)],
    });
  }

  labelsOf(flow: Flow): bigint {
    return this.#labels.of(flow);
  }

  statistics(): CpuStatistics[] {
    return readCpuStatistics(this.#datapath);
  }

  /** Returns whether it was done: the flow may be gone. */
  #edit(flow: Flow, request: Partial<EditRequest>): boolean {
    const { slot, gen } = flow;
    for (let i = 0; i < TRIES; i++) {
      const { result } = edit(this.#datapath, familyOf(flow), { ...request, op: EditOp.UPDATE, slot, gen });
      if (result !== EditResult.BUSY) return result === EditResult.DONE;
    }
    return false;
  }

  #read(flow: Flow): Flow | undefined {
    const family = familyOf(flow);
    const raw = new SlotReader(this.#datapath.maps, family).get(flow.slot);
    const now = nowTicks();
    if (!raw.isUsed || raw.gen !== flow.gen || raw.ticksLeft(now) < 0) return undefined;
    return decodeFlow(raw, now, this.#names);
  }
}

function familyOf({ family }: Flow): 4 | 6 {
  return family === 'ipv4' ? 4 : 6;
}
