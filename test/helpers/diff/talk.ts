// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// How ends talk that keep no state but the flow's: questions, answers, and in between time that passes, which for
// the flow may be more than a talk outlives.
import type { Random } from '../tcp/random.js';
import type { Role } from './path.js';
import type { Operation, PacketOperation } from './sequence.js';

/** Seconds, none near a limit that a slow machine could cross meanwhile. */
const AGES = [0, 5, 12, 20, 60, 100, 1000];

/**
 * Two operations at least.
 * @param most operations
 * @param datagram makes the next one that this end sends
 * @param ages how old flows become, in seconds
 */
export function talk(
  random: Random,
  most: number,
  datagram: (from: Role) => PacketOperation,
  ages: readonly number[] = AGES,
): Operation[] {
  const operations: Operation[] = [];
  const length = random.between(2, most);
  let waits = random.chance(0.4) ? 1 : 0;
  while (operations.length < length) {
    const next = random.weighted({ question: 48, answer: 40, wait: waits ? 12 : 0, age: 8, fix: 1 });
    if (next === 'age') operations.push({ do: 'age', seconds: random.pick(ages) });
    else if (next === 'fix') operations.push({ do: 'fix' });
    else if (next === 'wait') {
      waits--;
      operations.push({ do: 'wait' });
    } else operations.push(datagram(next === 'question' ? 'client' : 'server'));
  }
  return operations;
}
