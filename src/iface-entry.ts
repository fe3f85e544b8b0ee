// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the ifaces map says of an attached interface. */
import { parseAddress } from './address.js';
import {
  type Iface,
  IfaceFiltering,
  IfaceFlags,
  MSS_OF_PATH,
  NatFiltering,
  NatMappingMode,
} from './generated/layouts.gen.js';
import {
  type FilteringMode,
  hasEim,
  type InterfaceConfig,
  type MappingMode,
  type Masquerade,
} from './interface-config.js';
import { limitEntry } from './limits.js';
import type { NatRule } from './nat-rule.js';
import { MAX_PORT_RANGES } from './port-range.js';
import { addressWords } from './words.js';

/** The addresses that masquerade puts in, as text; undefined where the interface has none. */
export interface OwnAddresses {
  readonly ipv4: string | undefined;
  readonly ipv6: string | undefined;
}

/** Whether this family's flows get the interface's address. */
export function masquerades(masquerade: Masquerade, family: 4 | 6): boolean {
  return masquerade === 'all' || masquerade === family;
}

/** The entry of an interface; `rules` are all that are in force, `mtu` is 0 where it is not known. */
export function ifaceEntry(
  config: InterfaceConfig,
  rules: readonly NatRule[],
  own: OwnAddresses,
  mtu = 0,
): Iface {
  const ranges = Array.from({ length: MAX_PORT_RANGES }, (_, i) => config.ports?.[i]);
  return {
    flags: ifaceFlags(config, rules),
    addr4: own.ipv4 === undefined ? 0 : addressWords(parseAddress(own.ipv4).bytes)[0]!,
    addr6: own.ipv6 === undefined ? [0, 0, 0, 0] : addressWords(parseAddress(own.ipv6).bytes),
    portMin: ranges.map((range) => range?.min ?? 0),
    portMax: ranges.map((range) => range?.max ?? 0),
    portRanges: config.ports?.length ?? 0,
    mappingTcp: mappingNumber(config.mapping.tcp),
    mappingUdp: mappingNumber(config.mapping.udp),
    mappingIcmp: mappingNumber(config.mapping.icmp),
    filtering:
      (FILTERING[config.filtering.tcp] << IfaceFiltering.TCP_SHIFT) |
      (FILTERING[config.filtering.udp] << IfaceFiltering.UDP_SHIFT),
    name: config.name,
    mss: config.mss === 'pmtu' ? MSS_OF_PATH : (config.mss ?? 0),
    mtu: Math.min(mtu, 0xffff),
    ...limitEntry(config.limits),
  };
}

const FILTERING: Readonly<Record<FilteringMode, NatFiltering>> = {
  apdf: NatFiltering.APDF,
  adf: NatFiltering.ADF,
  eif: NatFiltering.EIF,
};

function ifaceFlags(config: InterfaceConfig, rules: readonly NatRule[]): number {
  const { name, masquerade } = config;
  const hasSourceRule = (family: string) =>
    rules.some(
      ({ kind, ...rule }) =>
        kind !== 'dnat' && kind !== 'redirect' && rule.ifname === name && rule.family === family,
    );
  let flags = hasEim(config.mapping) ? IfaceFlags.EIM : 0;
  if (masquerades(masquerade, 4)) flags |= IfaceFlags.MASQUERADE4 | IfaceFlags.SNAT4;
  if (masquerades(masquerade, 6)) flags |= IfaceFlags.MASQUERADE6 | IfaceFlags.SNAT6;
  if (hasSourceRule('ipv4')) flags |= IfaceFlags.SNAT4;
  if (hasSourceRule('ipv6')) flags |= IfaceFlags.SNAT6;
  return flags;
}

function mappingNumber(mode: MappingMode): number {
  return mode === 'eim' ? NatMappingMode.EIM : NatMappingMode.APDM;
}
