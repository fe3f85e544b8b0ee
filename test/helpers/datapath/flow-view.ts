// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A flow as a table states it: tuples as text, state and status by name.
import {
  CtSctpState,
  CtStatus,
  CtTcpState,
  type Flow,
  type Flow4,
  type Flow6,
  NatLimit,
  NatType,
  type Tuple4,
  type Tuple6,
} from '../../../src/generated/layouts.gen.js';
import { ip4Text, ip6Text, nameOf } from '../packet.js';
import { nowTicks, ticksToSeconds, timeoutName } from './settings.js';

export interface FlowView {
  proto: number;
  /** Name in enum ct_tcp_state or ct_sctp_state; of ICMP the request's type. */
  state: string | number;
  /** SEEN_REPLY, ASSURED, SRC_NAT, DST_NAT…; CONFIRMED is left out, as every listed flow has it. */
  status: string[];
  nat: string;
  rule: number;
  /** `CLIENT 40000 > SERVER 80` */
  original: string;
  reply: string;
  packets: [original: number, reply: number];
  bytes: [original: number, reply: number];
  /** The timeout that was given last (settings.ts), or the seconds left. */
  timeout: string;
  secondsLeft: number;
  slot: number;
}

/** Of views of one family, for sort(): by original tuple, then by reply tuple and slot. */
export function byOriginal(a: FlowView, b: FlowView): number {
  const [first, second] = [a, b].map(({ original, reply }) => `${original}, ${reply}`) as [string, string];
  return first < second ? -1 : first > second ? 1 : a.slot - b.slot;
}

export function viewFlow4(slot: number, flow: Flow4): FlowView {
  const text = ({ saddr, daddr, sport, dport }: Tuple4): string =>
    `${nameOf(ip4Text(wordBytes([saddr])))} ${sport} > ${nameOf(ip4Text(wordBytes([daddr])))} ${dport}`;
  return view(slot, flow.head, flow.tuple.map(text));
}

export function viewFlow6(slot: number, flow: Flow6): FlowView {
  const text = ({ saddr, daddr, sport, dport }: Tuple6): string =>
    `${nameOf(ip6Text(wordBytes(saddr)))} ${sport} > ${nameOf(ip6Text(wordBytes(daddr)))} ${dport}`;
  return view(slot, flow.head, flow.tuple.map(text));
}

function wordBytes(words: readonly number[]): Buffer {
  const bytes = Buffer.alloc(words.length * 4);
  words.forEach((word, i) => {
    bytes.writeUInt32BE(word, i * 4);
  });
  return bytes;
}

function view(slot: number, head: Flow, tuples: string[]): FlowView {
  const { counts } = head;
  const secondsLeft = ticksToSeconds((head.deadline - nowTicks()) | 0);
  return {
    proto: head.proto,
    state:
      head.proto === 6
        ? nameIn(CtTcpState, head.state)
        : head.proto === 132
          ? nameIn(CtSctpState, head.state)
          : head.state,
    status: Object.entries(CtStatus)
      .filter(([name, bit]) => name !== 'CONFIRMED' && head.status & bit)
      .map(([name]) => name),
    nat: nameIn(NatType, head.nat & NatLimit.TYPE_MASK),
    rule: head.rule,
    original: tuples[0]!,
    reply: tuples[1]!,
    packets: [Number(counts[1]!.packets), Number(counts[0]!.packets)],
    bytes: [Number(counts[1]!.bytes), Number(counts[0]!.bytes)],
    timeout: timeoutName(secondsLeft),
    secondsLeft,
    slot,
  };
}

function nameIn(names: Record<string, number>, value: number): string {
  return Object.keys(names).find((name) => names[name] === value) ?? String(value);
}
