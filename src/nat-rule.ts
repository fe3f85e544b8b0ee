// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A NAT rule: built from texts (the command line's flags and the configuration file's keys say the same), checked, and rendered back. */
import { type AddressRange, type Cidr, type Family, formatCidr, isNotUnicast, parseCidr } from './address.js';
import { CtnatError } from './errors.js';
import { checkInterfaceName } from './interface-config.js';
import { formatMark, type Mark, parseMark } from './mark.js';
import { checkPool } from './nat-pool.js';
import { formatTarget, formatTargets, type NatTarget, parseTargets } from './nat-target.js';
import { formatPortRange, type PortRange, parsePortRange, portCount } from './port-range.js';
import { hasPorts, isIcmp, PORT_PROTOCOLS, parseProtocol, protocolName } from './protocol.js';

/** As many rules as one bank of the rules' map holds (NAT_RULES_PER_BANK). */
export const MAX_NAT_RULES = 256;

/** What a rule is added as. */
export type NatRuleVerb = 'snat' | 'dnat' | 'redirect' | 'netmap';

/** What `--to masquerade` makes of a source rule is a kind of its own. */
export type NatRuleKind = NatRuleVerb | 'masquerade';

export interface NatRule {
  /** 1 to 65535 once the rule is in force, 0 before. */
  readonly id: number;
  readonly kind: NatRuleKind;
  /** The outgoing interface of snat, masquerade and netmap, the incoming one of dnat and redirect. */
  readonly ifname: string;
  readonly family: Family;
  readonly src?: Cidr;
  readonly dst?: Cidr;
  /** 0: any. */
  readonly proto: number;
  /** Only of protocols with ports. */
  readonly dport?: PortRange;
  /** Absent: any. */
  readonly mark?: Mark;
  /** Absent for masquerade, redirect, netmap, and where there is a pool. */
  readonly to?: AddressRange;
  /** Of snat and dnat: several ranges, each with its ports. An address may come again with others. */
  readonly pool?: readonly NatTarget[];
  /** Of snat: a host whose outside address has no port left gets another one. */
  readonly isSpilling?: boolean;
  /** Of netmap: the outside prefix, as long as `src`. */
  readonly toNet?: Cidr;
  /** Of netmap, IPv6: the sum of an address stays the same (RFC 6296). */
  readonly isNeutral?: boolean;
  /** Absent: the port stays. */
  readonly toPorts?: PortRange;
}

/** A rule's parts as text, as the user wrote them. */
export interface NatRuleText {
  readonly kind: NatRuleVerb;
  readonly ifname: string;
  readonly src?: string;
  readonly dst?: string;
  readonly proto?: string;
  readonly dport?: string;
  readonly to: string;
  /** `VALUE` or `VALUE/MASK`. */
  readonly mark?: string;
  /** Only of netmap. */
  readonly neutral?: boolean;
  /** Only of snat. */
  readonly spill?: boolean;
  /** Decides for a masquerade rule in which no address does; ipv4 otherwise. */
  readonly family?: Family;
}

/** A part of a rule is wrong: `part` says which, so that the caller can point at its flag or key. */
export class NatRuleError extends CtnatError {
  readonly part: keyof NatRuleText;

  constructor(part: keyof NatRuleText, message: string, options?: ErrorOptions) {
    super(message, options);
    this.part = part;
  }
}

/**
 * Makes a rule of its texts, with id 0.
 * @throws NatRuleError naming the wrong part
 */
export function parseNatRule(text: NatRuleText): NatRule {
  const ifname = part('ifname', () => checkInterfaceName(text.ifname));
  const src = text.src === undefined ? undefined : part('src', () => parseCidr(text.src!));
  const dst = text.dst === undefined ? undefined : part('dst', () => parseCidr(text.dst!));
  const proto = text.proto === undefined ? 0 : part('proto', () => parseProtocol(text.proto!));
  const dport = text.dport === undefined ? undefined : part('dport', () => parsePortRange(text.dport!));
  const mark = text.mark === undefined ? undefined : part('mark', () => parseMark(text.mark!));
  const toNet = text.kind === 'netmap' ? part('to', () => parseCidr(text.to)) : undefined;
  const targets = toNet ? [{}] : part('to', () => readTargets(text));
  const [target] = targets as [NatTarget];
  const pool = targets.length > 1 ? targets : undefined;

  const { to, ports: toPorts }: NatTarget = pool ? {} : target;
  if (!to && !pool && text.kind === 'dnat') {
    throw new NatRuleError('to', 'masquerade translates sources; give dnat an address');
  }
  const rule: NatRule = {
    id: 0,
    kind: text.kind === 'snat' && !to && !pool ? 'masquerade' : text.kind,
    ifname,
    family: ruleFamily(text, { src, dst, toNet, target }),
    ...(src && { src }),
    ...(dst && { dst }),
    proto,
    ...(dport && { dport }),
    ...(to && { to }),
    ...(toPorts && { toPorts }),
    ...(mark && { mark }),
    ...(toNet && { toNet }),
    ...(text.neutral && { isNeutral: true }),
    ...(pool && { pool }),
    ...(text.spill && { isSpilling: true }),
  };
  checkRule(rule);
  return rule;
}

/** A redirect has only ports. */
function readTargets({ kind, to }: NatRuleText): NatTarget[] {
  return kind === 'redirect' ? [{ ports: parsePortRange(to) }] : parseTargets(to);
}

/** Runs a parser of one part and turns what it throws into an error that knows the part. */
function part<T>(name: keyof NatRuleText, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new NatRuleError(name, (error as Error).message, { cause: error });
  }
}

/** The family that all addresses of the rule share. */
function ruleFamily(
  text: NatRuleText,
  {
    src,
    dst,
    toNet,
    target,
  }: { src: Cidr | undefined; dst: Cidr | undefined; toNet: Cidr | undefined; target: NatTarget },
): Family {
  const given: [keyof NatRuleText, Family | undefined][] = [
    ['family', text.family],
    ['to', target.to?.first.family ?? toNet?.family],
    ['src', src?.family],
    ['dst', dst?.family],
  ];
  let family: Family | undefined;
  for (const [name, value] of given) {
    if (value === undefined) continue;
    family ??= value;
    if (value !== family) {
      throw new NatRuleError(
        name,
        `the rule mixes ${family} and ${value}; all its addresses are of one family`,
      );
    }
  }
  return family ?? 'ipv4';
}

/** What concerns more than one part. */
function checkRule(rule: NatRule): void {
  const { kind, proto, dport, to, toPorts } = rule;
  for (const range of rule.pool?.map((each) => each.to) ?? [to]) {
    if (range && (isNotUnicast(range.first) || isNotUnicast(range.last))) {
      throw new NatRuleError('to', `${formatTarget({ to: range })} is no address that a host can have`);
    }
  }
  if (kind !== 'snat' && rule.isSpilling) {
    throw new NatRuleError('spill', 'only snat to a pool of addresses can spill');
  }
  part('to', () => checkPool(rule));
  const portProtocols = PORT_PROTOCOLS.join(', ');
  if (dport && !hasPorts(proto)) {
    throw new NatRuleError('dport', `dport needs a protocol with ports: ${portProtocols}`);
  }
  if (kind === 'netmap') {
    checkNetmap(rule);
    return;
  }
  if (rule.isNeutral) throw new NatRuleError('neutral', 'only netmap can be checksum-neutral');
  if (kind !== 'dnat' && kind !== 'redirect') {
    // ICMP identifiers are drawn from the same range.
    const hasRange = toPorts ?? rule.pool?.find(({ ports }) => ports);
    if (hasRange && proto !== 0 && !hasPorts(proto) && !isIcmp(proto)) {
      throw new NatRuleError('to', `${protocolName(proto)} has no ports to translate`);
    }
    return;
  }
  if (proto === 0) throw new NatRuleError('proto', `a ${kind} rule needs a protocol: ${portProtocols}`);
  if (!dport) throw new NatRuleError('dport', `a ${kind} rule needs dport, the port to forward`);
  for (const ports of rule.pool?.map((each) => each.ports) ?? [toPorts]) {
    if (!ports || portCount(ports) === 1 || portCount(ports) === portCount(dport)) continue;
    throw new NatRuleError(
      'to',
      `port ranges differ in size: dport ${formatPortRange(dport)} has ${portCount(dport)} ports, ` +
        `to ${formatPortRange(ports)} has ${portCount(ports)}; give as many, or one port`,
    );
  }
}

/** Two prefixes of one length, so that every address has a counterpart. */
function checkNetmap({ src, dst, toNet, dport, family, isNeutral }: NatRule): void {
  if (dst || dport)
    throw new NatRuleError(dst ? 'dst' : 'dport', 'netmap translates whatever the other side is');
  if (!src) throw new NatRuleError('src', 'netmap needs src, the inside prefix');
  if (src.prefix !== toNet!.prefix) {
    throw new NatRuleError(
      'to',
      `the prefixes differ in length: src has ${src.prefix} bits, to has ${toNet!.prefix}; give as many`,
    );
  }
  if (!isNeutral) return;
  if (family !== 'ipv6')
    throw new NatRuleError('neutral', 'checksum-neutral translation is of IPv6 (RFC 6296)');
  if (src.prefix > 64) {
    throw new NatRuleError(
      'neutral',
      'checksum-neutral translation needs prefixes of at most 64 bits (RFC 6296)',
    );
  }
}

/** The rule as the listing's JSON and the configuration file write it: parts that do not restrict are absent. */
export interface NatRuleJson {
  readonly id: number;
  readonly kind: NatRuleKind;
  readonly iface: string;
  readonly family: Family;
  readonly proto?: string;
  readonly src?: string;
  readonly dst?: string;
  /** A number, or `LOW-HIGH`. */
  readonly dport?: number | string;
  /** In the syntax of `--to`. */
  readonly to: string;
  readonly mark?: string;
  readonly neutral?: true;
  readonly spill?: true;
}

/** Renders the rule; `parseNatRule` makes an equal one of these texts. */
export function natRuleJson(rule: NatRule): NatRuleJson {
  const { dport } = rule;
  return {
    id: rule.id,
    kind: rule.kind,
    iface: rule.ifname,
    family: rule.family,
    ...(rule.proto !== 0 && { proto: protocolName(rule.proto) }),
    ...(rule.src && { src: formatCidr(rule.src) }),
    ...(rule.dst && { dst: formatCidr(rule.dst) }),
    ...(dport && { dport: dport.min === dport.max ? dport.min : formatPortRange(dport) }),
    to: natRuleTarget(rule),
    ...(rule.mark && { mark: formatMark(rule.mark) }),
    ...(rule.isNeutral && { neutral: true }),
    ...(rule.isSpilling && { spill: true }),
  };
}

/** The rule's target in the syntax of `--to`. */
export function natRuleTarget({ kind, to, toPorts, toNet, pool }: NatRule): string {
  if (toNet) return formatCidr(toNet);
  if (pool) return formatTargets(pool);
  if (kind === 'redirect') return formatPortRange(toPorts!);
  return formatTarget({ ...(to && { to }), ...(toPorts && { ports: toPorts }) });
}

/** The arguments of `ctnat nat add` that make this rule. */
export function natRuleText(rule: NatRule): string {
  const json = natRuleJson(rule);
  const isIncoming = rule.kind === 'dnat' || rule.kind === 'redirect';
  const needsFamily = rule.family === 'ipv6' && !rule.to && !rule.pool && !rule.src && !rule.dst;
  return [
    rule.kind === 'masquerade' ? 'snat' : rule.kind,
    isIncoming ? `-i ${rule.ifname}` : `-o ${rule.ifname}`,
    needsFamily && '-f ipv6',
    json.src && `-s ${json.src}`,
    json.dst && `-d ${json.dst}`,
    json.proto && `-p ${json.proto}`,
    json.dport && `--dport ${json.dport}`,
    json.mark && `--mark ${json.mark}`,
    `--to ${json.to}`,
    json.neutral && '--neutral',
    json.spill && '--spill',
  ]
    .filter(Boolean)
    .join(' ');
}

/** True if two rules do the same; ids do not count. */
export function isSameRule(a: NatRule, b: NatRule): boolean {
  return a.family === b.family && natRuleText(a) === natRuleText(b);
}
