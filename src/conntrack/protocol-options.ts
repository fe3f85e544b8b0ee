// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What each protocol adds to the command line, and what of it a command needs. */
import { DCCP, GRE, ICMP, ICMPV6, parseProtocol, SCTP, TCP, UDP, UDPLITE } from '../protocol.js';
import { ConntrackUsageError } from './failure.js';
import type { CommandLetter, OptionDefinition } from './option-table.js';
import { protocolByName } from './protocol-names.js';

function option(key: string, ...more: string[]): OptionDefinition {
  return { key, long: [key, ...more], argument: 'required' };
}

const PORTS: readonly OptionDefinition[] = [
  option('sport', 'orig-port-src'),
  option('dport', 'orig-port-dst'),
  option('reply-port-src'),
  option('reply-port-dst'),
  option('mask-port-src'),
  option('mask-port-dst'),
  option('tuple-port-src'),
  option('tuple-port-dst'),
];

const STATE = option('state');

const BY_PROTOCOL: ReadonlyMap<number, readonly OptionDefinition[]> = new Map([
  [TCP, [...PORTS, STATE]],
  [UDP, PORTS],
  [UDPLITE, PORTS],
  [SCTP, [...PORTS, STATE, option('orig-vtag'), option('reply-vtag')]],
  [DCCP, [...PORTS, STATE, option('role')]],
  [ICMP, [option('icmp-type'), option('icmp-code'), option('icmp-id')]],
  [ICMPV6, [option('icmpv6-type'), option('icmpv6-code'), option('icmpv6-id')]],
  [
    GRE,
    [
      option('srckey', 'orig-key-src'),
      option('dstkey', 'orig-key-dst'),
      option('reply-key-src'),
      option('reply-key-dst'),
      option('mask-key-src'),
      option('mask-key-dst'),
      option('tuple-key-src'),
      option('tuple-key-dst'),
    ],
  ],
]);

/** The options that `-p` brings along; protocols without any have none. */
export function protocolOptions(proto: number): readonly OptionDefinition[] {
  return BY_PROTOCOL.get(proto) ?? [];
}

/** Every protocol's options, each once. */
export const ALL_PROTOCOL_OPTIONS: readonly OptionDefinition[] = [
  ...new Map([...BY_PROTOCOL.values()].flat().map((each) => [each.key, each])).values(),
];

/**
 * The protocol given by name, ctnat's or the host's, or by number, in decimal, octal or hexadecimal.
 * @throws ConntrackUsageError
 */
export function readProtocol(text: string): number {
  if (/^(?:0x[0-9a-f]+|[0-9]+)$/i.test(text)) {
    const number = /^0[0-7]+$/.test(text) ? Number.parseInt(text, 8) : Number(text);
    if (number <= 255) return number;
  } else {
    try {
      return parseProtocol(text);
    } catch {
      const number = protocolByName(text);
      if (number !== undefined) return number;
    }
  }
  throw new ConntrackUsageError(`\`${text}' unsupported protocol`);
}

/** In what order a protocol's needs are looked for when a flow is made, and found. */
const REQUIRED: ReadonlyMap<number, { create: readonly string[]; get: readonly string[] }> = new Map([
  [TCP, { create: ['state'], get: [] }],
  [SCTP, { create: ['state', 'orig-vtag', 'reply-vtag'], get: [] }],
  [DCCP, { create: ['state', 'role'], get: [] }],
  [ICMP, { create: ['icmp-type', 'icmp-code'], get: ['icmp-type', 'icmp-code'] }],
  [ICMPV6, { create: ['icmpv6-type', 'icmpv6-code'], get: ['icmpv6-type', 'icmpv6-code'] }],
]);

/**
 * Checks that what names a flow is complete, for the commands that are about one flow.
 * @throws ConntrackUsageError
 */
export function checkProtocolOptions(
  command: CommandLetter,
  proto: number,
  given: ReadonlySet<string>,
): void {
  const creates = command === 'I' || command === 'A';
  if (!creates && command !== 'G') return;
  for (const key of REQUIRED.get(proto)?.[creates ? 'create' : 'get'] ?? []) {
    if (!given.has(key)) throw missing(key);
  }
  const has = (key: string) => given.has(key);
  const [original, reply, words] = proto === GRE ? GRE_ENDS : PORT_ENDS;
  if (protocolOptions(proto).every(({ key }) => key !== original[0])) return;
  if (original.every(has) || (reply.every(has) && !original.some(has))) return;
  throw specify(...(reply.some(has) && !original.some(has) ? words : original));
}

type Pair = readonly [string, string];

/** The reply's ports are called otherwise in the message than on the command line. */
const PORT_ENDS: readonly [Pair, Pair, Pair] = [
  ['sport', 'dport'],
  ['reply-port-src', 'reply-port-dst'],
  ['reply-src-port', 'reply-dst-port'],
];

const GRE_ENDS: readonly [Pair, Pair, Pair] = [
  ['srckey', 'dstkey'],
  ['reply-key-src', 'reply-key-dst'],
  ['reply-src-key', 'reply-dst-key'],
];

/** An option that the command can not do without. */
export function missing(key: string): ConntrackUsageError {
  return new ConntrackUsageError(`You need to supply the \`--${key}' option for this command`);
}

/** Two options that belong together. */
export function specify(first: string, second: string): ConntrackUsageError {
  return new ConntrackUsageError(`you have to specify \`--${first}' and \`--${second}'`);
}
