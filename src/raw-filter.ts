// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Filters on a slot's bytes: what does not match is never decoded. Says the same as filter.ts of decoded flows. */
import { type Cidr, cidrContains } from './address.js';
import { protocolStates } from './decode-flow.js';
import type { Filter } from './filter.js';
import { CtDir } from './generated/layouts.gen.js';
import type { InterfaceNames } from './interface-names.js';
import type { PortRange } from './port-range.js';
import { GRE, hasPorts, isIcmp } from './protocol.js';
import type { FlowDir, RawFlow, TuplePlaces } from './raw-flow.js';

export type RawPredicate = (raw: RawFlow) => boolean;

const FAMILIES = { ipv4: 4, ipv6: 6 } as const;

/** The families that can match: the others' tables need not be read. */
export function filterFamilies(filter: Filter): readonly (4 | 6)[] {
  const wanted = [filter.family, ...addresses(filter).map(({ cidr }) => cidr.family)].filter(
    (family) => family !== undefined,
  );
  return ([4, 6] as const).filter((family) => wanted.every((name) => FAMILIES[name] === family));
}

/** Makes the predicate, for flows of the families that filterFamilies() names. Cheap tests come first. */
export function rawPredicate(filter: Filter, names: InterfaceNames): RawPredicate {
  const { proto, sport, dport, states, iface, mark, zone } = filter;
  const tests: RawPredicate[] = [];
  if (proto !== undefined) tests.push((raw) => raw.proto === proto);
  if (sport) tests.push((raw) => matchesPort(raw, raw.sport(CtDir.ORIGINAL), sport));
  if (dport) tests.push((raw) => matchesPort(raw, raw.dport(CtDir.ORIGINAL), dport));
  if (states) tests.push((raw) => states.includes(protocolStates(raw.proto)?.[raw.state] ?? ''));
  if (mark) tests.push((raw) => (raw.mark & mark.mask) >>> 0 === mark.value);
  if (zone !== undefined) tests.push((raw) => raw.zone === zone);
  if (iface !== undefined) tests.push((raw) => names.of(raw.ifindex) === iface);
  for (const { cidr, dir, end } of addresses(filter)) {
    tests.push((raw) => cidrContains(cidr, raw.bytes, raw.tuple[dir][end]));
  }
  if (tests.length === 1) return tests[0]!;
  return (raw) => tests.every((test) => test(raw));
}

interface AddressTest {
  readonly cidr: Cidr;
  readonly dir: FlowDir;
  readonly end: keyof Pick<TuplePlaces, 'saddr' | 'daddr'>;
}

function addresses({ src, dst, replySrc, replyDst }: Filter): AddressTest[] {
  const all: (Omit<AddressTest, 'cidr'> & { cidr: Cidr | undefined })[] = [
    { cidr: src, dir: CtDir.ORIGINAL, end: 'saddr' },
    { cidr: dst, dir: CtDir.ORIGINAL, end: 'daddr' },
    { cidr: replySrc, dir: CtDir.REPLY, end: 'saddr' },
    { cidr: replyDst, dir: CtDir.REPLY, end: 'daddr' },
  ];
  return all.filter((each): each is AddressTest => each.cidr !== undefined);
}

/** ICMP's identifier and GRE's key stand where both ports are. Protocols with neither match no port. */
function matchesPort(raw: RawFlow, port: number, { min, max }: PortRange): boolean {
  return port >= min && port <= max && (hasPorts(raw.proto) || isIcmp(raw.proto) || raw.proto === GRE);
}
