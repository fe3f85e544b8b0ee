// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Where ctnat differs from Netfilter on purpose, one by one, with the reason and an example that shows it.
// docs/testing.md tells users.
import { Reason } from '../../../src/generated/layouts.gen.js';
import { internetChecksum } from '../packet/checksum.js';
import { errorAbout } from './errors.js';
import { type Family, Path, type Role } from './path.js';
import {
  type Mark,
  type Operation,
  type PacketOperation,
  packetOf,
  type Sequence,
  watchPath,
} from './sequence.js';
import { cut, type Endpoint, icmp, ip, type Packet, PROTO, type TcpFields, tcp, udp } from './wire.js';

export interface Situation {
  sequence: Sequence;
  operation: Operation;
  /** Its index. */
  at: number;
  expected: string;
  actual: string;
  /** Whether two answers agree. */
  alike: (a: string, b: string) => boolean;
}

export interface Deliberate {
  name: string;
  reason: string;
  /** Whether the two differ in just this way. Left out: random sequences do not come there. */
  applies?: (situation: Situation) => boolean;
  /** Whether the two can be compared afterwards. */
  after?: 'goes on' | 'ends';
  /** undefined: there is none in this family. */
  example: (family: Family) => Example | undefined;
}

export interface Example {
  sequence: Sequence;
  /** What the two say of the last packet, each a beginning of the answer. */
  netfilter: string;
  ctnat: string;
  /** Netfilter is to look at checksums. */
  checksum?: true;
}

const PORT_FIXED = Reason.DROP_PORT_FIXED;
const PORTS = { client: 40_000, server: 80 };

export const DELIBERATE: readonly Deliberate[] = [
  {
    name: 'no leak',
    reason:
      'What Netfilter finds INVALID goes out as it came, with an inside address that the peer answers with a ' +
      'RST. ctnat drops what can not be translated (invariant 3).',
    applies: ({ sequence, expected, actual, alike }) =>
      sequence.path.way !== 'plain' && alike(expected.replace(/^invalid same /, 'invalid lost '), actual),
    after: 'goes on',
    example: (family) => {
      const path = new Path(family, 'masquerade', 0, PORTS);
      return {
        sequence: scene(path, PROTO.tcp, [segment(path, 'client', { flags: 4 })]),
        netfilter: 'invalid same -',
        ctnat: 'invalid lost -',
      };
    },
  },
  {
    name: 'short quote',
    reason:
      'RFC 792 has an ICMP error quote the header and 8 bytes. Netfilter believes one that quotes 4, enough for ' +
      'the ports; to ctnat it is INVALID.',
    applies: ({ operation, expected, actual, alike }) =>
      marked(operation, 'short-quote') &&
      ['same', 'lost'].some((outcome) =>
        alike(expected.replace(/^related \w+/, `invalid ${outcome}`), actual),
      ),
    after: 'goes on',
    example: (family) => {
      const path = new Path(family, 'plain', 0, PORTS);
      const question = datagram(path, 'client');
      const quote = question.packet.bytes.subarray(0, (family === 4 ? 20 : 40) + 4);
      const type = family === 4 ? 3 : 1;
      const from = path.server.address;
      const error = errorAbout(path, question, { type, code: 0, rest: 0, quote, from });
      return {
        sequence: scene(path, PROTO.udp, [question, error]),
        netfilter: 'related same',
        ctnat: 'invalid same',
      };
    },
  },
  {
    name: 'picked up near 0',
    reason:
      'Netfilter takes the peer of a connection picked up in the middle to have sent up to number 0. So it ' +
      'learns from a first ACK that acknowledges a number just below 0 what it learns from no other.',
    applies: ({ expected, actual, alike }) =>
      expected.startsWith('new ') && alike(withoutAcked(expected), withoutAcked(actual)),
    after: 'ends',
    example: (family) => {
      const path = new Path(family, 'plain', 0, PORTS);
      return {
        sequence: scene(path, PROTO.tcp, [segment(path, 'client', { flags: 16, ack: 0xffff_fff0 })]),
        netfilter: 'new same o,3,0,42,',
        ctnat: 'new same o,3,0,10,',
      };
    },
  },
  {
    name: 'port of a refused connection',
    reason:
      'A connection whose only answer was a RST ends with that RST, which has to pass a second hook: the tuple ' +
      'stays taken for a tick or two (34 ms). A flow that begins meanwhile and wants the same port outside gets ' +
      'another.',
    applies: ({ sequence, at, expected, actual }) =>
      !expected.includes(':*') &&
      actual.includes(':*') &&
      sequence.operations
        .slice(0, at)
        .some((before) => before.do === 'packet' && before.note.includes('RST')),
    after: 'ends',
    example: (family) => {
      const path = new Path(family, 'masquerade', 0, PORTS);
      const operations = [
        segment(path, 'server', { flags: 16, seq: 1000, ack: 1000 }),
        segment(path, 'server', { flags: 20, seq: 1000, ack: 1000 }),
        segment(path, 'client', { flags: 2, seq: 5000 }),
      ];
      return { sequence: scene(path, PROTO.tcp, operations), netfilter: 'new ', ctnat: 'new ' };
    },
  },
  {
    name: 'ports that can not change',
    reason:
      'Protocols without ports have none to choose. Where the tuple outside is taken Netfilter loses the flow ' +
      'without a word; ctnat refuses it and counts drop_port_fixed.',
    applies: ({ expected, actual }) =>
      expected.startsWith('new ') && actual.startsWith(`reason-${PORT_FIXED} lost `),
    after: 'ends',
    example: (family) => {
      const path = new Path(family, 'masquerade', 0, { client: 0, server: 0 });
      const message = Buffer.from('0000010000000001', 'hex');
      const esp = (role: Role): PacketOperation =>
        packetOf(path, role, (from, to) => ip(from.address, to.address, PROTO.esp, message, 16), 'ESP');
      const operations = [esp('server'), esp('client')];
      return {
        sequence: scene(path, PROTO.esp, operations),
        netfilter: 'new lost',
        ctnat: `reason-${PORT_FIXED} lost`,
      };
    },
  },
  {
    name: 'ping both ways',
    reason:
      'Two hosts that send each other queries of one kind with one identifier (Windows takes 1 for all) are two ' +
      'flows to Netfilter and one to ctnat, whose keys are the same from both ends.',
    applies: ({ sequence, at }) =>
      sequence.operations.slice(0, at + 1).some((operation) => marked(operation, 'cross')),
    after: 'ends',
    example: (family) => {
      const path = new Path(family, 'plain', 0, PORTS);
      const query = family === 4 ? 8 : 128;
      const operations = [ping(path, 'client', query), ping(path, 'server', query)];
      return { sequence: pings(path, operations), netfilter: 'new same', ctnat: 'established same' };
    },
  },
  {
    name: 'checksums',
    reason:
      'ctnat looks at no L4 checksum, as Netfilter with net.netfilter.nf_conntrack_checksum=0: with offloading ' +
      'there is none yet where the hooks are. A wrong one stays wrong when the packet is translated, and its ' +
      'receiver drops it.',
    example: (family) => {
      const path = new Path(family, 'plain', 0, PORTS);
      const wrong = datagram(path, 'client');
      wrong.packet.bytes[(family === 4 ? 20 : 40) + 6]! ^= 0x40;
      return {
        sequence: scene(path, PROTO.udp, [wrong]),
        netfilter: 'invalid same -',
        ctnat: 'new same o',
        checksum: true,
      };
    },
  },
  {
    name: "an ICMP query's code",
    reason:
      'The code of every ICMP query is 0 (RFC 792, RFC 4443). Netfilter takes queries that differ in it for ' +
      'different flows; ctnat does not look at it.',
    example: (family) => {
      const path = new Path(family, 'plain', 0, PORTS);
      const operations = [
        ping(path, 'client', family === 4 ? 8 : 128),
        ping(path, 'server', family === 4 ? 0 : 129, 1),
      ];
      return { sequence: pings(path, operations), netfilter: 'invalid same', ctnat: 'established same' };
    },
  },
  {
    name: 'node information',
    reason:
      "ICMPv6's node information queries (RFC 4620, experimental) begin no flow with ctnat: they are INVALID.",
    example: (family) => {
      if (family === 4) return undefined;
      const path = new Path(family, 'plain', 0, PORTS);
      return {
        sequence: pings(path, [ping(path, 'client', 139)]),
        netfilter: 'new same',
        ctnat: 'invalid same',
      };
    },
  },
  {
    name: 'fragments',
    reason:
      'Netfilter holds fragments until it has all, judges the datagram and takes it apart again. ctnat lets each ' +
      'go at once: the first names the flow, the others follow it.',
    example: (family) => {
      if (family === 6) return undefined;
      const path = new Path(family, 'plain', 0, PORTS);
      const question = datagram(path, 'client');
      const first = { ...question, packet: moreFragments(cut(question.packet, 20 + 16)) };
      return { sequence: scene(path, PROTO.udp, [first]), netfilter: 'none lost', ctnat: 'new same' };
    },
  },
];

/** An answer without "has acknowledged something" (flag 32) of the original side of what is ESTABLISHED. */
function withoutAcked(answer: string): string {
  return answer.replace(/,3,(\d+),4([23]),/g, (_, status, flags) => `,3,${status},${Number(flags) + 8},`);
}

function marked(operation: Operation, mark: Mark): boolean {
  return operation.do === 'packet' && operation.marks.includes(mark);
}

function scene(path: Path, proto: number, operations: Operation[]): Sequence {
  const watches = watchPath(proto, path);
  return { seed: 0, family: path.family, kind: 'example', path, watches, operations };
}

/** With the flow that the first of the queries began. */
function pings(path: Path, operations: PacketOperation[]): Sequence {
  const [from, to] = path.sent('client');
  const { bytes } = operations[0]!.packet;
  const proto = path.family === 4 ? PROTO.icmp : PROTO.icmp6;
  const query = bytes[path.family === 4 ? 20 : 40]!;
  const ends = { from, to: { address: to.address, port: query } };
  const back = { from: { ...to, port: from.port }, to: { address: from.address, port: query } };
  const watches = [ends, back].map((tuple) => ({ proto, ...tuple }));
  return { seed: 0, family: path.family, kind: 'example', path, watches, operations };
}

function segment(path: Path, role: Role, fields: Partial<TcpFields>): PacketOperation {
  const whole = { flags: 0, seq: 0, ack: 0, window: 1000, options: '', payload: 0, ...fields };
  const note = whole.flags & 4 ? 'RST' : '';
  return packetOf(path, role, (from, to) => tcp(from, to, whole), note);
}

function datagram(path: Path, role: Role): PacketOperation {
  return packetOf(path, role, (from, to) => udp(from, to, { payload: 24 }), 'UDP');
}

function ping(path: Path, role: Role, type: number, code = 0): PacketOperation {
  const rest = path.client.port * 65_536 + 1;
  const body = Buffer.alloc(8);
  const build = (from: Endpoint, to: Endpoint): Packet =>
    icmp(from.address, to.address, { type, code, rest, body });
  return packetOf(path, role, build, `ICMP ${type}/${code}`);
}

/** An IPv4 packet that says it is not the last fragment. */
function moreFragments(packet: Packet): Packet {
  const bytes = Buffer.from(packet.bytes);
  bytes.writeUInt16BE(0x2000, 6);
  bytes.writeUInt16BE(0, 10);
  bytes.writeUInt16BE(internetChecksum(bytes.subarray(0, 20)), 10);
  return { ...packet, bytes };
}
