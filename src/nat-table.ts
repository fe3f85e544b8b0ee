// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The live NAT mappings. They are no table of their own: where a mapping depends on both addresses and ports
 * (RFC 4787 section 4.1), each translated flow is one, and lives and dies with it. An endpoint-independent one
 * is an endpoint of the flow map, and stands for all of its flows.
 */

import { formatIpv4, formatIpv6 } from './address.js';
import type { Datapath } from './datapath.js';
import { decodeFlow, flowAge, natTypeName } from './decode-flow.js';
import { type Filter, mappingPredicate } from './filter.js';
import type { Flow, FlowTuple } from './flow.js';
import { FlowTable, type Match } from './flow-table.js';
import { CtDir, CtStatus, FlowFlags, NatType } from './generated/layouts.gen.js';
import type { InterfaceNames } from './interface-names.js';
import type { Endpoint, Mapping } from './mapping.js';
import { protocolName } from './protocol.js';
import { filterFamilies } from './raw-filter.js';
import { type FlowDir, HOLDS, type RawFlow } from './raw-flow.js';
import { SlotReader } from './slot-reader.js';
import { Sweeper } from './sweeper.js';
import { msOfTicks, nowTicks } from './ticks.js';

const HAS_ENDPOINT = FlowFlags.SOURCE_ENDPOINT | FlowFlags.DESTINATION_ENDPOINT;

/**
 * The mapping that a flow is, undefined if it is not translated. Of a forward whose source is translated too it
 * is the forward's.
 */
export function mappingOf(flow: Flow): Mapping | undefined {
  const { natType, original, reply } = flow;
  if (natType === 'none') return undefined;
  const isNetmapIn = natType === 'netmap' && flow.status.includes('DST_NAT');
  const toInside = natType === 'dnat' || natType === 'redirect' || isNetmapIn;
  const mapping: Mapping = {
    family: flow.family,
    proto: flow.proto,
    protonum: flow.protonum,
    type: natType,
    iface: flow.iface,
    internal: toInside ? source(reply) : source(original),
    external: toInside ? destination(original) : destination(reply),
    remote: toInside ? source(original) : destination(original),
    age: flow.age,
    flows: 1,
  };
  if (flow.state !== undefined) mapping.state = flow.state;
  return mapping;
}

/** ICMP's identifier and GRE's key are at both ends, protocols without ports have 0. */
function source({ src, sport, id, key }: FlowTuple): Endpoint {
  return { address: src, port: sport ?? id ?? key ?? 0 };
}

function destination({ dst, dport, id, key }: FlowTuple): Endpoint {
  return { address: dst, port: dport ?? id ?? key ?? 0 };
}

interface FoundEndpoint {
  readonly family: 4 | 6;
  readonly slot: number;
  readonly gen: number;
  readonly mapping: Mapping;
  /** Not past its deadline, which is beyond that of every flow but those of strangers whom nobody has answered. */
  readonly isOpen: boolean;
  /** As outsideOf() has it. */
  readonly name: string;
}

/** The mapping that an endpoint is. */
function endpointMapping(raw: RawFlow, now: number, names: InterfaceNames): Mapping {
  const { original, reply } = { original: raw.tuple[CtDir.ORIGINAL], reply: raw.tuple[CtDir.REPLY] };
  const address = raw.family === 4 ? formatIpv4 : formatIpv6;
  return {
    family: raw.familyName,
    proto: protocolName(raw.proto),
    protonum: raw.proto,
    type: natTypeName(raw.nat) as Mapping['type'],
    iface: names.of(raw.ifindex),
    internal: { address: address(raw.bytes, original.saddr), port: raw.sport(CtDir.ORIGINAL) },
    external: { address: address(raw.bytes, reply.daddr), port: raw.dport(CtDir.REPLY) },
    remote: null,
    age: flowAge(raw, now),
    flows: raw.endpointFlows,
    ...(raw.status & CtStatus.FIXED_TIMEOUT && {
      lifetime: Math.floor(msOfTicks(raw.ticksLeft(now)) / 1000),
    }),
  };
}

/** Which outside endpoint a flow's destination in one direction is, to compare. */
function outsideOf(raw: RawFlow, dir: FlowDir): string {
  const start = raw.tuple[dir].daddr;
  const address = raw.bytes.subarray(start, start + raw.addressSize).join('.');
  return `${raw.family} ${raw.proto} ${address} ${raw.dport(dir)}`;
}

export class NatTable {
  readonly #datapath: Datapath;
  readonly #flows: FlowTable;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
    this.#flows = new FlowTable(datapath);
  }

  /** The matching mappings; the filter is that of their flows. */
  *mappings(filter: Filter = {}): Generator<Mapping, void, undefined> {
    for (const { mapping, isOpen } of this.#endpoints(filter)) if (isOpen) yield mapping;
    for (const { raw, now } of this.#matches(filter)) {
      const mapping = mappingOf(decodeFlow(raw, now, this.#flows.names));
      if (mapping) yield mapping;
    }
  }

  /** Tears down the flows of the matching mappings, and the mappings with them. Returns how many. */
  flush(filter: Filter = {}): number {
    let deleted = this.#flushEndpoints(filter);
    for (const { raw } of this.#matches(filter)) if (this.#flows.deleteMatch(raw)) deleted++;
    return deleted;
  }

  /** An endpoint can be closed when no flow counts on it. */
  #flushEndpoints(filter: Filter): number {
    const found = [...this.#endpoints(filter)];
    if (found.length === 0) return 0;
    const outside = new Set(found.map(({ name }) => name));
    for (const { raw } of this.#flows.matches(filter.family ? { family: filter.family } : {})) {
      const isOf = (flag: number, dir: FlowDir): boolean =>
        (raw.flags & flag) !== 0 && outside.has(outsideOf(raw, dir));
      if (
        isOf(FlowFlags.SOURCE_ENDPOINT, CtDir.REPLY) ||
        isOf(FlowFlags.DESTINATION_ENDPOINT, CtDir.ORIGINAL)
      )
        this.#flows.deleteMatch(raw);
    }
    const sweeper = new Sweeper(this.#datapath);
    return found.filter(({ family, slot, gen, isOpen }) => sweeper.deleteOne(family, slot, gen) && isOpen)
      .length;
  }

  *#endpoints(filter: Filter): Generator<FoundEndpoint, void, undefined> {
    const matches = mappingPredicate(filter);
    for (const family of filterFamilies(filter)) {
      const reader = new SlotReader(this.#datapath.maps, family);
      for (const raw of reader.held(HOLDS.endpoint)) {
        const { slot, gen } = raw;
        const now = nowTicks();
        const isOpen = raw.ticksLeft(now) >= 0;
        const mapping = endpointMapping(raw, now, this.#flows.names);
        const name = outsideOf(raw, CtDir.REPLY);
        if (matches(mapping)) yield { family, slot, gen, mapping, isOpen, name };
      }
    }
  }

  *#matches(filter: Filter): Generator<Match, void, undefined> {
    for (const match of this.#flows.matches(filter)) {
      const { nat, flags } = match.raw;
      if (nat !== NatType.NONE && !(flags & HAS_ENDPOINT)) yield match;
    }
  }
}
