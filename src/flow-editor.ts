// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What can be done to single flows from userspace, whatever table stands behind it. */
import type { Address } from './address.js';
import type { Flow } from './flow.js';

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
  readonly zone: number;
}

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
  /** Each CPU's counts. */
  statistics(): readonly CpuStatistics[];
}
