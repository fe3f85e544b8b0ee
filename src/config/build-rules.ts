// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The configuration's NAT rules. */
import { quoted } from '../errors.js';
import { isSameRule, type NatRule, NatRuleError, type NatRuleText, parseNatRule } from '../nat-rule.js';
import type { Judge } from './build.js';
import type { FileRule } from './file.js';

/** The rules in their order. `interfaces` are the names that the file attaches. */
export function buildRules(
  list: readonly FileRule[],
  interfaces: ReadonlySet<string>,
  judge: Judge,
): NatRule[] {
  const rules: NatRule[] = [];
  for (const [i, each] of list.entries()) {
    const kind = VERBS.find((verb) => each[verb])!;
    const path = ['nat', i, kind];
    const ifkey = kind === 'dnat' || kind === 'redirect' ? 'in' : 'out';
    try {
      const rule = parseNatRule(ruleText(each));
      if (!interfaces.has(rule.ifname)) {
        judge.refuse(
          [...path, ifkey],
          `${quoted(rule.ifname)} is not among the interfaces of this file; list it there`,
        );
      }
      const before = rules.findIndex((other) => isSameRule(other, rule));
      if (before >= 0) judge.refuse(path, `does the same as nat[${before}]`);
      rules.push(rule);
    } catch (error) {
      if (!(error instanceof NatRuleError)) throw error;
      judge.refuse([...path, error.part === 'ifname' ? ifkey : error.part], error.message);
      // Keeps the places of the rules behind it.
      rules.push(PLACEHOLDER);
    }
  }
  return rules;
}

const VERBS = ['dnat', 'snat', 'redirect', 'netmap'] as const;

/** Stands for a rule that could not be read, in a list that nobody gets; equal to no rule. */
const PLACEHOLDER: NatRule = { id: 0, kind: 'snat', ifname: '', family: 'ipv4', proto: 0 };

/** One target or several; of a redirect a port. */
function targetText(to: string | number | readonly string[]): string {
  return typeof to === 'object' ? to.join(',') : String(to);
}

function ruleText({ dnat, snat, redirect, netmap }: FileRule): NatRuleText {
  const incoming = dnat ?? redirect;
  if (incoming) {
    const { in: ifname, proto, dport, to, mark, ...rest } = incoming;
    return {
      kind: dnat ? 'dnat' : 'redirect',
      ifname,
      proto: String(proto),
      dport: String(dport),
      to: targetText(to),
      ...(mark !== undefined && { mark: String(mark) }),
      ...rest,
    };
  }
  const { out: ifname, proto, mark, to, ...rest } = (snat ?? netmap)!;
  return {
    kind: snat ? 'snat' : 'netmap',
    ifname,
    to: targetText(to),
    ...(proto !== undefined && { proto: String(proto) }),
    ...(mark !== undefined && { mark: String(mark) }),
    ...rest,
  };
}
