// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What can be done to single flows from userspace, whatever table stands behind it. */
import type { Address } from './address.js';
import type { Flow, VerificationTags, ZoneDirection } from './flow.js';

/** One direction of a flow, by which it is found; numbers in host order. */
export interface TupleQuery {
  readonly src: Address;
  readonly dst: Address;
  readonly protonum: number;
  /** 0 where the protocol has none; GRE's keys, ICMP's identifier in both. */
  readonly sport: number;
  readonly dport: number;
  /** Of ICMP: what the packets of this direction carry. */
  readonly icmpType?: number;
  /** In which this direction's packets arrive. */
  readonly zone: number;
}

/** A flow to be made. Its reply tuple says whether it is translated; numbers in host order. */
export interface NewFlow {
  readonly original: TupleQuery;
  /** Of both directions, or of the one that zoneDirection names, the other one's being 0. */
  readonly zone: number;
  readonly zoneDirection?: ZoneDirection;
  /** Ports, identifiers and type as the replies carry them; the protocol is the original's. */
  readonly reply: Pick<TupleQuery, 'src' | 'dst' | 'sport' | 'dport'>;
  /** The reply's port, or identifier, to the translated source is only a wish: if it is taken, another one will do. */
  readonly anyPort: boolean;
  /** Of protocols that have any, by its name in listings. */
  readonly state?: string;
  /** Of SCTP. */
  readonly vtags?: VerificationTags;
  /** enum ct_status; what follows from the tuples is added. */
  readonly status: number;
  /** Seconds, at most MAX_TIMEOUT. */
  readonly timeout: number;
  readonly mark: number;
  readonly labels: bigint;
}

/** What is to become of a flow; what is absent stays. */
export interface FlowChange {
  readonly timeout?: number;
  /** Bits of the mask are cleared, then the value's are turned over. */
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Bits to add: none can be taken away. */
  readonly status?: number;
  readonly state?: string;
  readonly labels?: bigint;
}

/** Seconds: what deadlines can hold, 2^31 ticks, is a little more. */
export const MAX_TIMEOUT = 36_000_000;

/** exists: one of its tuples is another flow's. full: no slot, or no room in the tuple map. invalid: no such flow can be. */
export type InsertResult = 'inserted' | 'exists' | 'full' | 'invalid';

/** What has happened on one CPU since ctnat was loaded. */
export interface CpuStatistics {
  readonly cpu: number;
  /** Packets of no flow with which none may begin. */
  readonly invalid: number;
  /** Flows that a command has made. */
  readonly inserted: number;
  /** New flows that found no port, no room in the tuple map, or another flow in their place. */
  readonly insertFailed: number;
  /** New flows that were dropped for want of anything. */
  readonly dropped: number;
  /** Unreplied flows that gave way to new ones. */
  readonly evicted: number;
  /** First packets that raced with their flow's other first packet and joined it. */
  readonly clashJoined: number;
}

export interface FlowEditor {
  /** How many flows of a family the table has slots for. */
  slots(family: Flow['family']): number;
  /** The flow that has this tuple in one of its directions. */
  find(tuple: TupleQuery): Flow | undefined;
  /** Tears the flow down, if it is still the one; returns whether this call did it. */
  delete(flow: Flow): boolean;
  /** Makes a flow that packets find as they find their own. */
  insert(flow: NewFlow): InsertResult;
  /** Changes a flow; returns it as it is then, or undefined if it is gone. */
  update(flow: Flow, change: FlowChange): Flow | undefined;
  /** Takes what the flow's counters show here off them: they begin anew, and lose no packet that came meanwhile. */
  zero(flow: Flow): void;
  /** The flow's labels, bit by bit; 0 for none. */
  labelsOf(flow: Flow): bigint;
  /** Each CPU's counts. */
  statistics(): readonly CpuStatistics[];
}
