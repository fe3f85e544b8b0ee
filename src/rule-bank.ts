// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Puts a set of rules in force at once. The map has two banks; the new set is written into the one that does not hold,
 * up to its end with entries that never match, and then the settings name it.
 *
 * Programs read rule_bank and rule_count one after the other, so one may be old and the other new. With every bank
 * filled to its end a count that is too large only reads entries that never match; so the count is raised before the
 * bank changes and lowered after it, and every mix gives the old set or the new one. A packet that is between two
 * tail calls of its search meanwhile goes on with the bank and index that it has: the old bank stays as it is until
 * the next change.
 */
import type { Datapath } from './datapath.js';
import { NAT_RULES_PER_BANK, natRuleCodec, type NatRule as RuleEntry } from './generated/layouts.gen.js';
import { NO_RULE } from './rule-entry.js';

/** The entries in force, in order. */
export function readRules(datapath: Datapath): RuleEntry[] {
  const { ruleBank, ruleCount } = datapath.settings;
  const base = ruleBank * NAT_RULES_PER_BANK;
  return Array.from({ length: ruleCount }, (_, i) => datapath.maps.nat_rules.get(base + i) ?? NO_RULE);
}

/** Puts these entries in force, at most NAT_RULES_PER_BANK. The caller holds the lock of the pin path. */
export function writeRules(datapath: Datapath, entries: readonly RuleEntry[]): void {
  const { ruleBank, ruleCount } = datapath.settings;
  const next = ruleBank === 0 ? 1 : 0;
  for (let i = 0; i < NAT_RULES_PER_BANK; i++) {
    datapath.maps.nat_rules.set(next * NAT_RULES_PER_BANK + i, entries[i] ?? NO_RULE);
  }
  const { length } = entries;
  if (length > ruleCount) datapath.updateSettings({ ruleCount: length });
  datapath.updateSettings({ ruleBank: next });
  if (length < ruleCount) datapath.updateSettings({ ruleCount: length });
}

/** Whether two sets of entries do the same in the same order. */
export function areSameRules(a: readonly RuleEntry[], b: readonly RuleEntry[]): boolean {
  return a.length === b.length && a.every((entry, i) => entryBytes(entry).equals(entryBytes(b[i]!)));
}

function entryBytes(entry: RuleEntry): Buffer {
  const bytes = Buffer.alloc(natRuleCodec.size);
  natRuleCodec.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, entry);
  return bytes;
}
