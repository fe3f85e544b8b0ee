// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The configuration's rules for tracking. */
import { quoted } from '../errors.js';
import {
  isSameTrackRule,
  parseTrackRule,
  type TrackRule,
  TrackRuleError,
  type TrackRuleText,
} from '../track-rule.js';
import type { Judge } from './build.js';
import type { FileTrackRule } from './file.js';

/** The rules in their order. `interfaces` are the names that the file attaches. */
export function buildTrack(
  list: readonly FileTrackRule[],
  interfaces: ReadonlySet<string>,
  judge: Judge,
): TrackRule[] {
  const rules: TrackRule[] = [];
  for (const [i, each] of list.entries()) {
    const path = ['track', i];
    try {
      const rule = parseTrackRule(ruleText(each));
      for (const key of ['in', 'out'] as const) {
        const name = rule[key];
        if (name === undefined || interfaces.has(name)) continue;
        judge.refuse(
          [...path, key],
          `${quoted(name)} is not among the interfaces of this file; list it there`,
        );
      }
      const before = rules.findIndex((other) => isSameTrackRule(other, rule));
      if (before >= 0) judge.refuse(path, `does the same as track[${before}]`);
      rules.push(rule);
    } catch (error) {
      if (!(error instanceof TrackRuleError)) throw error;
      judge.refuse([...path, error.part], error.message);
      rules.push({ id: 0, action: 'notrack', in: `?${i}`, proto: 0 }); // keeps the places of those behind it
    }
  }
  return rules;
}

function ruleText({ proto, sport, dport, mark, ...rest }: FileTrackRule): TrackRuleText {
  return {
    ...rest,
    ...(proto !== undefined && { proto: String(proto) }),
    ...(sport !== undefined && { sport: String(sport) }),
    ...(dport !== undefined && { dport: String(dport) }),
    ...(mark !== undefined && { mark: String(mark) }),
  };
}
