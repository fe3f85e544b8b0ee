// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a sequence is: packets of one flow and about it, in their order, and what happens in between.
import { Random } from '../tcp/random.js';
import type { SettingName } from '../tcp/segment.js';
import { errors } from './errors.js';
import { icmpQueries } from './icmp.js';
import { damage } from './mutate.js';
import { otherTalk } from './others.js';
import { type Family, Path, type Role, type SideName } from './path.js';
import { sctpAssociation } from './sctp.js';
import { tcpConnection } from './tcp.js';
import { udpTalk } from './udp.js';
import type { Endpoint, Packet } from './wire.js';

export interface PacketOperation {
  do: 'packet';
  in: SideName;
  out: SideName;
  packet: Packet;
  /** What it is, for whoever reads a failure. */
  note: string;
  /** Who sends it and the same packet as its receiver sees it: an ICMP error quotes that. */
  from?: Role;
  arrived?: Packet;
  /** What was done to it on purpose, by which deliberate differences are told. */
  marks: readonly Mark[];
}

/**
 * checksum: wrong. truncated: ends within its L4 header. cross: an ICMP query or
 * answer against its flow's direction. type: ICMP, neither query, answer nor error. error: an ICMP error.
 * short-quote: one that quotes less than RFC 792 asks for.
 */
export type Mark = 'checksum' | 'cross' | 'truncated' | 'error' | 'type' | 'short-quote';

export type Operation =
  | PacketOperation
  /** All flows of the sequence have so long to live from now on; 0: they expire. */
  | { do: 'age'; seconds: number }
  | { do: 'fix' }
  | { do: 'set'; name: SettingName; value: number }
  /** Longer than two seconds pass, after which a UDP flow counts as a stream. */
  | { do: 'wait' };

export interface Watch {
  proto: number;
  from: Endpoint;
  to: Endpoint;
}

export interface Sequence {
  /** What makes it again. */
  seed: number;
  family: Family;
  kind: string;
  path: Path;
  watches: Watch[];
  operations: Operation[];
}

/** Sequences that a tracker keeps apart. */
export const SEQUENCES_MAX = 16_384;

const KINDS = {
  tcp: { weight: 12, make: tcpConnection },
  udp: { weight: 4, make: udpTalk },
  icmp: { weight: 3, make: icmpQueries },
  sctp: { weight: 2, make: sctpAssociation },
  other: { weight: 2, make: otherTalk },
} as const;

export type Kind = keyof typeof KINDS;

/** The sequence of a seed. */
export function makeSequence(seed: number, family: Family, only?: Kind): Sequence {
  const random = new Random(seed);
  const weights = Object.fromEntries(Object.entries(KINDS).map(([kind, { weight }]) => [kind, weight]));
  const kind = only ?? (random.weighted(weights) as Kind);
  const path = Path.make(random, family, seed % SEQUENCES_MAX);
  const { watches, operations } = KINDS[kind].make(random, path);
  return {
    seed,
    family,
    kind,
    path,
    watches,
    operations: errors(random, path, damage(random, operations)),
  };
}

/** The watches of a protocol that has ports, or nothing in their place. */
export function watchPath(proto: number, path: Path): Watch[] {
  return path.tuples().map(([from, to]) => ({ proto, from, to }));
}

/** A packet from one of the two ends to the other. `build` makes it from endpoints as they are at one end. */
export function packetOf(
  path: Path,
  from: Role,
  build: (source: Endpoint, destination: Endpoint) => Packet,
  note: string,
): PacketOperation {
  const packet = build(...path.sent(from));
  const arrived = path.way === 'plain' ? packet : build(...path.arrived(from));
  return { do: 'packet', ...path.sides(from), packet, arrived, from, note: `${from}: ${note}`, marks: [] };
}
