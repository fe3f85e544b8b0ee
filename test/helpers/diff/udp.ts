// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Random UDP: questions, answers, streams that last, silence.
import type { Random } from '../tcp/random.js';
import type { Path } from './path.js';
import { type Operation, packetOf, type Watch, watchPath } from './sequence.js';
import { PROTO, type UdpFields, udp } from './wire.js';

/** Seconds, none near a limit that a slow machine could cross meanwhile. */
const AGES = [0, 5, 12, 20, 60, 100, 1000];
const PAYLOADS = [0, 1, 17, 100, 1400, 9000];

export function udpTalk(random: Random, path: Path): { watches: Watch[]; operations: Operation[] } {
  const operations: Operation[] = [];
  const length = random.between(2, 10);
  let waits = random.chance(0.4) ? 1 : 0;
  while (operations.length < length) {
    const next = random.weighted({ question: 48, answer: 40, wait: waits ? 12 : 0, age: 8, fix: 1 });
    if (next === 'age') operations.push({ do: 'age', seconds: random.pick(AGES) });
    else if (next === 'fix') operations.push({ do: 'fix' });
    else if (next === 'wait') {
      waits--;
      operations.push({ do: 'wait' });
    } else {
      const fields: UdpFields = { payload: random.pick(PAYLOADS) };
      if (random.chance(0.1)) fields.checksum = 'none';
      if (random.chance(0.04)) fields.length = random.pick([0, 7, 8, fields.payload + 9, 65_535]);
      const note = `UDP ${JSON.stringify(fields)}`;
      operations.push(
        packetOf(path, next === 'question' ? 'client' : 'server', (from, to) => udp(from, to, fields), note),
      );
    }
  }
  return { watches: watchPath(PROTO.udp, path), operations };
}
