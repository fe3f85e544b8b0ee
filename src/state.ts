// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What shall hold: interfaces with their options, NAT rules, exempt destinations, timeouts. And its text. */

import type { XdpMode } from 'libbpf-ts';
import { type Cidr, formatCidr, parseCidr } from './address.js';
import { DEFAULT_TIMEOUTS } from './defaults.js';
import type { FlavourName } from './flavours.js';
import { filteringFor, type InterfaceConfig } from './interface-config.js';
import { type NatRule, type NatRuleJson, natRuleJson, parseNatRule } from './nat-rule.js';
import type { Timeouts } from './timeouts.js';
import { parseTrackRule, type TrackRule, type TrackRuleJson, trackRuleJson } from './track-rule.js';

/** How programs sit on an interface: by links of their own, or as filters of the clsact qdisc. */
export type HookKind = 'tcx' | 'clsact';

/** An interface that shall be attached, and what is known of it since it was. */
export interface Attachment extends InterfaceConfig {
  /** When it was attached last; 0: it has not been there yet. */
  readonly ifindex: number;
  readonly hook: HookKind;
  /** Its clsact qdisc was made for ctnat, and goes with it if nobody else uses it by then. */
  readonly madeQdisc: boolean;
  /** In XDP mode: where its program runs. */
  readonly xdp?: XdpMode;
  /** Whether its established flows skip the stack at TC. */
  readonly redirects?: boolean;
  /** Why it is in that mode, where that was not asked for. */
  readonly why?: string;
}

/** A flavour that this kernel has the features for and whose programs its verifier does not take. */
export interface RefusedFlavour {
  readonly flavour: FlavourName;
  /** The first program that was refused, and the verifier's reason. */
  readonly program: string;
  readonly reason: string;
}

export interface State {
  readonly flavour: FlavourName;
  /** Those that were tried before it; left out: none. */
  readonly refused?: readonly RefusedFlavour[];
  /** Inode of the network namespace of the interfaces; 0 while there are none. */
  readonly netns: number;
  readonly interfaces: readonly Attachment[];
  /** In the order in which they are tried, with their ids. */
  readonly rules: readonly NatRule[];
  /** Rules for tracking, in order, with their ids. */
  readonly track: readonly TrackRule[];
  readonly exempt: readonly Cidr[];
  readonly timeouts: Timeouts;
}

/** What holds after loading. */
export function emptyState(flavour: FlavourName, refused: readonly RefusedFlavour[] = []): State {
  return {
    flavour,
    ...(refused.length > 0 && { refused }),
    netns: 0,
    interfaces: [],
    rules: [],
    track: [],
    exempt: [],
    timeouts: DEFAULT_TIMEOUTS,
  };
}

interface StateJson extends Omit<State, 'rules' | 'track' | 'exempt'> {
  readonly rules: readonly NatRuleJson[];
  readonly track?: readonly TrackRuleJson[];
  readonly exempt: readonly string[];
}

export function encodeState(state: State): string {
  const json: StateJson = {
    ...state,
    rules: state.rules.map(natRuleJson),
    track: state.track.map(trackRuleJson),
    exempt: state.exempt.map(formatCidr),
  };
  return JSON.stringify(json);
}

/** What encodeState() was given. */
export function decodeState(text: string): State {
  const json = JSON.parse(text) as StateJson;
  // what a later version has added has its default
  const timeouts = { ...DEFAULT_TIMEOUTS, ...json.timeouts };
  const interfaces = json.interfaces.map((each) => ({
    ...each,
    filtering: each.filtering ?? filteringFor(each.mapping),
  }));
  return {
    ...json,
    interfaces,
    timeouts,
    rules: json.rules.map(decodeRule),
    track: (json.track ?? []).map(({ id, ...text }) => ({ ...parseTrackRule(text), id })),
    exempt: json.exempt.map(parseCidr),
  };
}

function decodeRule(json: NatRuleJson): NatRule {
  const { id, kind, iface, family, proto, src, dst, dport, to, mark, neutral, spill } = json;
  const rule = parseNatRule({
    kind: kind === 'masquerade' ? 'snat' : kind,
    ifname: iface,
    family,
    ...(proto !== undefined && { proto }),
    ...(src !== undefined && { src }),
    ...(dst !== undefined && { dst }),
    ...(dport !== undefined && { dport: String(dport) }),
    ...(mark !== undefined && { mark }),
    ...(neutral && { neutral }),
    ...(spill && { spill }),
    to,
  });
  return { ...rule, id };
}
