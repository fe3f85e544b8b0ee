// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The configuration's timeouts: a preset and what overrides it. */
import { DEFAULT_PRESET, TIMEOUT_PRESETS, type TimeoutPreset } from '../defaults.js';
import { MAX_TIMEOUT_MS, MIN_TIMEOUT_MS, TIMEOUT_KEYS, TIMEOUT_NAMES, type Timeouts } from '../timeouts.js';
import type { Judge } from './build.js';
import type { ConfigFile } from './file.js';

const BOUNDS = [MIN_TIMEOUT_MS, MAX_TIMEOUT_MS] as const;

/** All timeouts in milliseconds. A protocol with one timeout may be given as that: `icmp: 60s`. */
export function buildTimeouts(file: NonNullable<ConfigFile['timeouts']>, judge: Judge): Timeouts {
  const preset = (file.preset ?? DEFAULT_PRESET) as TimeoutPreset;
  const timeouts: Record<string, number> & Timeouts = { ...TIMEOUT_PRESETS[preset] };
  for (const name of TIMEOUT_NAMES) {
    const [protocol, key] = TIMEOUT_KEYS[name];
    const group = file[protocol];
    if (group === undefined) continue;
    const isShort = typeof group === 'string';
    const text = isShort ? group : group[key];
    if (text === undefined) continue;
    const path = isShort ? ['timeouts', protocol] : ['timeouts', protocol, key];
    const ms = judge.duration(path, text, BOUNDS, '100ms to 365d');
    if (ms !== undefined) timeouts[name as string] = ms;
  }
  return timeouts;
}
