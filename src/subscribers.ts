// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What subscribers have, as the programs count it (bpf/limit.h). An entry without a flow that has rested for a
 * while is taken away by the sweep. A flow that begins in that instant is not counted; it is taken off all the same
 * when it ends, so that for a while its subscriber may have one more than its limit, until the entry goes again.
 */
import { type Family, formatAddress } from './address.js';
import type { Datapath } from './datapath.js';
import {
  type Iface,
  LIMIT_TOKEN_SHIFT,
  type Subscriber,
  type SubscriberKey,
} from './generated/layouts.gen.js';
import type { InterfaceNames } from './interface-names.js';
import { limitPrefixOf } from './limits.js';
import type { SweptMap } from './product.js';
import { nowTicks, TICK_MS } from './ticks.js';
import { wordsAddress } from './words.js';

/** A subscriber that has met a limit of its, or stands at it. */
export interface LimitedSubscriber {
  readonly family: Family;
  /** The address, or the IPv6 prefix with its length. */
  readonly subscriber: string;
  readonly zone: number;
  readonly iface: string;
  /** Translated flows and endpoint-independent mappings that it has. */
  readonly flows: number;
  /** How many it may have; null: any number. */
  readonly limit: number | null;
  /** Packets that would have begun one more than that. */
  readonly refusedPorts: number;
  /** Packets that would have begun one too early. */
  readonly refusedRate: number;
}

/** How long an entry without flows stays, so that what was refused is shown for a while. */
const REST_TICKS = 60_000 / TICK_MS;

/** The number of flows and mappings; below 0 while flows are taken off that were not counted. */
export function flowsOf({ flows }: Pick<Subscriber, 'flows'>): number {
  return flows | 0;
}

/** Those that were refused something most first. */
export function readLimited({ maps }: Datapath, names: InterfaceNames): LimitedSubscriber[] {
  const found: LimitedSubscriber[] = [];
  for (const [key, value] of maps.subscribers.entries()) {
    const limit = maps.ifaces.get(key.ifindex)?.limitPorts || null;
    const flows = Math.max(0, flowsOf(value));
    const refusedPorts = Number(value.refusedPorts);
    const refusedRate = Number(value.refusedRate);
    if (refusedPorts + refusedRate === 0 && (limit === null || flows < limit)) continue;
    const family = key.family === 4 ? 'ipv4' : 'ipv6';
    const address = formatAddress(wordsAddress(key.addr, family));
    const length = limitPrefixOf(key.prefix);
    found.push({
      family,
      subscriber: family === 'ipv6' && length < 128 ? `${address}/${length}` : address,
      zone: key.zone,
      iface: names.of(key.ifindex),
      flows,
      limit,
      refusedPorts,
      refusedRate,
    });
  }
  return found.sort((a, b) => b.refusedPorts + b.refusedRate - a.refusedPorts - a.refusedRate);
}

/** Takes away the entries of those that have no flow, have rested, and whose bucket is full again. */
export function sweepSubscribers({ maps }: Datapath): SweptMap {
  const swept = { name: 'subscribers', looked: 0, live: 0, deleted: 0 };
  const now = nowTicks();
  for (const [key, value] of [...maps.subscribers.entries()]) {
    swept.looked++;
    const isIdle = flowsOf(value) <= 0 && hasRested(value, maps.ifaces.get(key.ifindex), now);
    if (isIdle && maps.subscribers.delete(key)) swept.deleted++;
    else swept.live++;
  }
  return swept;
}

function hasRested({ tick, tokens }: Subscriber, iface: Iface | undefined, now: number): boolean {
  const rested = (now - tick) | 0;
  const lacks = (iface?.limitBurst ?? 0) * 2 ** LIMIT_TOKEN_SHIFT - tokens;
  const rate = iface?.limitRate ?? 0;
  return rested > Math.max(REST_TICKS, rate === 0 ? 0 : lacks / rate);
}

/** As text that is the same for the same subscriber. */
export function subscriberName({ addr, ifindex, zone, family, prefix }: SubscriberKey): string {
  const address = formatAddress(wordsAddress(addr, family === 4 ? 'ipv4' : 'ipv6'));
  return `${address} prefix ${prefix} ifindex ${ifindex} zone ${zone}`;
}
