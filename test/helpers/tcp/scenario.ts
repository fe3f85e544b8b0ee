// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Scripted connections: segments, and what a tracker makes of each. Run against the native build and the kernel.

import { alike } from './compare.js';
import {
  ACK,
  ASSURED,
  FIN,
  type Observation,
  type Operation,
  PSH,
  RST,
  SEEN_REPLY,
  type Segment,
  type Side,
  STATES,
  type State,
  SYN,
  segment,
  textOf,
  URG,
} from './segment.js';
import type { Tracker } from './tracker.js';

/**
 * A segment with what it must become: CLASS [STATE REPLIES TIMEOUT [ORIGIN]], where REPLIES is UNREPLIED,
 * REPLIED or ASSURED; without a state there must be no entry.
 */
export type Step = readonly [segment: Segment, becomes: string] | Operation;

export interface Scenario {
  name: string;
  steps: readonly Step[];
}

const LETTERS: Record<string, number> = { F: FIN, S: SYN, R: RST, P: PSH, A: ACK, U: URG };

/** A segment of side a; flags are letters of FSRPAU, "-" for none. */
export function a(flags: string, seq: number, ack = 0, fields: Partial<Segment> = {}): Segment {
  return side('a', flags, seq, ack, fields);
}

export function b(flags: string, seq: number, ack = 0, fields: Partial<Segment> = {}): Segment {
  return side('b', flags, seq, ack, fields);
}

function side(which: Side, flags: string, seq: number, ack: number, fields: Partial<Segment>): Segment {
  const bits = [...flags].reduce((sum, letter) => sum | (LETTERS[letter] ?? 0), 0);
  return segment(which, bits, seq, { ack, window: 65_535, ...fields });
}

/** Plays a scenario. Returns what went wrong first, or undefined. */
export async function play(tracker: Tracker, { steps }: Scenario): Promise<string | undefined> {
  const operations = steps.map((step) =>
    isOperation(step) ? step : { do: 'segment' as const, segment: step[0] },
  );
  const observations = await tracker.run(operations);
  for (const [i, step] of steps.entries()) {
    if (isOperation(step)) continue;
    const wanted = expectation(step[1], observations[i]!);
    if (!alike(wanted, observations[i])) {
      const before = operations
        .slice(0, i + 1)
        .map(textOf)
        .join('\n');
      return `${before}\nexpected ${step[1]}\nbecame   ${JSON.stringify(observations[i])}`;
    }
  }
  return undefined;
}

function isOperation(step: Step): step is Operation {
  return !Array.isArray(step);
}

/** What the text says, filled up from what was seen where it says nothing. */
function expectation(text: string, seen: Observation): Observation {
  const [kind, state, replies, timeout, origin] = text.split(' ');
  if (!state) return { class: kind as Observation['class'] };
  const status = { UNREPLIED: 0, REPLIED: SEEN_REPLY, ASSURED: SEEN_REPLY | ASSURED }[replies!];
  if (status === undefined || !STATES.includes(state as State) || !timeout)
    throw new Error(`not clear: "${text}"`);
  return {
    class: kind as Observation['class'],
    entry: {
      ...(seen.entry ?? { flags: [0, 0], scale: [0, 0] }),
      origin: (origin ?? seen.entry?.origin ?? 'a') as Side,
      state: state as State,
      status,
      timeout: Number(timeout),
    },
  };
}
