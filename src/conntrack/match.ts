// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which flows a request is about. */
import { type Address, type Cidr, formatAddress, parseAddress } from '../address.js';
import { type Filter, flowPredicate } from '../filter.js';
import { type Flow, type FlowTuple, statusBits } from '../flow.js';
import { isIcmp } from '../protocol.js';
import type { FlowOptions, MaskedAddress, Translation, TuplePorts } from './request.js';
import { flowId } from './shown.js';

export type FlowPredicate = (flow: Flow) => boolean;

/** What a request asks of flows, in two steps. */
export interface FlowQuery {
  /** What the table can tell from a slot's bytes. */
  readonly filter: Filter;
  /** The rest. */
  readonly matches: FlowPredicate;
}

/** What a flow has that its listing does not. */
export interface FlowExtras {
  /** Slots of the family's table. */
  slots(family: Flow['family']): number;
  labelsOf(flow: Flow): bigint;
}

/**
 * @param changes the command is `-U`: status, mark, state and timeout say what is to become of the flows, not which
 */
export function flowQuery(options: FlowOptions, extras: FlowExtras, changes = false): FlowQuery {
  const tests: FlowPredicate[] = [];
  const filter: { -readonly [K in keyof Filter]: Filter[K] } = {};
  if (options.family !== undefined) filter.family = options.family === 4 ? 'ipv4' : 'ipv6';
  if (options.proto !== undefined) filter.proto = options.proto;
  for (const end of ['src', 'dst'] as const) {
    const given = options[end];
    const cidr = given && cidrOf(given);
    if (cidr) filter[end] = cidr;
    else if (given) tests.push(underMask(given, (flow) => flow.original[end]));
  }
  if (options.replySrc) filter.replySrc = whole(options.replySrc);
  if (options.replyDst) filter.replyDst = whole(options.replyDst);
  addPorts(tests, options.original, (flow) => flow.original);
  addPorts(tests, options.reply, (flow) => flow.reply);
  addIcmp(tests, options);
  const { state, status, mark, id, secmark, labels } = options;
  if (!changes) {
    if (state !== undefined) tests.push((flow) => flow.state === state);
    if (status) tests.push((flow) => (statusBits(flow.status) & status) === status);
    if (mark) tests.push((flow) => (flow.mark & mark.mask) >>> 0 === mark.value);
  }
  if (id !== undefined) tests.push((flow) => flowId(flow, extras.slots(flow.family)) === id);
  addZones(tests, options);
  // no flow has a security mark
  if (secmark) tests.push(() => false);
  if (options.srcNat) tests.push(sourceNat(options.srcNat));
  if (options.dstNat) tests.push(destinationNat(options.dstNat));
  if (options.anyNat) tests.push(either(sourceNat(options.anyNat), destinationNat(options.anyNat)));
  const wanted = labels.wanted;
  if (wanted !== undefined) tests.push((flow) => (extras.labelsOf(flow) & wanted) === wanted);
  return { filter, matches: (flow) => tests.every((test) => test(flow)) };
}

/** Whether one flow is what the options ask for. */
export function isAskedFor(options: FlowOptions, extras: FlowExtras, flow: Flow): boolean {
  const { filter, matches } = flowQuery(options, extras);
  return flowPredicate(filter)(flow) && matches(flow);
}

/** A mask that is a prefix's makes one that the table can test. */
function cidrOf({ address, mask }: MaskedAddress): Cidr | undefined {
  if (!mask) return whole(address);
  const bits = [...mask.bytes].map((byte) => byte.toString(2).padStart(8, '0')).join('');
  const prefix = bits.indexOf('0') < 0 ? bits.length : bits.indexOf('0');
  if (bits.includes('1', prefix)) return undefined;
  return { ...address, prefix, bytes: address.bytes.map((byte, i) => byte & mask.bytes[i]!) };
}

function whole(address: Address): Cidr {
  return { ...address, prefix: address.bytes.length * 8 };
}

function underMask({ address, mask }: MaskedAddress, of: (flow: Flow) => string): FlowPredicate {
  return (flow) => {
    const { family, bytes } = parseAddress(of(flow));
    if (family !== address.family) return false;
    return bytes.every((byte, i) => ((byte ^ address.bytes[i]!) & mask!.bytes[i]!) === 0);
  };
}

function addPorts(tests: FlowPredicate[], { sport, dport }: TuplePorts, of: (flow: Flow) => FlowTuple): void {
  if (sport !== undefined)
    tests.push((flow) => (of(flow).sport ?? of(flow).key ?? 0) === sport && !isIcmp(flow.protonum));
  if (dport !== undefined)
    tests.push((flow) => (of(flow).dport ?? of(flow).key ?? 0) === dport && !isIcmp(flow.protonum));
}

function addIcmp(tests: FlowPredicate[], { icmpType, icmpCode, icmpId }: FlowOptions): void {
  if (icmpType !== undefined) tests.push(({ original }) => original.type === icmpType);
  if (icmpCode !== undefined) tests.push(({ original }) => original.code === icmpCode);
  if (icmpId !== undefined) tests.push(({ original }) => original.id === icmpId);
}

/** As conntrack(8): a zone of one direction is no zone of the flow, and the other way round. */
function addZones(tests: FlowPredicate[], { zone, origZone, replyZone }: FlowOptions): void {
  const add = (wanted: number | undefined, direction: Flow['zoneDirection']) => {
    if (wanted === undefined) return;
    tests.push((flow) => (flow.zoneDirection === direction ? flow.zone : 0) === wanted);
  };
  add(zone, undefined);
  add(origZone, 'original');
  add(replyZone, 'reply');
}

/**
 * With an address, that must be what the translation has put in, and a port with it as well; without one, a port that
 * alone was changed will do.
 */
function sourceNat({ address, port }: Translation): FlowPredicate {
  const text = address && formatAddress(address);
  return ({ status, original, reply }) => {
    if (!status.includes('SRC_NAT')) return false;
    const hasPort = reply.dport !== original.sport;
    if (text === undefined) return hasPort || reply.dst !== original.src;
    if (reply.dst !== text || reply.dst === original.src) return false;
    return port === undefined || (reply.dport === port && hasPort);
  };
}

function destinationNat({ address, port }: Translation): FlowPredicate {
  const text = address && formatAddress(address);
  return ({ status, original, reply }) => {
    if (!status.includes('DST_NAT')) return false;
    const hasPort = reply.sport !== original.dport;
    if (text === undefined) return hasPort || reply.src !== original.dst;
    if (reply.src !== text || reply.src === original.dst) return false;
    return port === undefined || (reply.sport === port && hasPort);
  };
}

function either(a: FlowPredicate, b: FlowPredicate): FlowPredicate {
  return (flow) => a(flow) || b(flow);
}
