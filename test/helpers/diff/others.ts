// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Protocols without states: UDP-Lite with its ports, GRE without a key, ESP, and a number that nobody uses.
import type { Random } from '../tcp/random.js';
import type { Path, Role } from './path.js';
import { type Operation, type PacketOperation, packetOf, type Watch } from './sequence.js';
import { talk } from './talk.js';
import { ip, PROTO, udp } from './wire.js';

/** As of any talk, and one between the limit of a UDP-Lite stream and that of the others. */
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
  const operations = talk(random, 9, (role) => datagram(random, path, role, name), AGES);
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
