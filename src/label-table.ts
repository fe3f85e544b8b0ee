// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Labels of flows, which no program looks at: they stand in a map of their own, by slot and generation, so that a
 * flow without any costs nothing. A flow's end leaves its labels behind for the sweep; nobody finds them meanwhile,
 * for the slot's next flow has another generation.
 */
import type { Datapath } from './datapath.js';
import type { Flow } from './flow.js';
import type { LabelKey } from './generated/layouts.gen.js';
import type { SweptMap } from './product.js';
import { SlotReader } from './slot-reader.js';

const WORD = 64n;
const LOW = (1n << WORD) - 1n;

export class LabelTable {
  readonly #datapath: Datapath;

  constructor(datapath: Datapath) {
    this.#datapath = datapath;
  }

  /** The flow's labels, bit by bit. */
  of(flow: Pick<Flow, 'family' | 'slot' | 'gen'>): bigint {
    const bits = this.#datapath.maps.labels.get(keyOf(flow))?.bits;
    return bits ? bits[0]! | (bits[1]! << WORD) : 0n;
  }

  /** @throws SyscallError if the map is full */
  set(flow: Pick<Flow, 'family' | 'slot' | 'gen'>, labels: bigint): void {
    const { labels: map } = this.#datapath.maps;
    if (labels === 0n) map.delete(keyOf(flow));
    else map.set(keyOf(flow), { bits: [labels & LOW, labels >> WORD] });
  }

  /** Forgets the labels of flows that are gone. */
  sweep(): SweptMap {
    const { maps } = this.#datapath;
    const swept = { name: 'labels', looked: 0, live: 0, deleted: 0 };
    const readers = { 4: new SlotReader(maps, 4), 6: new SlotReader(maps, 6) };
    for (const key of [...maps.labels.keys()]) {
      swept.looked++;
      const raw = readers[key.family as 4 | 6].get(key.slot);
      if (raw.gen === key.gen) swept.live++;
      else if (maps.labels.delete(key)) swept.deleted++;
    }
    return swept;
  }
}

function keyOf({ family, slot, gen }: Pick<Flow, 'family' | 'slot' | 'gen'>): LabelKey {
  return { slot, gen, family: family === 'ipv4' ? 4 : 6 };
}
