// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A rule for tracking: built from texts (command line and configuration file say the same), checked, rendered back. */
import { type Cidr, type Family, formatCidr, parseCidr } from './address.js';
import { CtnatError, quoted } from './errors.js';
import { checkInterfaceName } from './interface-config.js';
import { formatMark, type Mark, parseMark } from './mark.js';
import { formatPortRange, type PortRange, parsePortRange } from './port-range.js';
import { hasPorts, PORT_PROTOCOLS, parseProtocol, protocolName } from './protocol.js';

/** As many as the rules' map holds (TRACK_RULES_MAX). */
export const MAX_TRACK_RULES = 32;

/**
 * notrack: the packet is passed as it came. set and save: its flow gets a mark, save the packet's. restore: the packet
 * gets its flow's mark.
 */
export type TrackAction = 'notrack' | 'set' | 'save' | 'restore';

export interface TrackRule {
  /** 1 to 65535 once the rule is in force, 0 before. */
  readonly id: number;
  readonly action: TrackAction;
  /** Of set: what the flow's mark gets. */
  readonly value?: Mark;
  /** The interface that the packet came in by. */
  readonly in?: string;
  /** The interface that it leaves by: then it is asked about there. */
  readonly out?: string;
  /** Absent: both. */
  readonly family?: Family;
  readonly src?: Cidr;
  readonly dst?: Cidr;
  /** 0: any. */
  readonly proto: number;
  /** Only of protocols with ports. */
  readonly sport?: PortRange;
  readonly dport?: PortRange;
  /** Of the packet, as it came to the hook. */
  readonly mark?: Mark;
}

/** A rule's parts as text. */
export interface TrackRuleText {
  /** `notrack`, `mark set VALUE[/MASK]`, `mark save` or `mark restore`. */
  readonly action: string;
  readonly in?: string;
  readonly out?: string;
  readonly family?: Family;
  readonly src?: string;
  readonly dst?: string;
  readonly proto?: string;
  readonly sport?: string;
  readonly dport?: string;
  readonly mark?: string;
}

/** The rule as the listing's JSON and the ledger write it; without id it is a TrackRuleText. */
export interface TrackRuleJson extends TrackRuleText {
  readonly id: number;
}

/** A part of a rule is wrong: `part` says which, so that the caller can point at its flag or key. */
export class TrackRuleError extends CtnatError {
  readonly part: keyof TrackRuleText;

  constructor(part: keyof TrackRuleText, message: string, options?: ErrorOptions) {
    super(message, options);
    this.part = part;
  }
}

/**
 * Makes a rule of its texts, with id 0.
 * @throws TrackRuleError naming the wrong part
 */
export function parseTrackRule(text: TrackRuleText): TrackRule {
  const read = <T>(name: keyof TrackRuleText, parse: (text: string) => T): T | undefined => {
    const given = text[name];
    return given === undefined ? undefined : part(name, () => parse(given));
  };
  const action = part('action', () => parseAction(text.action));
  const [inside, out] = [read('in', checkInterfaceName), read('out', checkInterfaceName)];
  const [src, dst] = [read('src', parseCidr), read('dst', parseCidr)];
  const proto = read('proto', parseProtocol) ?? 0;
  const [sport, dport] = [read('sport', parsePorts), read('dport', parsePorts)];
  const mark = read('mark', parseMark);
  for (const [name, range] of [
    ['sport', sport],
    ['dport', dport],
  ] as const) {
    if (!range || hasPorts(proto)) continue;
    throw new TrackRuleError(name, `${name} needs a protocol with ports: ${PORT_PROTOCOLS.join(', ')}`);
  }
  const family = ruleFamily(text, src, dst);
  return {
    id: 0,
    ...action,
    ...(inside !== undefined && { in: inside }),
    ...(out !== undefined && { out }),
    ...(family && { family }),
    ...(src && { src }),
    ...(dst && { dst }),
    proto,
    ...(sport && { sport }),
    ...(dport && { dport }),
    ...(mark && { mark }),
  };
}

function parsePorts(text: string): PortRange {
  return parsePortRange(text);
}

function part<T>(name: keyof TrackRuleText, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw new TrackRuleError(name, (error as Error).message, { cause: error });
  }
}

function parseAction(text: string): Pick<TrackRule, 'action' | 'value'> {
  const words = text.trim().split(/\s+/);
  const [first, second, third] = words;
  if (first === 'notrack' && words.length === 1) return { action: 'notrack' };
  if (first === 'mark' && second === 'set' && words.length === 3) {
    return { action: 'set', value: parseMark(third!) };
  }
  if (first === 'mark' && (second === 'save' || second === 'restore') && words.length === 2) {
    return { action: second };
  }
  throw new RangeError(
    `unknown action ${quoted(text)}; give notrack, mark set VALUE[/MASK], mark save or mark restore`,
  );
}

/** The family that all addresses share; undefined: both. */
function ruleFamily(
  { family }: TrackRuleText,
  src: Cidr | undefined,
  dst: Cidr | undefined,
): Family | undefined {
  let found = family;
  for (const [name, given] of [
    ['src', src],
    ['dst', dst],
  ] as const) {
    if (!given) continue;
    found ??= given.family;
    if (given.family === found) continue;
    throw new TrackRuleError(
      name,
      `the rule mixes ${found} and ${given.family}; all its addresses are of one family`,
    );
  }
  return found;
}

/** What the rule does, as the configuration file's `action` says it. */
export function trackActionText({ action, value }: TrackRule): string {
  if (action === 'notrack') return action;
  return value ? `mark set ${formatMark(value)}` : `mark ${action}`;
}

/** Renders the rule; `parseTrackRule` makes an equal one of it. */
export function trackRuleJson(rule: TrackRule): TrackRuleJson {
  const { id, family, src, dst, proto, sport, dport, mark, out } = rule;
  return {
    id,
    action: trackActionText(rule),
    ...(rule.in !== undefined && { in: rule.in }),
    ...(out !== undefined && { out }),
    ...(family && { family }),
    ...(src && { src: formatCidr(src) }),
    ...(dst && { dst: formatCidr(dst) }),
    ...(proto !== 0 && { proto: protocolName(proto) }),
    ...(sport && { sport: formatPortRange(sport) }),
    ...(dport && { dport: formatPortRange(dport) }),
    ...(mark && { mark: formatMark(mark) }),
  };
}

/** The arguments of `ctnat track add` that make this rule. */
export function trackRuleText(rule: TrackRule): string {
  const json = trackRuleJson(rule);
  return [
    rule.action,
    json.in && `-i ${json.in}`,
    json.out && `-o ${json.out}`,
    rule.family && !rule.src && !rule.dst && `-f ${rule.family}`,
    json.src && `-s ${json.src}`,
    json.dst && `-d ${json.dst}`,
    json.proto && `-p ${json.proto}`,
    json.sport && `--sport ${json.sport}`,
    json.dport && `--dport ${json.dport}`,
    json.mark && `--mark ${json.mark}`,
    rule.value && `--to ${formatMark(rule.value)}`,
  ]
    .filter(Boolean)
    .join(' ');
}

/** True if two rules do the same; ids do not count. */
export function isSameTrackRule(a: TrackRule, b: TrackRule): boolean {
  return trackRuleText(a) === trackRuleText(b);
}
