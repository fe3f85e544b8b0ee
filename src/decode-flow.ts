// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A slot's bytes as the flow that listings show. */
import { formatIpv4, formatIpv6 } from './address.js';
import { type Flow, type FlowTuple, type NatType, SCTP_STATES, statusNames, TCP_STATES } from './flow.js';
import { CtDir, NatType as Nat } from './generated/layouts.gen.js';
import type { InterfaceNames } from './interface-names.js';
import { GRE, hasPorts, ICMPV6, isIcmp, protocolName, SCTP, TCP } from './protocol.js';
import type { FlowDir, RawFlow } from './raw-flow.js';
import { TICK_MS } from './ticks.js';

const NAT_TYPES: readonly NatType[] = Object.entries(Nat)
  .sort(([, a], [, b]) => a - b)
  .map(([name]) => name.toLowerCase() as NatType);

/** The type by its number in enum nat_type. */
export function natTypeName(number: number): NatType {
  return NAT_TYPES[number] ?? 'none';
}

/** The states of the protocols that have any, by number. */
export function protocolStates(proto: number): readonly string[] | undefined {
  if (proto === TCP) return TCP_STATES;
  return proto === SCTP ? SCTP_STATES : undefined;
}

/** @param now the tick by which the flow was found alive: what is left until its deadline counts from there */
export function decodeFlow(raw: RawFlow, now: number, names: InterfaceNames): Flow {
  const protonum = raw.proto;
  const state = protocolStates(protonum)?.[raw.state];
  const flow: Flow = {
    family: raw.familyName,
    proto: protocolName(protonum),
    protonum,
    status: statusNames(raw.status),
    original: decodeTuple(raw, CtDir.ORIGINAL),
    reply: decodeTuple(raw, CtDir.REPLY),
    timeout: flowTimeout(raw, now),
    age: flowAge(raw, now),
    mark: raw.mark,
    zone: raw.zone,
    iface: names.of(raw.ifindex),
    slot: raw.slot,
    gen: raw.gen,
    natType: natTypeName(raw.nat),
    ifindex: raw.ifindex,
  };
  if (state !== undefined) flow.state = state;
  if (protonum === SCTP) flow.vtags = raw.vtags;
  if (raw.zoneDirection !== undefined) flow.zoneDirection = raw.zoneDirection;
  return flow;
}

/** Whole seconds left. */
export function flowTimeout(raw: RawFlow, now: number): number {
  return Math.floor((raw.ticksLeft(now) * TICK_MS) / 1000);
}

/** Seconds since the first packet, in tenths. */
export function flowAge(raw: RawFlow, now: number): number {
  return Math.floor((raw.ticksOld(now) * TICK_MS) / 100) / 10;
}

function decodeTuple(raw: RawFlow, dir: FlowDir): FlowTuple {
  const { saddr, daddr } = raw.tuple[dir];
  const format = raw.family === 4 ? formatIpv4 : formatIpv6;
  const src = format(raw.bytes, saddr);
  const dst = format(raw.bytes, daddr);
  const packets = raw.packets(dir);
  const bytes = raw.bytesOf(dir);
  if (hasPorts(raw.proto)) return { src, dst, sport: raw.sport(dir), dport: raw.dport(dir), packets, bytes };
  if (raw.proto === GRE) return { src, dst, key: raw.sport(dir), packets, bytes };
  if (!isIcmp(raw.proto)) return { src, dst, packets, bytes };
  const type = dir === CtDir.ORIGINAL ? raw.state : replyType(raw.proto, raw.state);
  return { src, dst, type, code: 0, id: raw.sport(dir), packets, bytes };
}

/** The type of the answer to an ICMP query (RFC 792, RFC 950, RFC 4443 section 4): all have code 0. */
function replyType(proto: number, request: number): number {
  if (proto !== ICMPV6 && request === 8) return 0;
  return request + 1;
}
