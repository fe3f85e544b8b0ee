// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Who may ask for mappings by PCP, and what he may ask for. */
import { parseCidr } from '../address.js';
import { DEFAULT_PCP } from '../defaults.js';
import { quoted } from '../errors.js';
import type { InterfaceConfig } from '../interface-config.js';
import { parsePortRange } from '../port-range.js';
import type { Judge } from './build.js';
import type { PcpConfig } from './config.js';
import type { FilePcp } from './file.js';

/** Milliseconds. RFC 6887 section 15 wants 2 minutes at least and a day at most; shorter ones serve tests. */
const LIFETIME_BOUNDS = [1000, 7 * 86_400_000] as const;

export function buildPcp(
  file: FilePcp,
  interfaces: readonly InterfaceConfig[],
  judge: Judge,
): PcpConfig | undefined {
  for (const [i, name] of file.inside.entries()) {
    if (!interfaces.some((each) => each.name === name)) {
      judge.refuse(['pcp', 'inside', i], `${quoted(name)} is none of the interfaces; name it there, too`);
    }
  }
  const outside = buildOutside(file, interfaces, judge);
  const allow = file.allow?.flatMap(
    (text, i) => judge.read(['pcp', 'allow', i], () => parseCidr(text)) ?? [],
  );
  const ports = file.ports?.flatMap(
    (range, i) => judge.read(['pcp', 'ports', i], () => parsePortRange(String(range))) ?? [],
  );
  const lifetime = buildLifetime(file.lifetime ?? {}, judge);
  if (outside === undefined) return undefined;
  return {
    inside: file.inside,
    outside,
    ...(allow && { allow }),
    lifetime,
    limit: file.limit ?? DEFAULT_PCP.limit,
    ports: ports ?? DEFAULT_PCP.ports,
    natPmp: file.natPmp ?? DEFAULT_PCP.natPmp,
  };
}

/** A mapping that is asked for holds for every destination: only an interface with such mappings can have it. */
function buildOutside(
  { outside, inside }: FilePcp,
  interfaces: readonly InterfaceConfig[],
  judge: Judge,
): string | undefined {
  if (outside === undefined) {
    const fit = interfaces.filter((each) => maps(each) && !inside.includes(each.name));
    if (fit.length === 1) return fit[0]!.name;
    const found = fit.length === 0 ? 'no interface' : fit.map(({ name }) => quoted(name)).join(' and ');
    judge.refuse(
      ['pcp'],
      fit.length === 0
        ? 'no outside interface has endpoint-independent mappings; give one mapping: eim (or { tcp: eim, udp: eim })'
        : `${found} have endpoint-independent mappings; say which is outside`,
    );
    return undefined;
  }
  const iface = interfaces.find(({ name }) => name === outside);
  const path = ['pcp', 'outside'];
  if (!iface) judge.refuse(path, `${quoted(outside)} is none of the interfaces; name it there, too`);
  else if (inside.includes(outside)) judge.refuse(path, `${quoted(outside)} is inside as well`);
  else if (!maps(iface)) {
    judge.refuse(
      path,
      `${quoted(outside)} has no endpoint-independent mappings of TCP or UDP, which PCP needs; give it mapping: eim`,
    );
  }
  return outside;
}

function maps({ mapping }: InterfaceConfig): boolean {
  return mapping.tcp === 'eim' || mapping.udp === 'eim';
}

function buildLifetime(text: { min?: string; max?: string }, judge: Judge): PcpConfig['lifetime'] {
  const seconds = (key: 'min' | 'max'): number => {
    const given = text[key];
    if (given === undefined) return DEFAULT_PCP.lifetime[key];
    const ms = judge.duration(['pcp', 'lifetime', key], given, LIFETIME_BOUNDS, '1s to 7d');
    return ms === undefined ? DEFAULT_PCP.lifetime[key] : Math.ceil(ms / 1000);
  };
  const [min, max] = [seconds('min'), seconds('max')];
  if (min <= max) return { min, max };
  // one that is not given gives way to the other
  if (text.min === undefined) return { min: max, max };
  if (text.max === undefined) return { min, max: min };
  judge.refuse(['pcp', 'lifetime', 'min'], 'longer than max');
  return { min, max: min };
}
