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
import type { Codec } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import {
  NAT_RULES_PER_BANK,
  natRuleCodec,
  POOL_ENTRIES_PER_BANK,
  type PoolEntry,
  poolEntryCodec,
  type NatRule as RuleEntry,
} from './generated/layouts.gen.js';
import { NO_RULE } from './rule-entry.js';

/** What is in force. */
export interface RuleSet {
  /** In order; their poolFirst counts from the first of `pool`. */
  readonly entries: readonly RuleEntry[];
  readonly pool: readonly PoolEntry[];
}

export function readRules(datapath: Datapath): RuleSet {
  const { ruleBank, ruleCount } = datapath.settings;
  const base = ruleBank * NAT_RULES_PER_BANK;
  const first = ruleBank * POOL_ENTRIES_PER_BANK;
  const entries = Array.from({ length: ruleCount }, (_, i) => {
    const entry = datapath.maps.nat_rules.get(base + i) ?? NO_RULE;
    return entry.poolSize > 0 ? { ...entry, poolFirst: entry.poolFirst - first } : entry;
  });
  // a rule whose interface is absent has no entry, and its part of the pool is not read back
  const end = Math.max(0, ...entries.map(({ poolFirst, poolSize }) => poolFirst + poolSize));
  const pool = Array.from({ length: end }, (_, i) => datapath.maps.nat_pools.get(first + i)!);
  return { entries, pool };
}

/** Puts these in force, at most a bank of each. The caller holds the lock of the pin path. */
export function writeRules(datapath: Datapath, { entries, pool }: RuleSet): void {
  const { ruleBank, ruleCount } = datapath.settings;
  const next = ruleBank === 0 ? 1 : 0;
  const first = next * POOL_ENTRIES_PER_BANK;
  for (const [i, entry] of pool.entries()) datapath.maps.nat_pools.set(first + i, entry);
  for (let i = 0; i < NAT_RULES_PER_BANK; i++) {
    const entry = entries[i] ?? NO_RULE;
    const placed = entry.poolSize > 0 ? { ...entry, poolFirst: first + entry.poolFirst } : entry;
    datapath.maps.nat_rules.set(next * NAT_RULES_PER_BANK + i, placed);
  }
  const { length } = entries;
  if (length > ruleCount) datapath.updateSettings({ ruleCount: length });
  datapath.updateSettings({ ruleBank: next });
  if (length < ruleCount) datapath.updateSettings({ ruleCount: length });
}

/** Whether two sets do the same in the same order. */
export function areSameRules(a: RuleSet, b: RuleSet): boolean {
  return (
    allSame(a.entries, b.entries, (entry) => bytesOf(natRuleCodec, entry)) &&
    allSame(a.pool, b.pool, (entry) => bytesOf(poolEntryCodec, entry))
  );
}

function allSame<T>(a: readonly T[], b: readonly T[], bytes: (entry: T) => Buffer): boolean {
  return a.length === b.length && a.every((entry, i) => bytes(entry).equals(bytes(b[i]!)));
}

function bytesOf<T>(codec: Codec<T>, entry: T): Buffer {
  const bytes = Buffer.alloc(codec.size);
  codec.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, entry);
  return bytes;
}
