// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Rules for tracking as the datapath's map holds them. */
import { type Cidr, prefixMask } from './address.js';
import {
  type TrackRules as RuleEntries,
  type TrackRule as RuleEntry,
  TRACK_RULES_MAX,
  TrackRuleKind,
} from './generated/layouts.gen.js';
import type { Mark } from './mark.js';
import type { TrackRule } from './track-rule.js';
import { fourWords } from './words.js';

const KINDS = {
  notrack: TrackRuleKind.NOTRACK,
  set: TrackRuleKind.SET,
  save: TrackRuleKind.SAVE,
  restore: TrackRuleKind.RESTORE,
} as const;
const ANY = [0, 0, 0, 0];
const ALL = 0xffffffff;
const EVERY: Mark = { value: 0, mask: ALL };

/** What stands behind the last rule: of no family, so never asked. */
export const NO_TRACK_RULE: RuleEntry = {
  saddr: ANY,
  smask: ANY,
  daddr: ANY,
  dmask: ANY,
  in: 0,
  out: 0,
  inMask: 0,
  outMask: 0,
  mark: 0,
  proto: 0,
  markMask: 0,
  protoMask: 0,
  value: 0,
  valueMask: 0,
  sportMin: 0,
  sportMax: 0,
  dportMin: 0,
  dportMax: 0,
  id: 0,
  kind: TrackRuleKind.NONE,
};

/**
 * The rules in order. One whose interface is not there is left out: nothing can match it.
 * @param ifindexOf undefined: it is not there
 */
export function trackEntries(
  rules: readonly TrackRule[],
  ifindexOf: (name: string) => number | undefined,
): RuleEntries {
  const present = rules.flatMap((rule) => {
    const [inside, out] = [rule.in, rule.out].map((name) => (name === undefined ? 0 : ifindexOf(name)));
    return inside === undefined || out === undefined ? [] : [{ rule, entry: ruleEntry(rule, inside, out) }];
  });
  const bits = (matches: (rule: TrackRule) => boolean): number =>
    present.reduce((sum, { rule }, i) => (matches(rule) ? sum + 2 ** i : sum), 0);
  return {
    count: present.length,
    notrack: bits(({ action }) => action === 'notrack'),
    change: bits(({ action }) => action === 'set' || action === 'save'),
    restore: bits(({ action }) => action === 'restore'),
    out: bits(({ out }) => out !== undefined),
    ipv4: bits(({ family }) => family !== 'ipv6'),
    ipv6: bits(({ family }) => family !== 'ipv4'),
    rule: Array.from({ length: TRACK_RULES_MAX }, (_, i) => present[i]?.entry ?? NO_TRACK_RULE),
  };
}

function ruleEntry(rule: TrackRule, inside: number, out: number): RuleEntry {
  const { src, dst, proto, sport, dport, mark, value = EVERY } = rule;
  const [saddr, smask] = prefixWords(src);
  const [daddr, dmask] = prefixWords(dst);
  return {
    saddr,
    smask,
    daddr,
    dmask,
    in: inside,
    out,
    inMask: inside === 0 ? 0 : ALL,
    outMask: out === 0 ? 0 : ALL,
    mark: mark?.value ?? 0,
    proto,
    markMask: mark?.mask ?? 0,
    protoMask: proto === 0 ? 0 : ALL,
    value: value.value,
    valueMask: value.mask,
    sportMin: sport?.min ?? 0,
    sportMax: sport?.max ?? 0xffff,
    dportMin: dport?.min ?? 0,
    dportMax: dport?.max ?? 0xffff,
    id: rule.id,
    kind: KINDS[rule.action],
  };
}

/** Value and mask; parseCidr has cleared the bits behind the prefix, as the datapath's comparison wants it. */
function prefixWords(cidr: Cidr | undefined): [number[], number[]] {
  return cidr ? [fourWords(cidr.bytes), fourWords(prefixMask(cidr))] : [ANY, ANY];
}
