// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** One tracked flow, as every listing shows it. */
import type { Family } from './address.js';

/** Status names with conntrack's bits (IPS_* of include/uapi/linux/netfilter/nf_conntrack_common.h), in their order in listings. */
export const FLOW_STATUS = [
  ['EXPECTED', 1 << 0],
  ['SEEN_REPLY', 1 << 1],
  ['ASSURED', 1 << 2],
  ['SRC_NAT', 1 << 4],
  ['DST_NAT', 1 << 5],
  ['FIXED_TIMEOUT', 1 << 10],
] as const;

export type FlowStatus = (typeof FLOW_STATUS)[number][0];

/** TCP's states in conntrack's order: index = enum ct_tcp_state. Index 0 is a connection without one. */
export const TCP_STATES = [
  'NONE',
  'SYN_SENT',
  'SYN_RECV',
  'ESTABLISHED',
  'FIN_WAIT',
  'CLOSE_WAIT',
  'LAST_ACK',
  'TIME_WAIT',
  'CLOSE',
  'SYN_SENT2',
] as const;

/** SCTP's states in conntrack's order: index = enum sctp_conntrack. */
export const SCTP_STATES = [
  'NONE',
  'CLOSED',
  'COOKIE_WAIT',
  'COOKIE_ECHOED',
  'ESTABLISHED',
  'SHUTDOWN_SENT',
  'SHUTDOWN_RECD',
  'SHUTDOWN_ACK_SENT',
  'HEARTBEAT_SENT',
] as const;

/** Every state that a flow can be looked for by. */
export const FILTER_STATES: readonly string[] = [...new Set([...TCP_STATES, ...SCTP_STATES])];

/** What made a flow's translation; the names of enum nat_type. */
export type NatType = 'none' | 'masquerade' | 'snat' | 'dnat' | 'redirect' | 'netmap';

/**
 * One direction of a flow as on the wire. Protocols with ports have sport and dport, ICMP has type, code
 * and id in their place, GRE its key, the others neither. Numbers are in host order.
 */
export interface FlowTuple {
  src: string;
  dst: string;
  sport?: number;
  dport?: number;
  /** ICMP: what the packets of this direction carry, so the reply's type is the answer's. */
  type?: number;
  code?: number;
  id?: number;
  /** GRE: what the tunnel's key folds to in 16 bits (a key below 65,536 is its own), 0 without a key. */
  key?: number;
  packets: number;
  /** Of the IP packets, headers included. Counts stay exact up to 2^53. */
  bytes: number;
}

/**
 * SCTP's verification tags: what the packets of each direction carry, original and reply; 0 for one that is not known.
 * Their bytes on the wire are read in this machine's order, as conntrack(8) shows them.
 */
export type VerificationTags = readonly [original: number, reply: number];

/** A direction that a zone is of while the other one is in zone 0. */
export type ZoneDirection = 'original' | 'reply';

/** The contract's JSON object, and behind it what only ctnat itself needs. */
export interface Flow {
  family: Family;
  proto: string;
  protonum: number;
  /** Of TCP and SCTP. */
  state?: string;
  /** In FLOW_STATUS's order. `statusNames` makes it, shared and frozen. */
  status: readonly FlowStatus[];
  /** Before translation. */
  original: FlowTuple;
  /** As the replies arrive. */
  reply: FlowTuple;
  /** Whole seconds left. */
  timeout: number;
  /** Seconds since the first packet, in tenths. */
  age: number;
  mark: number;
  zone: number;
  /** Absent: the zone is of both directions. */
  zoneDirection?: ZoneDirection;
  iface: string;

  /** Internal: index in the flow map, and the generation that the slot had. */
  slot: number;
  gen: number;
  natType: NatType;
  ifindex: number;
  /** Of SCTP; absent where it is told of and not read from the table: an event does not hold them. */
  vtags?: VerificationTags;
}

const NAMES_OF_BITS = new Map<number, readonly FlowStatus[]>();
const SHOWN_BITS = FLOW_STATUS.reduce((bits, [, bit]) => bits | bit, 0);

/** The names of a status word's bits; equal words give the same frozen array. */
export function statusNames(bits: number): readonly FlowStatus[] {
  const shown = bits & SHOWN_BITS;
  let names = NAMES_OF_BITS.get(shown);
  if (!names) {
    names = Object.freeze(FLOW_STATUS.filter(([, bit]) => (shown & bit) !== 0).map(([name]) => name));
    NAMES_OF_BITS.set(shown, names);
  }
  return names;
}

/** The bits of status names. */
export function statusBits(names: readonly FlowStatus[]): number {
  return FLOW_STATUS.reduce((bits, [name, bit]) => (names.includes(name) ? bits | bit : bits), 0);
}
