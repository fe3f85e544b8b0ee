// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Random UDP: questions, answers, streams that last, silence.
import type { Random } from '../tcp/random.js';
import type { Path } from './path.js';
import { type Operation, packetOf, type Watch, watchPath } from './sequence.js';
import { talk } from './talk.js';
import { PROTO, type UdpFields, udp } from './wire.js';

const PAYLOADS = [0, 1, 17, 100, 1400, 9000];

export function udpTalk(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  const operations = talk(random, 10, (role) => {
    const fields: UdpFields = { payload: random.pick(PAYLOADS) };
    if (random.chance(0.1)) fields.checksum = 'none';
    if (random.chance(0.04)) fields.length = random.pick([0, 7, 8, fields.payload + 9, 65_535]);
    return packetOf(path, role, (from, to) => udp(from, to, fields), `UDP ${JSON.stringify(fields)}`);
  });
  return { watches: watchPath(PROTO.udp, path), operations };
}
