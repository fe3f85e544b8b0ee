// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * How many packets of each class there were, by the names of iptables' --ctstate. Every packet at a hook is counted
 * once under a reason, and each reason belongs to a class; only of those that belong to a flow does it leave open
 * whether the flow had seen a reply: the kernel counts those that had not a second time (METRIC_NEW).
 */
import type { Datapath } from './datapath.js';
import { MetricExtra, type Reason } from './generated/layouts.gen.js';
import { DIRECTIONS, REASONS, readCount } from './metrics-table.js';
import type { ClassCount, PacketClass } from './product.js';

export const PACKET_CLASSES: readonly PacketClass[] = [
  'NEW',
  'ESTABLISHED',
  'RELATED',
  'INVALID',
  'UNTRACKED',
];

/** `flow`: NEW or ESTABLISHED, as the flow was. */
const CLASS_OF_REASON: Readonly<Record<ReasonName, PacketClass | 'flow'>> = {
  FORWARDED: 'flow',
  DROP_REWRITE: 'flow',
  DEFERRED: 'NEW',
  DROP_NO_PORT: 'NEW',
  DROP_LIMIT_PORTS: 'NEW',
  DROP_LIMIT_RATE: 'NEW',
  DROP_NO_ADDRESS: 'NEW',
  DROP_TABLE_FULL: 'NEW',
  DROP_TUPLE_MAP: 'NEW',
  DROP_RACE: 'NEW',
  DROP_INTERNAL: 'NEW',
  DROP_PORT_SEARCH: 'NEW',
  DROP_PORT_FIXED: 'NEW',
  DROP_FILTERED: 'NEW',
  RELATED: 'RELATED',
  PASSED_INVALID: 'INVALID',
  PASSED_FRAGMENT: 'INVALID',
  DROP_INVALID: 'INVALID',
  DROP_TRUNCATED: 'INVALID',
  DROP_FRAGMENT: 'INVALID',
  DROP_CLASH: 'INVALID',
  DROP_ZONE: 'INVALID',
  UNTRACKED_RULE: 'UNTRACKED',
  UNTRACKED_PROTO: 'UNTRACKED',
  UNTRACKED_MULTICAST: 'UNTRACKED',
  UNTRACKED_VLAN: 'UNTRACKED',
  UNTRACKED_ETHERTYPE: 'UNTRACKED',
};

type ReasonName = Exclude<keyof typeof Reason, 'COUNT' | 'DROP_FIRST'>;

/** Every class in both directions, in the order of PACKET_CLASSES; zeros too. */
export function readClasses(datapath: Datapath): ClassCount[] {
  const sums = new Map<string, { packets: number; bytes: number }>();
  const add = (name: PacketClass, direction: string, packets: number, bytes: number): void => {
    const id = `${name} ${direction}`;
    const { packets: before = 0, bytes: beforeBytes = 0 } = sums.get(id) ?? {};
    sums.set(id, { packets: before + packets, bytes: beforeBytes + bytes });
  };
  for (const [direction, dir] of DIRECTIONS) {
    // before those that it is a part of: what comes meanwhile makes no difference negative
    const fresh = readCount(datapath, MetricExtra.NEW, dir);
    add('NEW', direction, fresh.packets, fresh.bytes);
    add('ESTABLISHED', direction, -fresh.packets, -fresh.bytes);
    for (const [name, reason] of REASONS) {
      const { packets, bytes } = readCount(datapath, reason, dir);
      const found = CLASS_OF_REASON[name.toUpperCase() as ReasonName];
      add(found === 'flow' ? 'ESTABLISHED' : found, direction, packets, bytes);
    }
  }
  return PACKET_CLASSES.flatMap((name) =>
    DIRECTIONS.map(([direction]) => ({ class: name, direction, ...sums.get(`${name} ${direction}`)! })),
  );
}
