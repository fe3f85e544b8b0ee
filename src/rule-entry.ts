// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** NAT rules as the datapath's map holds them. */
import { type Cidr, formatCidr, parseAddress, prefixMask } from './address.js';
import { CtnatError } from './errors.js';
import {
  NAT_RULES_PER_BANK,
  NatRuleFlags,
  NatRuleKind,
  type PoolEntry,
  type NatRule as RuleEntry,
} from './generated/layouts.gen.js';
import { MAX_POOL_ENTRIES, poolEntries } from './nat-pool.js';
import type { NatRule } from './nat-rule.js';
import { fourWords } from './words.js';

/** What a rule's interface name stands for now; undefined: it is not there, so that nothing can match. */
export interface RuleInterface {
  readonly ifindex: number;
  /** Its own addresses of each family. */
  readonly addresses: Readonly<Record<'ipv4' | 'ipv6', readonly string[]>>;
}

const KINDS = {
  snat: NatRuleKind.SNAT,
  masquerade: NatRuleKind.MASQUERADE,
  dnat: NatRuleKind.DNAT,
  redirect: NatRuleKind.REDIRECT,
  netmap: NatRuleKind.NETMAP_OUT,
} as const;
const ANY = [0, 0, 0, 0];

/** Never matches: what stands behind the last rule of a bank. */
export const NO_RULE: RuleEntry = {
  id: 0,
  kind: NatRuleKind.NONE,
  family: 0,
  proto: 0,
  flags: 0,
  ifindex: 0,
  mark: 0,
  markMask: 0,
  saddr: ANY,
  smask: ANY,
  daddr: ANY,
  dmask: ANY,
  dportMin: 0,
  dportMax: 0,
  toPortMin: 0,
  toPortMax: 0,
  toMin: ANY,
  toMax: ANY,
  poolFirst: 0,
  poolSize: 0,
};

/**
 * The entries of all rules, in order. A port forward without a destination is for the interface's own addresses:
 * were it for any, it would take away what others send through the router to the same port elsewhere. It becomes an
 * entry for each of them.
 * @throws CtnatError if there are more than the map holds
 */
export function ruleEntries(
  rules: readonly NatRule[],
  interfaceOf: (name: string) => RuleInterface | undefined,
): RuleEntry[] {
  let pooled = 0;
  const entries = rules.flatMap((rule) => {
    const pool = { poolFirst: pooled, poolSize: poolEntries(rule).length };
    pooled += pool.poolSize;
    const at = interfaceOf(rule.ifname);
    if (!at) return [];
    if (rule.kind === 'netmap') return netmapEntries(rule, at.ifindex);
    const own = at.addresses[rule.family].map(hostCidr);
    const entryFor = (dst: Cidr | undefined): RuleEntry => ({
      ...ruleEntry(rule, at.ifindex, dst),
      ...(pool.poolSize > 0 && pool),
    });
    if (rule.kind === 'dnat' && !rule.dst) return own.map((dst) => hairpin(entryFor(dst)));
    const entry = entryFor(rule.dst);
    const isOwn = rule.dst && own.some((each) => formatCidr(each) === formatCidr(rule.dst!));
    return [rule.kind === 'dnat' && isOwn ? hairpin(entry) : entry];
  });
  if (entries.length <= NAT_RULES_PER_BANK) return entries;
  throw new CtnatError(
    `can not use ${rules.length} NAT rules: with one entry for each own address that a port forward without -d ` +
      `is for, they need ${entries.length} of ${NAT_RULES_PER_BANK} entries; delete some, or give -d`,
  );
}

/**
 * What the pools of all rules hold, in the order of the rules; an entry's poolFirst counts from here.
 * @throws CtnatError if it is more than the map holds
 */
export function rulePools(rules: readonly NatRule[]): PoolEntry[] {
  const pool = rules.flatMap(poolEntries);
  if (pool.length <= MAX_POOL_ENTRIES) return pool;
  throw new CtnatError(
    `can not use these NAT rules: their pools hold ${pool.length} addresses, ${MAX_POOL_ENTRIES} is the limit; ` +
      'give a single range, which needs none, or smaller ones',
  );
}

/** An inside host reaches the forward by the outside address as well (RFC 4787 REQ-9). */
function hairpin(entry: RuleEntry): RuleEntry {
  return { ...entry, flags: entry.flags | NatRuleFlags.HAIRPIN };
}

/** Out and in: what leaves gets the outside prefix, what comes for that gets the inside one. */
function netmapEntries(rule: NatRule, ifindex: number): RuleEntry[] {
  const { src, toNet } = rule;
  const out = ruleEntry(rule, ifindex, undefined);
  const [inside, outside, mask] = [
    fourWords(src!.bytes),
    fourWords(toNet!.bytes),
    fourWords(prefixMask(src!)),
  ];
  return [
    { ...out, toMin: outside },
    hairpin({
      ...out,
      kind: NatRuleKind.NETMAP_IN,
      saddr: ANY,
      smask: ANY,
      daddr: outside,
      dmask: mask,
      toMin: inside,
    }),
  ];
}

function hostCidr(text: string): Cidr {
  const address = parseAddress(text);
  return { ...address, prefix: address.bytes.length * 8 };
}

function ruleEntry(rule: NatRule, ifindex: number, dst: Cidr | undefined): RuleEntry {
  const { src, dport, to, toPorts } = rule;
  return {
    id: rule.id,
    kind: KINDS[rule.kind],
    family: rule.family === 'ipv4' ? 4 : 6,
    proto: rule.proto,
    flags: (rule.isNeutral ? NatRuleFlags.NEUTRAL : 0) | (rule.isSpilling ? NatRuleFlags.SPILL : 0),
    ifindex,
    mark: rule.mark?.value ?? 0,
    markMask: rule.mark?.mask ?? 0,
    // parseCidr has cleared the bits behind the prefix, as the datapath's comparison wants it
    saddr: src ? fourWords(src.bytes) : ANY,
    smask: src ? fourWords(prefixMask(src)) : ANY,
    daddr: dst ? fourWords(dst.bytes) : ANY,
    dmask: dst ? fourWords(prefixMask(dst)) : ANY,
    dportMin: dport?.min ?? 0,
    dportMax: dport?.max ?? 0xffff,
    toPortMin: toPorts?.min ?? 0,
    toPortMax: toPorts?.max ?? 0,
    toMin: to ? fourWords(to.first.bytes) : ANY,
    toMax: to ? fourWords(to.last.bytes) : ANY,
    poolFirst: 0,
    poolSize: 0,
  };
}
