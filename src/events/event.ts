// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What the datapath tells of its flows: one event a change, none for a packet that changes nothing. These are the
 * decoded events, as every consumer sees them; the kernel's record is struct event of bpf/types.h.
 */
import type { Family } from '../address.js';
import type { Flow } from '../flow.js';

/** In the order of enum event_type. */
export const EVENT_TYPES = ['new', 'update', 'destroy', 'drop'] as const;

export type EventType = (typeof EVENT_TYPES)[number];

/** Why a flow ended; in the order of enum event_cause. */
export const DESTROY_CAUSES = [
  /** Its deadline passed and a sweep found it. */
  'expired',
  /** As expired, but its connection was over: TCP in TIME_WAIT or CLOSE. */
  'closed',
  /** Past its deadline when a new flow needed its tuple, its outside port or its slot. */
  'replaced',
  /** Unreplied, it gave way to a new flow in a full table. */
  'evicted',
  /** By a command that named it. */
  'deleted',
  /** By a command that ended every flow. */
  'flushed',
  /** The masquerading interface has another address now. */
  'address',
] as const;

export type DestroyCause = (typeof DESTROY_CAUSES)[number];

/** When and where an event came about. */
export interface EventOrigin {
  /** Of CLOCK_MONOTONIC: what orders events, and is not changed by setting the clock. */
  readonly timeNs: bigint;
  /** Milliseconds since 1970 with a fraction, by the offset between the clocks when the event was read. */
  readonly unixMs: number;
  /**
   * Counts, from 1, the events of this reader that came about on `cpu`, those included that were lost: a gap is a
   * loss.
   */
  readonly sequence: number;
  readonly cpu: number;
}

/** The flow is as it was right after the change; its `timeout` and `age` count from the event's time. */
export interface NewEvent extends EventOrigin {
  readonly type: 'new';
  readonly flow: Flow;
}

/** State, status, mark or translation changed. A packet that only counts, or moves the deadline, is no change. */
export interface UpdateEvent extends EventOrigin {
  readonly type: 'update';
  readonly flow: Flow;
}

/** The flow as it was last, with its final counters. Its `timeout` is 0 if its deadline had passed. */
export interface DestroyEvent extends EventOrigin {
  readonly type: 'destroy';
  readonly cause: DestroyCause;
  readonly flow: Flow;
}

/** What of a dropped packet could be read, as it was at that hook. Ports are absent where there are none. */
export interface DroppedPacket {
  readonly family: Family;
  readonly proto: string;
  readonly protonum: number;
  readonly src: string;
  readonly dst: string;
  readonly sport?: number;
  readonly dport?: number;
  /** ICMP. */
  readonly type?: number;
  readonly code?: number;
  readonly id?: number;
  /** Of the IP packet, headers included. */
  readonly bytes: number;
}

/**
 * A packet was dropped. Each reason has an allowance per CPU and time; what comes beyond it is only counted, here and
 * in the metrics.
 */
export interface DropEvent extends EventOrigin {
  readonly type: 'drop';
  /** As `ctnat bpf metrics list` names it: `drop_table_full`. */
  readonly reason: string;
  readonly direction: 'ingress' | 'egress';
  /** Packets of this reason on this CPU that had no event since the last one that did. */
  readonly suppressed: number;
  readonly packet: DroppedPacket;
  readonly iface: string;
  readonly ifindex: number;
}

/** Events that found no room because this reader was too slow. Told by the reader, not by the kernel. */
export interface LostEvent {
  readonly type: 'lost';
  readonly timeNs: bigint;
  readonly unixMs: number;
  /** Since the last LostEvent. */
  readonly count: number;
  /** Since the reader began. */
  readonly total: number;
}

/** An event about a flow. */
export type FlowEvent = NewEvent | UpdateEvent | DestroyEvent;

/** What the kernel tells. */
export type KernelEvent = FlowEvent | DropEvent;

/** What a reader gets. */
export type CtEvent = KernelEvent | LostEvent;
