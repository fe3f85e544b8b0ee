// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Random SCTP associations: opened, used, shut down, aborted, opened again from either side, with wrong
// verification tags and chunks bundled as nobody may.
import { crc32c } from '../packet/checksum.js';
import type { Random } from '../tcp/random.js';
import type { Path, Role } from './path.js';
import { type Operation, packetOf, type Watch, watchPath } from './sequence.js';
import { ip, PROTO } from './wire.js';

/** Chunk types (RFC 9260 section 3.2). */
const CHUNK = {
  data: 0,
  init: 1,
  initAck: 2,
  sack: 3,
  heartbeat: 4,
  heartbeatAck: 5,
  abort: 6,
  shutdown: 7,
  shutdownAck: 8,
  error: 9,
  cookieEcho: 10,
  cookieAck: 11,
  shutdownComplete: 14,
} as const;
type ChunkName = keyof typeof CHUNK;

/** Seconds, none near a limit that a slow machine could cross meanwhile. */
const AGES = [0, 20, 60, 120, 500, 100_000];

const OTHER: Record<Role, Role> = { client: 'server', server: 'client' };

export function sctpAssociation(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  const operations: Operation[] = [];
  /** The tag that packets to this end carry. */
  const tags: Record<Role, number> = { client: random.next(), server: random.next() };
  const send = (from: Role, ...chunks: ChunkName[]): void => {
    const fate = random.weighted({ pass: 92, lose: 5, twice: 3 });
    if (fate === 'lose') return;
    const operation = packet(random, path, from, tags, chunks);
    operations.push(operation);
    if (fate === 'twice') operations.push(operation);
  };
  const open = (from: Role): void => {
    tags[from] = random.next();
    send(from, 'init');
    tags[OTHER[from]] = random.next();
    send(OTHER[from], 'initAck');
    send(from, 'cookieEcho', ...(random.chance(0.3) ? (['data'] as const) : []));
    send(OTHER[from], 'cookieAck');
  };
  const close = (from: Role): void => {
    send(from, 'shutdown');
    send(OTHER[from], 'shutdownAck');
    send(from, 'shutdownComplete');
  };
  if (random.chance(0.85)) open('client');
  const length = random.between(4, 20);
  while (operations.length < length) {
    const side: Role = random.chance(0.5) ? 'client' : 'server';
    const next = random.weighted({
      data: 20,
      sack: 10,
      heartbeat: 8,
      close: 5,
      open: 4,
      collide: 2,
      any: 14,
      bundle: 5,
      abort: 2,
      age: 6,
      fix: 1,
    });
    if (next === 'data') send(side, 'data', ...(random.chance(0.3) ? (['sack'] as const) : []));
    else if (next === 'sack') send(side, 'sack');
    else if (next === 'heartbeat') {
      send(side, 'heartbeat');
      if (random.chance(0.8)) send(OTHER[side], 'heartbeatAck');
    } else if (next === 'close') close(side);
    else if (next === 'open') open(side);
    else if (next === 'collide') {
      send('client', 'init');
      send('server', 'init');
      send('client', 'initAck');
      send('server', 'initAck');
      send('client', 'cookieEcho');
      send('server', 'cookieAck');
    } else if (next === 'any') send(side, any(random));
    else if (next === 'bundle') send(side, any(random), any(random));
    else if (next === 'abort') send(side, 'abort');
    else if (next === 'age') operations.push({ do: 'age', seconds: random.pick(AGES) });
    else operations.push({ do: 'fix' });
  }
  return { watches: watchPath(PROTO.sctp, path), operations };
}

function any(random: Random): ChunkName {
  return random.pick(Object.keys(CHUNK) as ChunkName[]);
}

/** A packet of these chunks, with the right tag as a rule. */
function packet(
  random: Random,
  path: Path,
  role: Role,
  tags: Record<Role, number>,
  names: readonly ChunkName[],
): Extract<Operation, { do: 'packet' }> {
  let tag = names.includes('init') ? 0 : tags[OTHER[role]];
  let flags = 0;
  if ((names[0] === 'abort' || names[0] === 'shutdownComplete') && random.chance(0.3)) {
    flags = 1; // reflected: the sender has no tag of its own
    tag = tags[role];
  }
  if (random.chance(0.06)) tag = random.pick([0, random.next(), tags[role]]);
  const chunks = names.map((name) => chunk(name, flags, tags[role]));
  const note = `SCTP ${names.join('+')} tag ${tag}${flags ? ' reflected' : ''}`;
  return packetOf(
    path,
    role,
    (from, to) => {
      const header = Buffer.alloc(12);
      header.writeUInt16BE(from.port, 0);
      header.writeUInt16BE(to.port, 2);
      header.writeUInt32BE(tag, 4);
      const message = Buffer.concat([header, ...chunks]);
      message.writeUInt32LE(crc32c(message), 8);
      return ip(from.address, to.address, PROTO.sctp, message);
    },
    note,
  );
}

/** `tag`: what INIT and INIT ACK announce. */
function chunk(name: ChunkName, flags: number, tag: number): Buffer {
  const body = Buffer.alloc(name === 'init' || name === 'initAck' ? 16 : name === 'data' ? 16 : 4);
  if (body.length === 16 && name !== 'data') body.writeUInt32BE(tag, 0);
  const header = Buffer.from([CHUNK[name], flags, 0, 4 + body.length]);
  return Buffer.concat([header, body]);
}
