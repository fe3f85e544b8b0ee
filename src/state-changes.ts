// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** In what two states differ, in words. */
import { formatCidr } from './address.js';
import {
  filteringText,
  hasEim,
  type InterfaceConfig,
  mappingText,
  masqueradeText,
} from './interface-config.js';
import { limitsText } from './limits.js';
import { natRuleText } from './nat-rule.js';
import { formatPortRanges } from './port-range.js';
import type { State } from './state.js';
import { TIMEOUT_KEYS, TIMEOUT_NAMES } from './timeouts.js';
import { trackRuleText } from './track-rule.js';

/** A phrase for each thing that changes from one to the other; empty if nothing does. */
export function stateChanges(before: State, after: State): string[] {
  return [
    ...interfaceChanges(before, after),
    ...ruleChanges(before, after),
    ...trackChanges(before, after),
    ...exemptChanges(before, after),
    ...timeoutChanges(before, after),
  ];
}

function interfaceChanges(before: State, after: State): string[] {
  const changes: string[] = [];
  for (const next of after.interfaces) {
    const old = before.interfaces.find(({ name }) => name === next.name);
    if (!old) changes.push(`attach ${next.name}: ${optionsText(next)}`);
    else if (optionsText(old) !== optionsText(next))
      changes.push(`change ${next.name}: ${optionsText(next)}`);
  }
  for (const { name } of before.interfaces) {
    if (!after.interfaces.some((each) => each.name === name)) changes.push(`detach ${name}`);
  }
  return changes;
}

function optionsText({
  masquerade,
  mode,
  mapping,
  filtering,
  ports,
  zone = 0,
  limits,
}: InterfaceConfig): string {
  return [
    `masquerade ${masqueradeText(masquerade)}`,
    `mapping ${mappingText(mapping)}`,
    ...(hasEim(mapping) ? [`filtering ${filteringText(filtering)}`] : []),
    `mode ${mode}`,
    ...(zone === 0 ? [] : [`zone ${zone}`]),
    ...(limits ? [`each subscriber ${limitsText(limits)}`] : []),
    ...(ports ? [`ports ${formatPortRanges(ports)}`] : []),
  ].join(', ');
}

function ruleChanges({ rules: before }: State, { rules: after }: State): string[] {
  return listChanges(before, after, 'rule', natRuleText);
}

function trackChanges({ track: before }: State, { track: after }: State): string[] {
  return listChanges(before, after, 'rule for tracking', trackRuleText);
}

function listChanges<T extends { readonly id: number }>(
  before: readonly T[],
  after: readonly T[],
  what: string,
  text: (rule: T) => string,
): string[] {
  const deleted = before.filter((rule) => !after.some(({ id }) => id === rule.id));
  const added = after.filter((rule) => !before.some(({ id }) => id === rule.id));
  const orderOf = (rules: readonly T[], others: readonly T[]) =>
    rules.filter((rule) => others.some(({ id }) => id === rule.id)).map(({ id }) => id);
  const isReordered = orderOf(before, after).join() !== orderOf(after, before).join();
  return [
    ...deleted.map((rule) => `delete ${what} ${rule.id}: ${text(rule)}`),
    ...added.map((rule) => `add ${what} ${rule.id}: ${text(rule)}`),
    ...(isReordered ? [`try the ${what.replace('rule', 'rules')} in another order`] : []),
  ];
}

function exemptChanges(before: State, after: State): string[] {
  const old = before.exempt.map(formatCidr);
  const next = after.exempt.map(formatCidr);
  return [
    ...next.filter((each) => !old.includes(each)).map((each) => `exempt ${each}`),
    ...old.filter((each) => !next.includes(each)).map((each) => `do not exempt ${each}`),
  ];
}

function timeoutChanges({ timeouts: before }: State, { timeouts: after }: State): string[] {
  return TIMEOUT_NAMES.filter((name) => before[name] !== after[name]).map(
    (name) => `timeout ${TIMEOUT_KEYS[name].join('.')}: ${after[name] / 1000}s`,
  );
}
