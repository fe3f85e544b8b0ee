// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A mapping that an inside host has asked for, and who counts as the one who has. */
import { type Address, formatAddress, formatIpv6, parseAddress } from '../address.js';
import type { Held, Inside } from './mapper.js';

export interface PcpMapping {
  readonly inside: Inside;
  readonly held: Held;
  /** Hexadecimal; who has it may change the mapping. Of NAT-PMP, which has none, NO_NONCE. */
  readonly nonce: string;
  /** Milliseconds of CLOCK_MONOTONIC. */
  readonly deadlineMs: number;
}

export const NO_NONCE = '0'.repeat(24);

/** What tells mappings apart. */
export function mappingKey({ address, protocol, port }: Inside): string {
  return `${formatAddress(address)} ${protocol} ${port}`;
}

/** Bytes of an IPv6 address that are the subscriber's network (RFC 4291 section 2.5.4). */
const SUBNET_BYTES = 8;

/** Who shares a quota: an IPv4 address, or a /64. */
export function subscriberOf({ family, bytes }: Address): string {
  if (family === 'ipv4') return formatAddress({ family, bytes });
  return `${formatIpv6(bytes.map((byte, i) => (i < SUBNET_BYTES ? byte : 0)))}/64`;
}

interface MappingJson {
  readonly client: string;
  readonly protocol: number;
  readonly port: number;
  readonly external: string;
  readonly externalPort: number;
  readonly slot: number;
  readonly gen: number;
  readonly nonce: string;
  readonly deadlineMs: number;
}

export function mappingJson({ inside, held, nonce, deadlineMs }: PcpMapping): MappingJson {
  const { slot, gen, external } = held;
  return {
    client: formatAddress(inside.address),
    protocol: inside.protocol,
    port: inside.port,
    external: formatAddress(external.address),
    externalPort: external.port,
    ...{ slot, gen, nonce, deadlineMs },
  };
}

/** What mappingJson() was given. */
export function mappingOfJson(json: MappingJson): PcpMapping {
  const { client, protocol, port, external, externalPort, slot, gen, nonce, deadlineMs } = json;
  return {
    inside: { address: parseAddress(client), protocol, port },
    held: { slot, gen, external: { address: parseAddress(external), port: externalPort } },
    ...{ nonce, deadlineMs },
  };
}
