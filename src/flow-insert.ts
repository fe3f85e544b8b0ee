// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Makes flows without a packet: a slot, the keys and an outside port, claimed in the kernel as a packet's are. */
import { compareAddresses } from './address.js';
import type { Datapath } from './datapath.js';
import { protocolStates } from './decode-flow.js';
import { addressWords, edit } from './edit-request.js';
import { type InsertResult, MAX_TIMEOUT, type NewFlow } from './flow-editor.js';
import { findRaw } from './flow-probe.js';
import { FreeSlots } from './free-slots.js';
import {
  CtStatus,
  EditOp,
  type EditRequest,
  EditResult,
  FlowFlags,
  NatType,
} from './generated/layouts.gen.js';
import { hasPorts, isIcmp } from './protocol.js';
import { SlotReader } from './slot-reader.js';
import type { Sweeper } from './sweeper.js';
import { nowTicks, ticksOfMs } from './ticks.js';

/** Other CPUs take slots, too: this many may be lost to them. */
const SLOT_TRIES = 32;

/** Outside ports tried where any will do, before the range counts as used up. */
const PORT_TRIES = 256;

type Reply = NewFlow['reply'];

export class FlowInsert {
  readonly #datapath: Datapath;
  readonly #sweeper: Sweeper;
  readonly #free: Partial<Record<4 | 6, FreeSlots>> = {};

  constructor(datapath: Datapath, sweeper: Sweeper) {
    this.#datapath = datapath;
    this.#sweeper = sweeper;
  }

  insert(flow: NewFlow): InsertResult {
    const { protonum, icmpType } = flow.original;
    const state = stateNumber(protonum, flow.state, icmpType);
    if (state === undefined) return 'invalid';
    let { reply } = flow;
    for (let i = 0; i < PORT_TRIES; i++) {
      const result = this.#insertOnce(flow, reply, state);
      if (result !== 'exists' || !flow.anyPort || findRaw(this.#datapath, flow.original)) return result;
      reply = withPort(flow, reply, anyPort(flow.original.sport));
    }
    return 'exists';
  }

  #insertOnce(flow: NewFlow, reply: Reply, state: number): InsertResult {
    const family = flow.original.src.family === 'ipv4' ? 4 : 6;
    const request = makeRequest(flow, reply, state);
    for (let i = 0; i < SLOT_TRIES; i++) {
      const slot = this.#freeSlots(family).find();
      if (slot === undefined) return 'full';
      const done = edit(this.#datapath, family, { ...request, slot });
      switch (done.result) {
        case EditResult.DONE:
          return 'inserted';
        case EditResult.NO_ROOM:
          return 'full';
        case EditResult.EXISTS:
          if (!this.#endExpired(family, done)) return 'exists';
      }
    }
    return 'full';
  }

  /**
   * Ends the flow that holds a key if its deadline has passed, so that no packet matches it any more. Who might still
   * be prolonging it holds a packet of the same tuple, which then is the new flow's as well.
   */
  #endExpired(family: 4 | 6, { heldSlot, heldGen }: EditRequest): boolean {
    const raw = new SlotReader(this.#datapath.maps, family).get(heldSlot);
    const isHolder = raw.isUsed && raw.gen === heldGen;
    if (isHolder && raw.ticksLeft(nowTicks()) >= 0) return false;
    if (isHolder) this.#sweeper.deleteOne(family, heldSlot, heldGen);
    return true;
  }

  #freeSlots(family: 4 | 6): FreeSlots {
    const known = this.#free[family];
    if (known) return known;
    const { settings, maps } = this.#datapath;
    const free = new FreeSlots(maps[`flows${family}`].map, settings[`slots${family}`]);
    this.#free[family] = free;
    return free;
  }
}

/** The number of a state by its name; ICMP's is the request's type. undefined: the protocol has no such state. */
export function stateNumber(protonum: number, state: string | undefined, icmpType = 0): number | undefined {
  if (isIcmp(protonum)) return icmpType;
  if (state === undefined) return 0;
  const number = protocolStates(protonum)?.indexOf(state) ?? -1;
  return number < 0 ? undefined : number;
}

/** Ticks from now to a deadline: one more than the seconds take, for the one that is under way does not count whole. */
export function timeoutTicks(seconds: number): number {
  return ticksOfMs(Math.min(seconds, MAX_TIMEOUT) * 1000) + 1;
}

function makeRequest(flow: NewFlow, reply: Reply, state: number): Partial<EditRequest> {
  const { original } = flow;
  const source = compareAddresses(original.src, reply.dst) !== 0 || original.sport !== reply.dport;
  const destination =
    compareAddresses(original.dst, reply.src) !== 0 ||
    (hasPorts(original.protonum) && original.dport !== reply.sport);
  const natBits = (source ? CtStatus.SRC_NAT : 0) | (destination ? CtStatus.DST_NAT : 0);
  return {
    op: EditOp.INSERT,
    timeout: timeoutTicks(flow.timeout),
    mark: flow.mark,
    status: flow.status | natBits,
    zone: flow.zone,
    proto: original.protonum,
    state,
    nat: source ? NatType.SNAT : destination ? NatType.DNAT : NatType.NONE,
    flags: (source && destination ? FlowFlags.MIDDLE_KEY : 0) | zoneFlags(flow),
    tuple: [tupleOf(original), tupleOf(reply)],
    vtag: [...(flow.vtags ?? [0, 0])],
  };
}

function zoneFlags({ zone, zoneDirection }: NewFlow): number {
  if (zone === 0 || zoneDirection === undefined) return 0;
  return zoneDirection === 'original' ? FlowFlags.ZONE_ORIGINAL : FlowFlags.ZONE_REPLY;
}

function tupleOf({ src, dst, sport, dport }: Reply): EditRequest['tuple'][number] {
  return { saddr: addressWords(src), daddr: addressWords(dst), sport, dport };
}

/** The reply with another port to the translated source; an identifier is in both of its ports. */
function withPort(flow: NewFlow, reply: Reply, port: number): Reply {
  return isIcmp(flow.original.protonum) ? { ...reply, sport: port, dport: port } : { ...reply, dport: port };
}

/** A port of the class that the inside one is of (bpf/plan.h, port_class). */
function anyPort(port: number): number {
  const [min, max] = port < 512 ? [1, 511] : port < 1024 ? [600, 1023] : [1024, 65_535];
  return min + Math.floor(Math.random() * (max - min + 1));
}
