// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Flows as the datapath would leave them in a slot, written by the generated codecs.
import {
  CtStatus,
  type Flow,
  type Flow4,
  type Flow6,
  type FlowExtra,
  flow4Codec,
  flow6Codec,
  flowExtraCodec,
  NatType,
} from '../../../src/generated/layouts.gen.js';
import { RawFlow } from '../../../src/raw-flow.js';
import { nowTicks } from '../../../src/ticks.js';
import { secondsToTicks } from '../datapath/settings.js';
import { ip4Bytes, ip6Bytes } from '../packet.js';

/** `ADDRESS PORT` of source and destination; of ICMP both ports are the identifier. */
export type Ends = readonly [source: string, destination: string];

export interface Made {
  original: Ends;
  /** Left out: the original's ends the other way round. */
  reply?: Ends;
  proto?: number;
  state?: number;
  /** enum ct_status; CONFIRMED is always in it. */
  status?: number;
  nat?: NatType;
  flags?: number;
  gen?: number;
  /** From now; negative: it has expired. */
  secondsLeft?: number;
  ageSeconds?: number;
  packets?: readonly [number | bigint, number | bigint];
  bytes?: readonly [number | bigint, number | bigint];
  ifindex?: number;
  mark?: number;
  zone?: number;
}

const SILENT = { end: 0, maxend: 0, maxwin: 0, maxack: 0 };

const TCP_NOTHING = {
  original: SILENT,
  originalFlags: 0,
  originalUnacked: 0,
  scale: 0,
  lastKind: 0,
  lastEnd: 0,
  reply: SILENT,
  replyFlags: 0,
  replyUnacked: 0,
  retrans: 0,
  notes: 0,
  lastMark: 0,
};

function head(made: Made): Flow {
  const now = nowTicks();
  const { packets = [1, 0], bytes = [100, 0] } = made;
  return {
    lock: 1,
    deadline: (now + secondsToTicks(made.secondsLeft ?? 100)) >>> 0,
    created: (now - secondsToTicks(made.ageSeconds ?? 0)) >>> 0,
    gen: made.gen ?? 0,
    status: CtStatus.CONFIRMED | (made.status ?? 0),
    proto: made.proto ?? 17,
    state: made.state ?? 0,
    nat: made.nat ?? NatType.NONE,
    flags: made.flags ?? 0,
    zone: made.zone ?? 0,
    rule: 0,
    counts: [1, 0].map((dir) => ({ packets: BigInt(packets[dir]!), bytes: BigInt(bytes[dir]!) })),
    tcp: TCP_NOTHING,
  };
}

/** What of it is not in its slot. */
export function flowExtra({ ifindex = 1, mark = 0 }: Made): FlowExtra {
  return { ifindex, mark };
}

function tuples({ original, reply = [original[1], original[0]] }: Made): Ends[] {
  return [original, reply];
}

function parts(end: string): { address: string; port: number } {
  const [address = '', port = '0'] = end.split(' ');
  return { address, port: Number(port) };
}

export function isIpv6(made: Made): boolean {
  return made.original[0].includes(':');
}

export function flow4(made: Made): Flow4 {
  const word = (end: string): number => ip4Bytes(parts(end).address).readUInt32BE(0);
  const tuple = tuples(made).map(([source, destination]) => ({
    saddr: word(source),
    daddr: word(destination),
    sport: parts(source).port,
    dport: parts(destination).port,
  }));
  return { head: head(made), tuple };
}

export function flow6(made: Made): Flow6 {
  const words = (end: string): number[] => {
    const bytes = ip6Bytes(parts(end).address);
    return [0, 4, 8, 12].map((at) => bytes.readUInt32BE(at));
  };
  const tuple = tuples(made).map(([source, destination]) => ({
    saddr: words(source),
    daddr: words(destination),
    sport: parts(source).port,
    dport: parts(destination).port,
  }));
  return { head: head(made), tuple };
}

/** The slot's bytes with the flow in it. */
export function rawFlow(made: Made, slot = 0): RawFlow {
  const raw = new RawFlow(isIpv6(made) ? 6 : 4);
  if (isIpv6(made)) flow6Codec.write(raw.view, 0, flow6(made));
  else flow4Codec.write(raw.view, 0, flow4(made));
  flowExtraCodec.write(raw.view, raw.extra, flowExtra(made));
  raw.slot = slot;
  return raw;
}
