// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The random connections of the TCP machine's own tests, as packets.
import type { Random } from '../tcp/random.js';
import { type Segment, textOf } from '../tcp/segment.js';
import { Sequence as Connection } from '../tcp/sequence.js';
import type { Path, Role } from './path.js';
import { type Operation, packetOf, type Watch, watchPath } from './sequence.js';
import { PROTO, tcp } from './wire.js';

/** A test run's packets are no longer (SKB_MAX_ALLOC, of which the headers need something). */
const PAYLOAD_MAX = 15_000;

export function tcpConnection(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  const connection = Connection.make(random, random.between(5, 28));
  const operations = connection.map((operation): Operation => {
    if (operation.do !== 'segment') return operation;
    const segment = bounded(operation.segment);
    const role: Role = segment.side === 'a' ? 'client' : 'server';
    return packetOf(path, role, (from, to) => tcp(from, to, segment), textOf({ ...operation, segment }));
  });
  return { watches: watchPath(PROTO.tcp, path), operations };
}

/** A segment that is too long loses its beginning: where it ends matters most. */
function bounded(segment: Segment): Segment {
  const excess = Math.max(0, segment.payload - PAYLOAD_MAX);
  return { ...segment, payload: segment.payload - excess, seq: (segment.seq + excess) >>> 0 };
}
