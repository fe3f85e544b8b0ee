// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Reads the values of options. Everything throws ConntrackUsageError in conntrack(8)'s words. */
import { type Address, parseAddress, parseCidr, prefixMask } from '../address.js';
import { SCTP_STATES, TCP_STATES } from '../flow.js';
import { DCCP, SCTP } from '../protocol.js';
import { ConntrackUsageError } from './failure.js';
import type { EventName, MaskedAddress, MaskedNumber, OutputName, Translation } from './request.js';
import { OUTPUTS } from './request.js';

/** What is none of what an option takes. */
export function badParameter(text: string): ConntrackUsageError {
  return new ConntrackUsageError(`Bad parameter \`${text}'`);
}

/**
 * A whole number in decimal, octal (0…) or hexadecimal (0x…), as strtoul(3) reads it. conntrack(8) takes what is no
 * number for 0 and cuts off what is too large: both end here.
 */
export function readNumber(text: string, max: number): number {
  if (!/^(?:0x[0-9a-f]+|[0-9]+)$/i.test(text)) throw badParameter(text);
  const number = /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text);
  if (number > max) throw badParameter(text);
  return number;
}

/** Seconds; whatever is beyond the longest timeout means that one, as in conntrack(8). */
export function readTimeout(text: string): number {
  if (text.startsWith('-')) return Number.MAX_SAFE_INTEGER;
  return readNumber(text, Number.MAX_SAFE_INTEGER);
}

/** `VALUE` or `VALUE/MASK`. */
export function readMark(text: string): MaskedNumber {
  const slash = text.indexOf('/');
  if (slash < 0) return { value: readNumber(text, MAX_U32), mask: MAX_U32 };
  try {
    const value = readNumber(text.slice(0, slash), MAX_U32);
    return { value, mask: readNumber(text.slice(slash + 1), MAX_U32) };
  } catch {
    throw badParameter(text);
  }
}

export const MAX_U32 = 0xffff_ffff;
export const MAX_PORT = 0xffff;

/** One address. */
export function readAddress(text: string): Address {
  try {
    return parseAddress(text);
  } catch {
    throw new ConntrackUsageError(`Invalid IP address \`${text}'`);
  }
}

/** `ADDRESS` or `ADDRESS/PREFIX`; an empty prefix is none. */
export function readCidr(text: string): MaskedAddress {
  const slash = text.indexOf('/');
  const address = readAddress(slash <= 0 ? text : text.slice(0, slash));
  if (slash < 0 || slash === text.length - 1) return { address };
  try {
    return { address, mask: { family: address.family, bytes: prefixMask(parseCidr(text)) } };
  } catch {
    throw new ConntrackUsageError('Invalid netmask');
  }
}

/** A mask, as an address or as its length. */
export function readMask(text: string, family: 'ipv4' | 'ipv6' | undefined): Address {
  const bits = family === 'ipv6' ? 128 : 32;
  if (!/^[0-9]{1,3}$/.test(text) || Number(text) > bits) return readAddress(text);
  const bytes = new Uint8Array(bits / 8);
  return {
    family: family ?? 'ipv4',
    bytes: prefixMask({ family: family ?? 'ipv4', bytes, prefix: Number(text) }),
  };
}

/** What `-n`, `-g` and `-j` take: nothing, `ADDRESS`, `ADDRESS:PORT` or `[ADDRESS]:PORT`. */
export function readTranslation(text: string | undefined): Translation {
  if (text === undefined) return {};
  const { host, port } = splitPort(text);
  const address = readAddress(host);
  if (port === undefined) return { address };
  if (port === '') throw new ConntrackUsageError("No port specified after `:'");
  if (!/^[0-9]+$/.test(port) || Number(port) > MAX_PORT) {
    throw new ConntrackUsageError(`Invalid port \`${port}'`);
  }
  return { address, port: Number(port) };
}

function splitPort(text: string): { host: string; port?: string } {
  if (text.startsWith('[')) {
    const close = text.indexOf(']');
    if (close < 0) throw new ConntrackUsageError("No closing ']' around IPv6 address");
    if (text[close + 1] === ':') return { host: text.slice(1, close), port: text.slice(close + 2) };
    return { host: text };
  }
  const parts = text.split(':');
  // more than one colon: IPv6 without a port
  return parts.length === 2 ? { host: parts[0]!, port: parts[1]! } : { host: text };
}

/** Words with commas between them; the beginning of one is enough, in any case. */
function readWords<T extends string>(text: string, words: readonly T[]): T[] {
  return text.split(',').map((given, i, all) => {
    // what is wrong is told with all that follows, or with a comma that nothing stands before
    const told = given === '' && i < all.length - 1 ? all.slice(i).join(',') : given;
    const word = given === '' ? undefined : words.find((each) => each.startsWith(given.toUpperCase()));
    if (word === undefined) throw badParameter(told);
    return word;
  });
}

/** Status bits by the names that can be given (IPS_* of nf_conntrack_common.h); the order decides what a beginning means. */
const STATUS_BITS = {
  ASSURED: 1 << 2,
  SEEN_REPLY: 1 << 1,
  UNSET: 0,
  FIXED_TIMEOUT: 1 << 10,
  EXPECTED: 1 << 0,
  OFFLOAD: 1 << 14,
  HW_OFFLOAD: 1 << 15,
  SRC_NAT: 0,
  DST_NAT: 0,
} as const;

/** Bits of names with commas between them. `warn` gets what there is to tell of the names. */
export function readStatus(text: string, warn: (line: string) => void): number {
  const names = readWords(text, Object.keys(STATUS_BITS) as (keyof typeof STATUS_BITS)[]);
  for (const name of names) {
    const option = name === 'SRC_NAT' ? '--src-nat' : name === 'DST_NAT' ? '--dst-nat' : undefined;
    if (option) warn(`WARNING: ignoring ${name}, use ${option} instead\n`);
  }
  return names.reduce((bits, name) => bits | STATUS_BITS[name], 0);
}

export function readOutputs(text: string): OutputName[] {
  const upper = OUTPUTS.map((name) => name.toUpperCase());
  return readWords(text, upper).map((name) => name.toLowerCase() as OutputName);
}

const EVENT_NAMES: readonly EventName[] = ['NEW', 'UPDATES', 'DESTROY'];

export function readEvents(text: string): EventName[] {
  return readWords(text, ['ALL', ...EVENT_NAMES]).flatMap((name) => (name === 'ALL' ? EVENT_NAMES : [name]));
}

export function readFamily(text: string): 4 | 6 {
  const lower = text.toLowerCase();
  if (lower === 'ipv4') return 4;
  if (lower === 'ipv6') return 6;
  throw new ConntrackUsageError(`\`${text}' unsupported protocol`);
}

/** TCP's LISTEN was given up by the kernel: its number is SYN_SENT2's today. */
const DCCP_STATES = [
  ...['NONE', 'REQUEST', 'RESPOND', 'PARTOPEN', 'OPEN', 'CLOSEREQ', 'CLOSING', 'TIMEWAIT'],
];

/** The state of a protocol that has any, as listings name it. */
export function readState(text: string, proto: number): string {
  if (proto === SCTP) return oneOf(text, SCTP_STATES, 'unknown SCTP state');
  if (proto === DCCP) return oneOf(text, DCCP_STATES, 'Unknown DCCP state');
  if (text === 'LISTEN') return 'SYN_SENT2';
  return oneOf(text, TCP_STATES, 'unknown TCP state');
}

/** Whether DCCP's first packet came from the client. */
export function readRole(text: string): string {
  return oneOf(text, ['client', 'server'], 'Unknown DCCP role');
}

function oneOf(text: string, words: readonly string[], message: string): string {
  if (words.includes(text)) return text;
  throw new ConntrackUsageError(`${message} \`${text}'`);
}
