// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Which flows or mappings a command is about. Every given field must match; the fields are of the original
 * tuple except replySrc and replyDst. ICMP's identifier and GRE's key match where a port is asked for.
 */
import { type Cidr, cidrContains, type Family, formatAddress, parseAddress, parseCidr } from './address.js';
import { UsageError } from './errors.js';
import { FILTER_STATES, type Flow, type FlowTuple, SCTP_STATES, TCP_STATES } from './flow.js';
import { isDestinationNat, type Mapping } from './mapping.js';
import { type PortRange, parsePortRange } from './port-range.js';
import { parseProtocol, protocolName, SCTP, TCP } from './protocol.js';
import { didYouMean } from './suggest.js';

export interface Filter {
  readonly family?: Family;
  readonly proto?: number;
  readonly src?: Cidr;
  readonly dst?: Cidr;
  readonly sport?: PortRange;
  readonly dport?: PortRange;
  readonly replySrc?: Cidr;
  readonly replyDst?: Cidr;
  /** Any of these. */
  readonly states?: readonly string[];
  readonly iface?: string;
  /** The bits of `mask` are those of `value`. */
  readonly mark?: { readonly value: number; readonly mask: number };
  /** Of either direction. */
  readonly zone?: number;
}

/** The filter's flags as text. */
export interface FilterText {
  readonly family?: string;
  readonly proto?: string;
  readonly src?: string;
  readonly dst?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly replySrc?: string;
  readonly replyDst?: string;
  readonly state?: string;
  readonly iface?: string;
  readonly mark?: string;
  readonly zone?: string;
}

/** True if the filter lets everything through. */
export function isEmptyFilter(filter: Filter): boolean {
  return Object.keys(filter).length === 0;
}

/**
 * Makes a filter of its flags.
 * @throws UsageError naming the flag
 */
export function parseFilter(text: FilterText): Filter {
  const filter: { -readonly [K in keyof Filter]: Filter[K] } = {};
  if (text.family !== undefined) filter.family = flag('--family', () => parseFamily(text.family!));
  if (text.proto !== undefined) filter.proto = flag('--proto', () => parseProtocol(text.proto!));
  for (const [key, name] of ADDRESS_FLAGS) {
    const value = text[key];
    if (value !== undefined) filter[key] = flag(name, () => parseCidr(value));
  }
  if (text.sport !== undefined) filter.sport = flag('--sport', () => parsePortRange(text.sport!, 0));
  if (text.dport !== undefined) filter.dport = flag('--dport', () => parsePortRange(text.dport!, 0));
  if (text.state !== undefined) {
    filter.states = flag('--state', () => parseStates(text.state!, filter.proto));
  }
  if (text.iface !== undefined) filter.iface = text.iface;
  if (text.mark !== undefined) filter.mark = flag('--mark', () => parseMark(text.mark!));
  if (text.zone !== undefined) filter.zone = flag('--zone', () => parseNumber(text.zone!, 0xffff));
  checkFamilies(filter);
  return filter;
}

const ADDRESS_FLAGS = [
  ['src', '--src'],
  ['dst', '--dst'],
  ['replySrc', '--reply-src'],
  ['replyDst', '--reply-dst'],
] as const;

function flag<T>(name: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new UsageError(`${name}: ${(error as Error).message}`, { cause: error });
  }
}

/** Reads ipv4, ipv6, inet, inet6, 4 or 6. */
export function parseFamily(text: string): Family {
  const lower = text.toLowerCase();
  if (lower === 'ipv4' || lower === '4' || lower === 'inet') return 'ipv4';
  if (lower === 'ipv6' || lower === '6' || lower === 'inet6') return 'ipv6';
  throw new RangeError(`unknown family "${text}"${didYouMean(lower, ['ipv4', 'ipv6'])}; give ipv4 or ipv6`);
}

/** Reads VALUE or VALUE/MASK; without a mask every bit counts. Bits of the value outside the mask do not. */
function parseMark(text: string): { value: number; mask: number } {
  const [value = '', mask, ...rest] = text.split('/');
  if (rest.length > 0) throw new RangeError(`expected VALUE or VALUE/MASK, got ${JSON.stringify(text)}`);
  const bits = mask === undefined ? 0xffff_ffff : parseNumber(mask, 0xffff_ffff);
  return { value: (parseNumber(value, 0xffff_ffff) & bits) >>> 0, mask: bits };
}

/** A number in decimal, or in hexadecimal behind 0x. */
function parseNumber(text: string, max: number): number {
  const number = /^([0-9]{1,10}|0[xX][0-9a-fA-F]{1,8})$/.test(text) ? Number(text) : Number.NaN;
  if (number <= max) return number;
  throw new RangeError(`expected a number from 0 to ${max}, got ${JSON.stringify(text)}`);
}

function parseStates(text: string, proto: number | undefined): readonly string[] {
  if (proto !== undefined && proto !== TCP && proto !== SCTP) {
    throw new RangeError(`${protocolName(proto)} has no states; only tcp and sctp do`);
  }
  const known = proto === TCP ? TCP_STATES : proto === SCTP ? SCTP_STATES : FILTER_STATES;
  return text.split(',').map((word) => {
    const state = word.trim().toUpperCase();
    if ((known as readonly string[]).includes(state)) return state;
    throw new RangeError(`unknown state "${word}"${didYouMean(state, known)}; give ${known.join(', ')}`);
  });
}

function checkFamilies(filter: Filter): void {
  let family = filter.family;
  for (const [key, name] of ADDRESS_FLAGS) {
    const cidr = filter[key];
    if (!cidr) continue;
    family ??= cidr.family;
    if (cidr.family !== family) {
      throw new UsageError(`${name}: an ${cidr.family} address can not match: the filter asks for ${family}`);
    }
  }
}

/** Makes the predicate for flows: checks the cheapest fields first. */
export function flowPredicate(filter: Filter): (flow: Flow) => boolean {
  const { family, proto, sport, dport, states, iface, mark, zone } = filter;
  const src = addressPredicate(filter.src);
  const dst = addressPredicate(filter.dst);
  const replySrc = addressPredicate(filter.replySrc);
  const replyDst = addressPredicate(filter.replyDst);
  const wantedFamily = family ?? (filter.src ?? filter.dst ?? filter.replySrc ?? filter.replyDst)?.family;
  return (flow) =>
    (proto === undefined || flow.protonum === proto) &&
    (wantedFamily === undefined || flow.family === wantedFamily) &&
    (sport === undefined || inRange(sport, sourcePort(flow.original))) &&
    (dport === undefined || inRange(dport, destinationPort(flow.original))) &&
    (states === undefined || (flow.state !== undefined && states.includes(flow.state))) &&
    (iface === undefined || flow.iface === iface) &&
    (mark === undefined || (flow.mark & mark.mask) >>> 0 === mark.value) &&
    (zone === undefined || flow.zone === zone) &&
    (src === undefined || src(flow.original.src)) &&
    (dst === undefined || dst(flow.original.dst)) &&
    (replySrc === undefined || replySrc(flow.reply.src)) &&
    (replyDst === undefined || replyDst(flow.reply.dst));
}

/**
 * Makes the predicate for mappings, read as the flow that made them: a source mapping's original tuple goes
 * from internal to remote, a destination mapping's from remote to external. What a mapping without a
 * remote does not know matches nothing, nor does a mark or a zone, which only flows have.
 */
export function mappingPredicate(filter: Filter): (mapping: Mapping) => boolean {
  const { family, proto, sport, dport, states, iface } = filter;
  const src = addressPredicate(filter.src);
  const dst = addressPredicate(filter.dst);
  const replySrc = addressPredicate(filter.replySrc);
  const replyDst = addressPredicate(filter.replyDst);
  if (filter.mark || filter.zone !== undefined) return () => false;
  return (mapping) => {
    const toInside = isDestinationNat(mapping);
    const { internal, external, remote } = mapping;
    const source = toInside ? remote : internal;
    const destination = toInside ? external : remote;
    const replySource = toInside ? internal : remote;
    const replyDestination = toInside ? remote : external;
    return (
      (proto === undefined || mapping.protonum === proto) &&
      (family === undefined || mapping.family === family) &&
      (sport === undefined || (source !== null && inRange(sport, source.port))) &&
      (dport === undefined || (destination !== null && inRange(dport, destination.port))) &&
      (states === undefined || (mapping.state !== undefined && states.includes(mapping.state))) &&
      (iface === undefined || mapping.iface === iface) &&
      (src === undefined || (source !== null && src(source.address))) &&
      (dst === undefined || (destination !== null && dst(destination.address))) &&
      (replySrc === undefined || (replySource !== null && replySrc(replySource.address))) &&
      (replyDst === undefined || (replyDestination !== null && replyDst(replyDestination.address)))
    );
  };
}

function inRange(range: PortRange, port: number | undefined): boolean {
  return port !== undefined && port >= range.min && port <= range.max;
}

function sourcePort(tuple: FlowTuple): number | undefined {
  return tuple.sport ?? tuple.id ?? tuple.key;
}

function destinationPort(tuple: FlowTuple): number | undefined {
  return tuple.dport ?? tuple.id ?? tuple.key;
}

/** A predicate on canonical address text; a whole address is compared as text. */
function addressPredicate(cidr: Cidr | undefined): ((address: string) => boolean) | undefined {
  if (!cidr) return undefined;
  if (cidr.prefix === cidr.bytes.length * 8) {
    const text = formatAddress(cidr);
    return (address) => address === text;
  }
  if (cidr.family === 'ipv6') {
    return (address) => address.includes(':') && cidrContains(cidr, parseAddress(address).bytes);
  }
  const [a = 0, b = 0, c = 0, d = 0] = cidr.bytes;
  const network = ((a << 24) | (b << 16) | (c << 8) | d) >>> 0;
  const size = 2 ** (32 - cidr.prefix);
  return (address) => {
    const number = ipv4Number(address);
    return number >= network && number < network + size;
  };
}

/** The number of canonical dotted decimal, -1 for an IPv6 address. */
function ipv4Number(text: string): number {
  let number = 0;
  let octet = 0;
  for (let i = 0; i < text.length; i++) {
    const code = text.charCodeAt(i);
    if (code === 0x2e) {
      number = number * 256 + octet;
      octet = 0;
    } else if (code >= 0x30 && code <= 0x39) {
      octet = octet * 10 + code - 0x30;
    } else {
      return -1;
    }
  }
  return number * 256 + octet;
}
