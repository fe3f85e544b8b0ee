// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP errors about the packets of a sequence, from routers on their way: right ones, cut ones, and those of
// somebody who guesses.
import type { Random } from '../tcp/random.js';
import { protocolOf } from './mutate.js';
import { hostAt, type Path, type Role } from './path.js';
import type { Operation, PacketOperation } from './sequence.js';
import { icmp, PROTO } from './wire.js';

/** Type and code. Not the redirect: a router's own stack takes that for itself. */
const ERRORS = {
  4: [
    [3, 0],
    [3, 1],
    [3, 3],
    [3, 4],
    [3, 13],
    [4, 0],
    [11, 0],
    [11, 1],
    [12, 0],
  ],
  6: [
    [1, 0],
    [1, 4],
    [2, 0],
    [3, 0],
    [4, 1],
    [100, 0],
  ],
} as const;

const SEQUENCES_APART = 0x2_0000; // a router's address is no end's

/** Puts errors behind packets of the sequence, here and there. */
export function errors(random: Random, path: Path, operations: readonly Operation[]): Operation[] {
  const before: PacketOperation[] = [];
  return operations.flatMap((operation): Operation[] => {
    if (operation.do !== 'packet' || !operation.arrived) return [operation];
    before.push(operation);
    if (!random.chance(0.06)) return [operation];
    return [operation, about(random, path, random.chance(0.7) ? operation : random.pick(before))];
  });
}

/** An error about a packet, from behind the router, where the packet was going. */
function about(random: Random, path: Path, quoted: PacketOperation): PacketOperation {
  const back: Role = quoted.from === 'client' ? 'server' : 'client';
  const sides = path.sides(back);
  const [source] = path.arrived(quoted.from!);
  const [type, code] = random.pick<readonly [number, number]>(ERRORS[path.family]);
  let quote = Buffer.from(quoted.arrived!.bytes);
  const notes: string[] = [];
  const header = path.family === 4 ? 20 : 40;
  if (random.chance(0.25)) {
    const length = random.pick([header + 8, header + 8, header + 7, header + 4, header, header - 1, 8, 0]);
    quote = quote.subarray(0, length);
    notes.push(`quoting ${quote.length} bytes`);
  }
  const proto = protocolOf(quoted.packet);
  const names = proto === PROTO.icmp || proto === PROTO.icmp6 ? [4, 5] : [0, 1, 2, 3];
  if (random.chance(0.1) && quote.length >= header + 6) {
    quote[header + random.pick(names)]! ^= 1 << random.below(8);
    notes.push('of other ports');
  }
  if (random.chance(0.05) && quote.length >= header) {
    quote[header - 1]! ^= 1;
    notes.push('of another destination');
  }
  const from = random.chance(0.3)
    ? path.arrived(quoted.from!)[1].address
    : hostAt(path.family, sides.in, SEQUENCES_APART);
  const to = random.chance(0.96) ? source.address : hostAt(path.family, sides.out, SEQUENCES_APART);
  if (to !== source.address) notes.push('to another host');
  const error = errorAbout(path, quoted, {
    type,
    code,
    rest: random.pick([0, 1400, 0xffff_ffff]),
    quote,
    from,
    to,
  });
  return { ...error, note: [error.note, ...notes].join(', ') };
}

/** An error that goes to the sender of a packet, unless `to` says otherwise. */
export function errorAbout(
  path: Path,
  quoted: PacketOperation,
  error: { type: number; code: number; rest: number; quote: Buffer; from: Buffer; to?: Buffer },
): PacketOperation {
  const { type, code, rest, quote, from } = error;
  const to = error.to ?? path.arrived(quoted.from!)[0].address;
  const enough = quote.length >= (path.family === 4 ? 20 : 40) + 8;
  return {
    do: 'packet',
    ...path.sides(quoted.from === 'client' ? 'server' : 'client'),
    packet: icmp(from, to, { type, code, rest, body: quote }),
    note: `ICMP error ${type}/${code} about "${quoted.note}"`,
    marks: enough ? ['error'] : ['error', 'short-quote'],
  };
}
