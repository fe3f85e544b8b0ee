// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { didYouMean } from '../suggest.js';
import { EVENT_TYPES, type EventType } from './event.js';

/**
 * Reads types with commas between them: `new,destroy`.
 * @throws RangeError that says what is allowed
 */
export function parseEventTypes(text: string): readonly EventType[] {
  const types = text.split(',').map((word) => {
    const type = word.trim().toLowerCase();
    const known = EVENT_TYPES.find((each) => each === type);
    if (known) return known;
    throw new RangeError(
      `unknown type "${word}"${didYouMean(type, EVENT_TYPES)}; give ${EVENT_TYPES.join(', ')}`,
    );
  });
  return EVENT_TYPES.filter((type) => types.includes(type));
}
