// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** One live NAT mapping (RFC 4787 section 1), as every listing shows it. */
import type { Family } from './address.js';
import type { NatType } from './flow.js';

/** An address with a port, in host order; for ICMP the port is the identifier. */
export interface Endpoint {
  address: string;
  port: number;
}

/** The contract's JSON object, and behind it what only ctnat itself needs. */
export interface Mapping {
  family: Family;
  proto: string;
  protonum: number;
  type: Exclude<NatType, 'none'>;
  iface: string;
  /** As the inside host knows it. */
  internal: Endpoint;
  /** As the outside sees it. */
  external: Endpoint;
  /** The other side; null where the mapping is endpoint-independent. */
  remote: Endpoint | null;
  /** Seconds since the mapping was made, in tenths. */
  age: number;
  /** Live flows that use it. */
  flows: number;
  /** Seconds that the inside host was promised (PCP, NAT-PMP); absent: the mapping lives as its packets say. */
  lifetime?: number;

  /** Internal: the state of its flow, where there is one flow and it has a state. */
  state?: string;
}

/** True if the mapping changes where a packet from outside goes, not where one from inside seems to come from. */
export function isDestinationNat(mapping: Mapping): boolean {
  return mapping.type === 'dnat' || mapping.type === 'redirect';
}
