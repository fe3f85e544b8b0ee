// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The live NAT mappings. They are no table of their own: a mapping depends on both addresses and ports
 * (RFC 4787 section 4.1), so each translated flow is one, and lives and dies with it.
 */
import type { Datapath } from './datapath.js';
import { decodeFlow } from './decode-flow.js';
import type { Filter } from './filter.js';
import type { Flow, FlowTuple } from './flow.js';
import { FlowTable, type Match } from './flow-table.js';
import { NatType } from './generated/layouts.gen.js';
import type { Endpoint, Mapping } from './mapping.js';

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

export class NatTable {
  readonly #flows: FlowTable;

  constructor(datapath: Datapath) {
    this.#flows = new FlowTable(datapath);
  }

  /** The matching mappings; the filter is that of their flows. */
  *mappings(filter: Filter = {}): Generator<Mapping, void, undefined> {
    for (const { raw, now } of this.#matches(filter)) {
      const mapping = mappingOf(decodeFlow(raw, now, this.#flows.names));
      if (mapping) yield mapping;
    }
  }

  /** Tears down the flows of the matching mappings, and the mappings with them. Returns how many. */
  flush(filter: Filter = {}): number {
    let deleted = 0;
    for (const { raw } of this.#matches(filter)) if (this.#flows.deleteMatch(raw)) deleted++;
    return deleted;
  }

  *#matches(filter: Filter): Generator<Match, void, undefined> {
    for (const match of this.#flows.matches(filter)) if (match.raw.nat !== NatType.NONE) yield match;
  }
}
