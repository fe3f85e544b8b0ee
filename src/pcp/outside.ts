// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * With which address an inside host's packets leave, as the datapath chooses it (bpf/plan.h): by the first source NAT rule
 * for the host, else by masquerade. Rules for some destinations or marks are exceptions, and are passed over.
 */
import { endianness } from 'node:os';
import { type Address, cidrContains } from '../address.js';
import { poolEntries } from '../nat-pool.js';
import type { NatRule } from '../nat-rule.js';
import { wordsAddress } from '../words.js';
import type { Inside, Outside } from './mapper.js';

/** The rule that speaks for all that the inside endpoint sends by the interface. */
export function sourceRule(
  rules: readonly NatRule[],
  ifname: string,
  { address, protocol }: Inside,
): NatRule | undefined {
  return rules.find(
    (rule) =>
      rule.kind !== 'dnat' &&
      rule.kind !== 'redirect' &&
      rule.ifname === ifname &&
      rule.family === address.family &&
      (rule.proto === 0 || rule.proto === protocol) &&
      (!rule.src || cidrContains(rule.src, address.bytes)) &&
      !rule.dst &&
      !rule.dport &&
      !rule.mark,
  );
}

/** The address, and ports, that a snat rule gives the inside host. */
export function snatOutside(rule: NatRule, host: Address): Outside | undefined {
  const pool = poolEntries(rule);
  if (pool.length > 0) {
    const place = hostHash(host.bytes) % pool.length;
    const { addr, place: within, places } = pool[place]!;
    const own = pool.slice(place - within, place - within + places);
    const ranges = own.flatMap(({ portMin, portMax }) => (portMax ? [{ min: portMin, max: portMax }] : []));
    return { address: wordsAddress(addr, host.family), ranges };
  }
  if (!rule.to) return undefined;
  const { first, last } = rule.to;
  const at = first.bytes.length - 4;
  const low = viewOf(first.bytes).getUint32(at);
  const span = viewOf(last.bytes).getUint32(at) - low;
  const bytes = first.bytes.slice();
  viewOf(bytes).setUint32(at, low + (hostHash(host.bytes) % (span + 1)));
  return { address: { family: host.family, bytes }, ranges: rule.toPorts ? [rule.toPorts] : [] };
}

/** bpf/plan.h, host_hash(). */
export function hostHash(bytes: Uint8Array): number {
  const view = viewOf(bytes);
  const word = (i: number): number => view.getUint32(4 * i, endianness() === 'LE');
  let h = word(0);
  if (bytes.length === 16) {
    h ^= Math.imul(word(1), 0x9e3779b1) ^ Math.imul(word(2), 0x85ebca77) ^ Math.imul(word(3), 0xc2b2ae3d);
  }
  h ^= h >>> 16;
  h = Math.imul(h, 0x7feb352d);
  h ^= h >>> 15;
  h = Math.imul(h, 0x846ca68b);
  return (h ^ (h >>> 16)) >>> 0;
}

/** Whether a port forward takes what comes in for this port of the outside address. */
export function isForwarded(
  rules: readonly NatRule[],
  ifname: string,
  protocol: number,
  address: Address,
  port: number,
): boolean {
  return rules.some(
    ({ kind, ifname: at, family, proto, dst, dport }) =>
      (kind === 'dnat' || kind === 'redirect') &&
      at === ifname &&
      family === address.family &&
      (proto === 0 || proto === protocol) &&
      (!dst || cidrContains(dst, address.bytes)) &&
      (!dport || (port >= dport.min && port <= dport.max)),
  );
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
