// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A flow as conntrack(8) shows it: what all output formats have in common. */
import type { Flow } from '../flow.js';
import { DCCP, GRE, ICMP, ICMPV6, SCTP, TCP, UDP, UDPLITE } from '../protocol.js';
import type { LabelNames } from './labels.js';

/** One flow to show, and what of it is known here. */
export interface Shown {
  readonly flow: Flow;
  /** References to the entry as the kernel would count them; absent in events. */
  readonly use?: number;
  /** Packets and bytes are final or current. */
  readonly hasCounters: boolean;
  /** A mark of 0 is shown. */
  readonly hasZeroMark: boolean;
  readonly labels: bigint;
  /** Milliseconds since 1970 with a fraction; the end only of what has ended. */
  readonly startMs: number;
  readonly stopMs?: number;
}

/** What is shown of each flow besides the usual. */
export interface ShowOptions {
  readonly isExtended: boolean;
  readonly hasId: boolean;
  /** How long there has been the flow. */
  readonly hasTimes: boolean;
  /** With it, since when. */
  readonly hasStart: boolean;
  readonly labelNames: LabelNames | undefined;
}

const NAMES: ReadonlyMap<number, string> = new Map([
  [TCP, 'tcp'],
  [UDP, 'udp'],
  [UDPLITE, 'udplite'],
  [DCCP, 'dccp'],
  [SCTP, 'sctp'],
  [ICMP, 'icmp'],
  [ICMPV6, 'icmpv6'],
  [GRE, 'gre'],
]);

/** The name of a protocol, of which conntrack(8) knows few. */
export function shownProtocol(protonum: number): string {
  return NAMES.get(protonum) ?? 'unknown';
}

/** The numbers that address families have on Linux. */
export function familyNumber(flow: Flow): number {
  return flow.family === 'ipv4' ? 2 : 10;
}

/** Slots of a family are numbered below this: it leaves an id its upper bits for the generation. */
const FAMILY_BIT = 0x8000_0000;

/**
 * A number of 32 bits that no two live flows share, and that a flow keeps for its life: its slot, above it as much of
 * the slot's generation as finds room, and the family.
 * @param slots how many the family's table has
 */
export function flowId({ family, slot, gen }: Pick<Flow, 'family' | 'slot' | 'gen'>, slots: number): number {
  const generations = Math.max(1, Math.floor(FAMILY_BIT / slots));
  return (slot + slots * (gen % generations) + (family === 'ipv4' ? 0 : FAMILY_BIT)) >>> 0;
}

/** Whether the source, or the destination, is translated. */
export function isTranslated(flow: Flow, end: 'source' | 'destination'): boolean {
  return flow.status.includes(end === 'source' ? 'SRC_NAT' : 'DST_NAT');
}

/** Seconds between the first packet and the end, or now. */
export function lifetime({ flow, startMs, stopMs }: Shown): number {
  return Math.floor(stopMs === undefined ? flow.age : (stopMs - startMs) / 1000);
}
