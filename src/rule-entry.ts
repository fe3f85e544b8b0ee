// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** NAT rules as the datapath's map holds them. */
import { type Cidr, parseAddress, prefixMask } from './address.js';
import { CtnatError } from './errors.js';
import { NAT_RULES_PER_BANK, NatRuleKind, type NatRule as RuleEntry } from './generated/layouts.gen.js';
import type { NatRule } from './nat-rule.js';
import { fourWords } from './words.js';

/** What a rule's interface name stands for now; undefined: it is not there, so that nothing can match. */
export interface RuleInterface {
  readonly ifindex: number;
  /** Its own addresses of each family. */
  readonly addresses: Readonly<Record<'ipv4' | 'ipv6', readonly string[]>>;
}

const KINDS = { snat: NatRuleKind.SNAT, masquerade: NatRuleKind.MASQUERADE, dnat: NatRuleKind.DNAT } as const;
const ANY = [0, 0, 0, 0];

/** Never matches: what stands behind the last rule of a bank. */
export const NO_RULE: RuleEntry = {
  id: 0,
  kind: NatRuleKind.NONE,
  family: 0,
  proto: 0,
  ifindex: 0,
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
  const entries = rules.flatMap((rule) => {
    const at = interfaceOf(rule.ifname);
    if (!at) return [];
    if (rule.kind !== 'dnat' || rule.dst) return [ruleEntry(rule, at.ifindex, rule.dst)];
    return at.addresses[rule.family].map((text) => ruleEntry(rule, at.ifindex, hostCidr(text)));
  });
  if (entries.length <= NAT_RULES_PER_BANK) return entries;
  throw new CtnatError(
    `can not use ${rules.length} NAT rules: with one entry for each own address that a port forward without -d ` +
      `is for, they need ${entries.length} of ${NAT_RULES_PER_BANK} entries; delete some, or give -d`,
  );
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
    ifindex,
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
  };
}
