// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** NAT rules by command: added, listed, deleted. Each change is in force when the function has returned. */
import { Change } from './change.js';
import { Datapath, NotAttachedError } from './datapath.js';
import { CtnatError } from './errors.js';
import { Ledger } from './ledger.js';
import { isSameRule, MAX_NAT_RULES, type NatRule, natRuleText } from './nat-rule.js';
import { requireCapabilities } from './privileges.js';

/** See Product.natAdd(). */
export async function addRule(pinPath: string, rule: NatRule): Promise<NatRule> {
  requireCapabilities('add a rule', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'add a rule', (change) => {
    const { state } = change;
    const same = state.rules.find((each) => isSameRule(each, rule));
    if (same) return same;
    if (!state.interfaces.some(({ name }) => name === rule.ifname)) {
      throw new CtnatError(
        `can not add ${natRuleText(rule)}: ${rule.ifname} is not attached; run ctnat attach ${rule.ifname}`,
      );
    }
    if (state.rules.length >= MAX_NAT_RULES) {
      throw new CtnatError(`can not add a rule: there are ${MAX_NAT_RULES}, which is the limit; delete one`);
    }
    const added = { ...rule, id: freeId(state.rules) };
    change.settle({ ...state, rules: [...state.rules, added] });
    return added;
  });
}

/** The lowest number that no rule has. */
export function freeId(rules: readonly { readonly id: number }[]): number {
  const taken = new Set(rules.map(({ id }) => id));
  let id = 1;
  while (taken.has(id)) id++;
  return id;
}

/** See Product.natList(). */
export function listRules(pinPath: string): readonly NatRule[] {
  if (!Datapath.isLoaded(pinPath)) throw new NotAttachedError(pinPath);
  using ledger = Ledger.open(pinPath);
  return ledger.read().rules;
}

/** See Product.natDelete(). */
export async function deleteRule(pinPath: string, id: number): Promise<boolean> {
  requireCapabilities('delete a rule', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'delete a rule', (change) => {
    const rules = change.state.rules.filter((rule) => rule.id !== id);
    if (rules.length === change.state.rules.length) return false;
    change.settle({ ...change.state, rules });
    return true;
  });
}

/** See Product.natFlush(). */
export async function flushRules(pinPath: string): Promise<number> {
  requireCapabilities('delete the rules', 'CAP_BPF', 'CAP_NET_ADMIN');
  return await Change.ofLoaded(pinPath, 'delete the rules', (change) => {
    const { length } = change.state.rules;
    if (length > 0) change.settle({ ...change.state, rules: [] });
    return length;
  });
}
