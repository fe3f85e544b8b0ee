// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Timeouts by command: read from words, and put in force for the flows that live. */
import { Change } from './change.js';
import { TIMEOUT_PRESETS, type TimeoutPreset } from './defaults.js';
import { parseDuration } from './duration.js';
import { quoted } from './errors.js';
import { requireCapabilities } from './privileges.js';
import { didYouMean } from './suggest.js';
import {
  MAX_TIMEOUT_MS,
  MIN_TIMEOUT_MS,
  TIMEOUT_KEYS,
  TIMEOUT_NAMES,
  type TimeoutName,
  type Timeouts,
} from './timeouts.js';

/** What is to change: a preset to begin with, and single timeouts in milliseconds. */
export interface TimeoutChange {
  /** Left out: what holds now. */
  readonly preset?: TimeoutPreset;
  readonly timeouts: Partial<Timeouts>;
}

/** `tcp.established`; a protocol with one timeout is named by itself: `icmp`. */
export function timeoutLabel(name: TimeoutName): string {
  const [protocol, key] = TIMEOUT_KEYS[name];
  const isOnly = TIMEOUT_NAMES.filter((other) => TIMEOUT_KEYS[other][0] === protocol).length === 1;
  return isOnly ? protocol : `${protocol}.${key}`;
}

const NAMES: ReadonlyMap<string, TimeoutName> = new Map(
  TIMEOUT_NAMES.flatMap((name) => [
    [TIMEOUT_KEYS[name].join('.'), name],
    [timeoutLabel(name), name],
  ]),
);

/**
 * Reads `tcp.established 1h udp.stream 5m`.
 * @throws RangeError saying which word is wrong and what is allowed
 */
export function parseTimeouts(words: readonly string[]): Partial<Timeouts> {
  const timeouts: Partial<Record<TimeoutName, number>> = {};
  for (let i = 0; i < words.length; i += 2) {
    const [label = '', text] = words.slice(i);
    const name = NAMES.get(label.toLowerCase());
    if (name === undefined) {
      const labels = TIMEOUT_NAMES.map(timeoutLabel);
      throw new RangeError(
        `unknown timeout ${quoted(label)}${didYouMean(label, labels)}; give one of ${labels.join(', ')}`,
      );
    }
    if (text === undefined)
      throw new RangeError(`${label}: which value? give a duration such as 30s, 5m or 2h`);
    const ms = parseDuration(text);
    if (ms === undefined || ms < MIN_TIMEOUT_MS || ms > MAX_TIMEOUT_MS) {
      throw new RangeError(`${label}: expected a duration from 100ms to 365d, got ${quoted(text)}`);
    }
    timeouts[name] = ms;
  }
  return timeouts;
}

/** See Product.setTimeouts(). */
export async function changeTimeouts(
  pinPath: string,
  { preset, timeouts }: TimeoutChange,
): Promise<Timeouts> {
  requireCapabilities('change the timeouts', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'change the timeouts', (change) => {
    const { state } = change;
    const next = { ...(preset ? TIMEOUT_PRESETS[preset] : state.timeouts), ...timeouts };
    return change.settle({ ...state, timeouts: next }).state.timeouts;
  });
}
