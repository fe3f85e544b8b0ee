// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Random ICMP queries and their answers; and types that are neither query, answer nor error.
import type { Random } from '../tcp/random.js';
import type { Path, Role } from './path.js';
import { type Mark, type Operation, packetOf, type Watch } from './sequence.js';
import { icmp, PROTO } from './wire.js';

const QUERIES = { 4: [8, 8, 8, 8, 13, 15, 17], 6: [128] } as const;
const ANSWERS: Record<number, number> = { 8: 0, 13: 14, 15: 16, 17: 18, 128: 129 };
/** Solicitations and advertisements of routers, traceroute, what was never assigned. */
const OTHERS = {
  4: [1, 2, 6, 7, 9, 10, 19, 30, 40, 255],
  6: [133, 135, 136, 138, 143, 144, 150, 200, 255],
} as const;
const AGES = [0, 5, 12, 20, 100];

export function icmpQueries(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  const query = random.pick(QUERIES[path.family]);
  const operations: Operation[] = [];
  const length = random.between(2, 10);
  const send = (role: Role, type: number, marks: Mark[] = []): void => {
    const sequence = random.below(65_536);
    const body = Buffer.alloc(random.pick([0, 8, 56]));
    const operation = packetOf(
      path,
      role,
      (from, to) => {
        // the identifier is the client's port, at whichever end stands the client
        const id = role === 'client' ? from.port : to.port;
        return icmp(from.address, to.address, { type, code: 0, rest: id * 65_536 + sequence, body });
      },
      `ICMP type ${type} id ${path.client.port}`,
    );
    operations.push({ ...operation, marks });
  };
  while (operations.length < length) {
    const next = random.weighted({ query: 40, answer: 40, age: 8, fix: 1, cross: 2, other: 4 });
    if (next === 'age') operations.push({ do: 'age', seconds: random.pick(AGES) });
    else if (next === 'fix') operations.push({ do: 'fix' });
    else if (next === 'query') send('client', query);
    else if (next === 'answer') send('server', ANSWERS[query]!);
    else if (next === 'other')
      send(random.pick(['client', 'server']), random.pick<number>(OTHERS[path.family]), ['type']);
    else if (random.chance(0.5)) send('server', query, ['cross']);
    else send('client', ANSWERS[query]!, ['cross']);
  }
  const proto = path.family === 4 ? PROTO.icmp : PROTO.icmp6;
  const id = path.client.port;
  const watches = path.tuples().map(([from, to]) => ({
    proto,
    from: { address: from.address, port: id },
    to: { address: to.address, port: query },
  }));
  if (path.way === 'plain') {
    const [from, to] = path.sent('server');
    watches.push({
      proto,
      from: { address: from.address, port: id },
      to: { address: to.address, port: query },
    });
  }
  return { watches, operations };
}
