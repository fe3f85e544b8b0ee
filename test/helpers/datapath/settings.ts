// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the tables configure the datapath with. Every timeout differs from every other by 10 s at least, so that
// a flow's deadline says which one it was given.
import {
  CtTimeout,
  IFACE_PORT_RANGES,
  type Iface,
  IfaceFiltering,
  IfaceFlags,
  Layout,
  NatFiltering,
  NatMappingMode,
  type NatRule,
  NatRuleKind,
  type Settings,
  SettingsFlags,
} from '../../../src/generated/layouts.gen.js';
import { type Limits, limitEntry } from '../../../src/limits.js';
import { ip4Bytes, ip6Bytes } from '../packet.js';

const TICK_NS = 2 ** Layout.TICK_SHIFT;

/** The monotonic clock in ticks, as the datapath reads it. */
export function nowTicks(): number {
  return Number((process.hrtime.bigint() >> BigInt(Layout.TICK_SHIFT)) & 0xffff_ffffn);
}

export const ticksToSeconds = (ticks: number): number => (ticks * TICK_NS) / 1e9;
export const secondsToTicks = (seconds: number): number => Math.round((seconds * 1e9) / TICK_NS);

export type TimeoutName = Exclude<keyof typeof CtTimeout, 'COUNT'>;

const TIMEOUT_NAMES = Object.entries(CtTimeout)
  .filter(([name]) => name !== 'COUNT')
  .map(([name, index]) => ({ name: name as TimeoutName, index }));

/** An established connection's, and the two that cap it where segments are lost; the others are shorter. */
const LONG: Partial<Record<TimeoutName, number>> = {
  TCP_ESTABLISHED: 1000,
  TCP_UNACK: 600,
  TCP_RETRANS: 500,
};

/** Seconds of each timeout, 10 apart at least. */
export const TIMEOUT_SECONDS = Object.fromEntries(
  TIMEOUT_NAMES.map(({ name, index }) => [name, LONG[name] ?? 100 + index * 10]),
) as Record<TimeoutName, number>;

/** Seconds that no test takes, on an emulated machine neither, and less than any of the timeouts. */
export const SOON = 50;

/** The timeout that so many seconds before the deadline stand for, given up to 9 s ago, or the seconds as text. */
export function timeoutName(seconds: number): TimeoutName | string {
  const found = TIMEOUT_NAMES.find(({ name }) => {
    const passed = TIMEOUT_SECONDS[name] - seconds;
    return passed > -0.5 && passed < 9;
  });
  return found?.name ?? `${seconds.toFixed(1)} s`;
}

export function settings(
  fields: { flags?: number; slots?: number; slots6?: number; rules?: number; hintRows?: number } = {},
): Settings {
  const { slots = 0, slots6 = slots } = fields;
  const timeouts = Array<number>(CtTimeout.COUNT).fill(0);
  for (const { name, index } of TIMEOUT_NAMES) timeouts[index] = secondsToTicks(TIMEOUT_SECONDS[name]);
  return {
    layout: Layout.LAYOUT_VERSION,
    flags: fields.flags ?? SettingsFlags.TCP_LOOSE,
    slots4: slots,
    slots6,
    ruleBank: 0,
    ruleCount: fields.rules ?? 0,
    timeouts,
    events: [0, 0, 0, 0],
    tcpMaxRetrans: 3,
    trackBank: 0,
    outsides: 0,
    zero: 0,
    hintRows: fields.hintRows ?? 1,
  };
}

export interface InterfaceSetup {
  masquerade?: 4 | 6 | 'all';
  /** A source NAT rule names it. */
  snat?: boolean;
  /** IPv4 address to masquerade as; '' for none. */
  ip4?: string;
  ip6?: string;
  /** Of masquerade: one range, or several. */
  ports?: readonly [low: number, high: number] | readonly (readonly [low: number, high: number])[];
  /** Greatest MSS that SYNs may announce; MSS_OF_PATH for that of `mtu`. */
  mss?: number;
  mtu?: number;
  /** Of what comes in by it. */
  zone?: number;
  /** Endpoint-independent mapping of every protocol, with this filter. */
  eim?: 'apdf' | 'adf' | 'eif';
  /** Of each subscriber behind it. */
  limits?: Limits;
}

const FILTERS = { apdf: NatFiltering.APDF, adf: NatFiltering.ADF, eif: NatFiltering.EIF } as const;

export function iface(name: string, setup: InterfaceSetup): Iface {
  const four = setup.masquerade === 4 || setup.masquerade === 'all';
  const six = setup.masquerade === 6 || setup.masquerade === 'all';
  const mapping = setup.eim ? NatMappingMode.EIM : NatMappingMode.APDM;
  const filter = FILTERS[setup.eim ?? 'apdf'];
  const [first = []] = setup.ports ?? [];
  const ranges = (typeof first === 'number' ? [setup.ports] : (setup.ports ?? [])) as [number, number][];
  const perRange = (read: (range?: readonly [number, number]) => number): number[] =>
    Array.from({ length: IFACE_PORT_RANGES }, (_, i) => read(ranges[i]));
  return {
    flags:
      (four ? IfaceFlags.MASQUERADE4 : 0) |
      (six ? IfaceFlags.MASQUERADE6 : 0) |
      (four || setup.snat ? IfaceFlags.SNAT4 : 0) |
      (six || setup.snat ? IfaceFlags.SNAT6 : 0) |
      (setup.eim ? IfaceFlags.EIM : 0),
    addr4: setup.ip4 ? word4(setup.ip4) : 0,
    addr6: setup.ip6 ? words6(setup.ip6) : [0, 0, 0, 0],
    portMin: perRange((range) => range?.[0] ?? 0),
    portMax: perRange((range) => range?.[1] ?? 0),
    portRanges: ranges.length,
    mappingTcp: mapping,
    mappingUdp: mapping,
    mappingIcmp: mapping,
    filtering: (filter << IfaceFiltering.TCP_SHIFT) | (filter << IfaceFiltering.UDP_SHIFT),
    name,
    mss: setup.mss ?? 0,
    mtu: setup.mtu ?? 0,
    ...limitEntry(setup.limits),
  };
}

export interface RuleSetup {
  kind: 'snat' | 'masquerade' | 'dnat' | 'redirect' | 'netmapOut' | 'netmapIn';
  /** ifindex of the hook's interface; 0: any. */
  ifindex?: number;
  /** IP protocol; 0: any. */
  proto?: number;
  /** `address/prefix length`; left out: any. IPv4 or IPv6, like `to`. */
  src?: string;
  dst?: string;
  dport?: [low: number, high: number];
  to?: [first: string, last: string];
  ports?: [low: number, high: number];
  /** Of Setup.pool. */
  pool?: [first: number, size: number];
  family?: 4 | 6;
  /** enum nat_rule_flags */
  flags?: number;
  mark?: [value: number, mask: number];
}

const KINDS = {
  snat: NatRuleKind.SNAT,
  masquerade: NatRuleKind.MASQUERADE,
  dnat: NatRuleKind.DNAT,
  redirect: NatRuleKind.REDIRECT,
  netmapOut: NatRuleKind.NETMAP_OUT,
  netmapIn: NatRuleKind.NETMAP_IN,
} as const;

export function natRule(id: number, setup: RuleSetup): NatRule {
  const family =
    setup.family ?? ([setup.src, setup.dst, setup.to?.[0]].some((text) => text?.includes(':')) ? 6 : 4);
  const [saddr, smask] = prefix(setup.src, family);
  const [daddr, dmask] = prefix(setup.dst, family);
  return {
    id,
    kind: KINDS[setup.kind],
    family,
    proto: setup.proto ?? 0,
    flags: setup.flags ?? 0,
    ifindex: setup.ifindex ?? 0,
    mark: setup.mark?.[0] ?? 0,
    markMask: setup.mark?.[1] ?? 0,
    saddr,
    smask,
    daddr,
    dmask,
    dportMin: setup.dport?.[0] ?? 0,
    dportMax: setup.dport?.[1] ?? 0xffff,
    toPortMin: setup.ports?.[0] ?? 0,
    toPortMax: setup.ports?.[1] ?? 0,
    toMin: setup.to ? words(setup.to[0]) : [0, 0, 0, 0],
    toMax: setup.to ? words(setup.to[1]) : [0, 0, 0, 0],
    poolFirst: setup.pool?.[0] ?? 0,
    poolSize: setup.pool?.[1] ?? 0,
  };
}

function word4(address: string): number {
  return ip4Bytes(address).readUInt32BE(0);
}

function words6(address: string): number[] {
  const bytes = ip6Bytes(address);
  return [0, 4, 8, 12].map((at) => bytes.readUInt32BE(at));
}

function words(address: string): number[] {
  return address.includes(':') ? words6(address) : [word4(address), 0, 0, 0];
}

function prefix(text: string | undefined, family: 4 | 6): [value: number[], mask: number[]] {
  const none = [0, 0, 0, 0];
  if (text === undefined) return [none, none];
  const [address, length] = text.split('/') as [string, string | undefined];
  const bits = Number(length ?? (family === 4 ? 32 : 128));
  const mask = none.map((_, i) => {
    const inWord = Math.max(0, Math.min(32, bits - i * 32));
    return inWord === 0 ? 0 : (0xffff_ffff << (32 - inWord)) >>> 0;
  });
  return [words(address).map((word, i) => (word & mask[i]!) >>> 0), mask];
}
