// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Whether each subscriber's count is that of its flows and mappings. The programs keep it right by themselves; what
 * can be wrong is left by a map operation that failed, or by the sweep that took an entry away in the instant in
 * which a flow was counted there.
 */
import type { Datapath } from './datapath.js';
import { CtDir, type Subscriber, type SubscriberKey } from './generated/layouts.gen.js';
import { limitPrefixOf } from './limits.js';
import type { RawFlow } from './raw-flow.js';
import { SlotReader } from './slot-reader.js';
import { flowsOf, subscriberName } from './subscribers.js';

/** Flows and mappings looked at in one step. */
const STEP = 4096;

/** A count that is not that of the flows. */
export interface Miscount {
  readonly key: SubscriberKey;
  readonly value: Subscriber;
  /** How many flows and mappings there are. */
  readonly found: number;
}

/** Every miscount in tables that no packet changes meanwhile. */
export function verifySubscribers(datapath: Datapath): string[] {
  const steps = findMiscounts(datapath);
  for (;;) {
    const { done, value } = steps.next();
    if (done)
      return value.map(
        ({ key, value: entry, found }) =>
          `subscriber ${subscriberName(key)}: ${flowsOf(entry)} flows counted, there are ${found}`,
      );
  }
}

/** What two looks agree on is put right: the entry did not change between them, nor did its flows. */
export class SubscriberRepair {
  #before = new Map<string, Miscount>();

  /** One pass; passes are to be seconds apart. Returns how many counts were put right. */
  *steps(datapath: Datapath): Generator<void, number, undefined> {
    const found = yield* findMiscounts(datapath);
    const now = new Map(found.map((each) => [subscriberName(each.key), each]));
    let repaired = 0;
    for (const [name, { key, value, found: flows }] of now) {
      const before = this.#before.get(name);
      if (before?.found !== flows || before.value.flows !== value.flows || before.value.tick !== value.tick)
        continue;
      const latest = datapath.maps.subscribers.get(key);
      if (latest?.flows !== value.flows || latest.tick !== value.tick) continue;
      datapath.maps.subscribers.set(key, { ...latest, flows });
      now.delete(name);
      repaired++;
    }
    this.#before = now;
    return repaired;
  }
}

function* findMiscounts(datapath: Datapath): Generator<void, Miscount[], undefined> {
  const { maps } = datapath;
  // without limits there is nothing to count
  const entries = [...maps.subscribers.entries()];
  if (entries.length === 0) return [];
  const counts = new Map<string, number>();
  let looked = 0;
  for (const family of [4, 6] as const) {
    for (const raw of new SlotReader(maps, family).held()) {
      if (++looked % STEP === 0) yield;
      if (raw.limit === 0) continue;
      const name = subscriberName(subscriberOf(raw));
      counts.set(name, (counts.get(name) ?? 0) + 1);
    }
  }
  return entries
    .map(([key, value]) => ({ key, value, found: counts.get(subscriberName(key)) ?? 0 }))
    .filter(({ value, found }) => flowsOf(value) !== found);
}

/** The key that bpf/subscriber.h makes of a counted flow or mapping. */
export function subscriberOf(raw: RawFlow): SubscriberKey {
  const { saddr } = raw.tuple[CtDir.ORIGINAL];
  const bits = raw.family === 4 ? 32 : limitPrefixOf(raw.limit);
  const addr = [0, 1, 2, 3].map((word) => {
    const kept = Math.min(Math.max(bits - word * 32, 0), 32);
    if (kept === 0) return 0;
    return (raw.view.getUint32(saddr + word * 4) & (-1 << (32 - kept))) >>> 0;
  });
  return {
    addr,
    ifindex: raw.ifindex,
    zone: raw.zoneOf(CtDir.ORIGINAL),
    family: raw.family,
    prefix: raw.limit,
  };
}
