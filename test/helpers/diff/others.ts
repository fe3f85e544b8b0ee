// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Protocols without states: UDP-Lite with its ports, GRE without a key, ESP, and a number that nobody uses.
import type { Random } from '../tcp/random.js';
import type { Path, Role } from './path.js';
import { type Operation, type PacketOperation, packetOf, type Watch } from './sequence.js';
import { ip, PROTO, udp } from './wire.js';

/** Seconds, none near a limit that a slow machine could cross meanwhile. */
const AGES = [0, 5, 12, 20, 60, 100, 400, 1000];

const PROTOCOLS = {
  udplite: PROTO.udplite,
  gre: PROTO.gre,
  esp: PROTO.esp,
  unused: 252,
} as const;

export function otherTalk(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  // a forwarded address leads to one host, and these know nothing but addresses: nothing tells its flows apart
  const name =
    path.way === 'forward' ? 'udplite' : random.weighted({ udplite: 3, gre: 3, esp: 2, unused: 1 });
  const operations: Operation[] = [];
  const length = random.between(2, 9);
  let waits = random.chance(0.4) ? 1 : 0;
  while (operations.length < length) {
    const next = random.weighted({ question: 48, answer: 40, wait: waits ? 12 : 0, age: 8, fix: 1 });
    if (next === 'age') operations.push({ do: 'age', seconds: random.pick(AGES) });
    else if (next === 'fix') operations.push({ do: 'fix' });
    else if (next === 'wait') {
      waits--;
      operations.push({ do: 'wait' });
    } else operations.push(datagram(random, path, next === 'question' ? 'client' : 'server', name));
  }
  const proto = PROTOCOLS[name];
  const watches = path.tuples().map(([from, to]) => ({
    proto,
    from: name === 'udplite' ? from : { ...from, port: 0 },
    to: name === 'udplite' ? to : { ...to, port: 0 },
  }));
  return { watches, operations };
}

function datagram(random: Random, path: Path, role: Role, name: keyof typeof PROTOCOLS): PacketOperation {
  const proto = PROTOCOLS[name];
  const payload = random.pick([8, 16, 100, 1200]);
  if (name === 'udplite') {
    const fields = { payload, lite: true, ...(random.chance(0.1) && { length: random.pick([7, 8, 9000]) }) };
    const note = `UDP-Lite ${JSON.stringify(fields)}`;
    return packetOf(path, role, (from, to) => udp(from, to, fields), note);
  }
  // GRE: no flags, IPv4 inside; ESP: an SPI and a sequence number; of the last no bit means anything
  const message = Buffer.from(name === 'gre' ? '00000800' : '0000010000000001', 'hex');
  return packetOf(
    path,
    role,
    (from, to) => ip(from.address, to.address, proto, message, payload),
    `${name}, ${payload} bytes`,
  );
}
