// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Looks for free slots of a flow map, for flows that userspace makes. What it finds may be taken by a packet before
 * it is claimed: it is a hint.
 */
import type { BpfMap } from 'libbpf-ts';
import { FLOW } from './generated/layouts.gen.js';

/** Looks anywhere before every slot is looked at: one in a hundred free slots is found in these as good as always. */
const RANDOM_LOOKS = 512;

/** Where looks for a free slot go on. */
export interface SlotPlace {
  /** Behind the slot that was found last. */
  next: number;
  /** How far every slot was looked at. */
  walked: number;
}

export class FreeSlots {
  readonly #map: BpfMap;
  readonly #key = new Uint32Array(1);
  readonly #keyBytes = new Uint8Array(this.#key.buffer);
  readonly #value: Uint32Array;
  readonly #valueBytes: Uint8Array;
  readonly #place: SlotPlace;

  /**
   * @param slots how many of the map's may be used
   * @param walk how many find() looks at one after the other, at most
   * @param place where it begins; it goes on with it
   */
  constructor(
    map: BpfMap,
    readonly slots: number,
    readonly walk = slots,
    place?: SlotPlace,
  ) {
    this.#map = map;
    this.#value = new Uint32Array(map.valueSize / Uint32Array.BYTES_PER_ELEMENT);
    this.#valueBytes = new Uint8Array(this.#value.buffer);
    this.#place = place ?? { next: this.#anywhere(), walked: this.#anywhere() };
  }

  /** A slot that nobody had a moment ago; undefined: there is none, or none of `walk`. */
  find(): number | undefined {
    const next = this.#place.next % this.slots;
    if (this.#isFree(next)) return this.#take(next);
    for (let i = 0; i < RANDOM_LOOKS; i++) {
      const slot = this.#anywhere();
      if (this.#isFree(slot)) return this.#take(slot);
    }
    for (let i = 0; i < Math.min(this.walk, this.slots); i++) {
      const slot = this.#place.walked++ % this.slots;
      if (this.#isFree(slot)) return this.#take(slot);
    }
    return undefined;
  }

  /** The slot behind it is likely to be free as well. */
  #take(slot: number): number {
    this.#place.next = slot + 1;
    return slot;
  }

  #anywhere(): number {
    return Math.floor(Math.random() * this.slots);
  }

  #isFree(slot: number): boolean {
    this.#key[0] = slot;
    if (!this.#map.getInto(this.#keyBytes, this.#valueBytes)) return false;
    return this.#value[LOCK_WORD] === 0;
  }
}

const LOCK_WORD = FLOW.offset.lock / Uint32Array.BYTES_PER_ELEMENT;
