// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads a family's flow map slot by slot: in place where the kernel lets an array be mapped (5.5), else in
 * batches (5.6), else one by one. Flows that are there all the time come exactly once, others perhaps.
 */
import { type Batch, type BpfMap, batchSupported, feature, MapFlag } from 'libbpf-ts';
import { DEADLINE_WORD, genOf, HOLDS, isUsed, RawFlow, SLOT_LAYOUTS, USE_WORD } from './raw-flow.js';
import { nowTicks, TickClock } from './ticks.js';

/**
 * Slots that are mapped at a time: what is mapped counts as this process's memory. A multiple of every page
 * size, so that a window of any slot size begins at a page.
 */
const WINDOW_SLOTS = 65_536;

const BATCH_SLOTS = 4096;

const WORD = Int32Array.BYTES_PER_ELEMENT;

/** Words of some slots, the first of them being slot `first`. */
interface Stretch {
  readonly words: Int32Array;
  readonly first: number;
  readonly count: number;
}

export type ReadMode = 'mmap' | 'batch' | 'single';

export class SlotReader {
  /** How the map is read. */
  readonly mode: ReadMode;
  readonly slots: number;
  readonly #map: BpfMap;
  readonly #family: 4 | 6;
  readonly #stride: number;
  readonly #clock = new TickClock();

  constructor(map: BpfMap, family: 4 | 6) {
    this.#map = map;
    this.#family = family;
    this.#stride = SLOT_LAYOUTS[family].size / WORD;
    this.slots = map.maxEntries;
    this.mode = readMode(map);
  }

  /** The tick by which the last flow was judged. */
  now = nowTicks();

  /** Every flow before its deadline. One object shows them all, each until the next is asked for. */
  *live(): Generator<RawFlow, void, undefined> {
    for (const raw of this.used()) {
      this.now = this.#clock.now();
      if (raw.ticksLeft(this.now) >= 0) yield raw;
    }
  }

  /** Counts the flows before their deadline, without copying any. */
  countLive(): number {
    const stride = this.#stride;
    let count = 0;
    for (const { words, count: slots } of this.#stretches()) {
      const now = this.#clock.now();
      for (let i = 0; i < slots; i++) {
        const start = i * stride;
        if (isUsed(words[start + USE_WORD]!) && ((words[start + DEADLINE_WORD]! - now) | 0) >= 0) count++;
      }
    }
    return count;
  }

  /** Every flow, those past their deadline as well. The same object again and again, like live(). */
  used(): Generator<RawFlow, void, undefined> {
    return this.held(HOLDS.flow);
  }

  /** Every slot that holds what `kinds` names (HOLDS); flows and endpoints where nothing is said. */
  *held(kinds: number = HOLDS.flow | HOLDS.endpoint): Generator<RawFlow, void, undefined> {
    const raw = new RawFlow(this.#family);
    const stride = this.#stride;
    for (const { words, first, count } of this.#stretches()) {
      for (let i = 0; i < count; i++) {
        if (!isUsed(words[i * stride + USE_WORD]!, kinds)) continue;
        if (!raw.copyFrom(words, i * stride, kinds)) continue;
        raw.slot = first + i;
        yield raw;
      }
    }
  }

  /** One slot now, whether in use or not. */
  get(slot: number): RawFlow {
    const raw = new RawFlow(this.#family);
    raw.slot = slot;
    const key = new Uint32Array([slot]);
    this.#map.getInto(new Uint8Array(key.buffer), raw.bytes);
    return raw;
  }

  /** Each slot's generation, of free ones too. */
  generations(): Uint16Array {
    const gens = new Uint16Array(this.slots);
    for (const { words, first, count } of this.#stretches()) {
      for (let i = 0; i < count; i++) gens[first + i] = genOf(words[i * this.#stride + USE_WORD]!);
    }
    return gens;
  }

  #stretches(): Generator<Stretch, void, undefined> {
    switch (this.mode) {
      case 'mmap':
        return this.#windows();
      case 'batch':
        return this.#batches();
      case 'single':
        return this.#singles();
    }
  }

  *#windows(): Generator<Stretch, void, undefined> {
    const size = this.#stride * WORD;
    for (let first = 0; first < this.slots; first += WINDOW_SLOTS) {
      const count = Math.min(WINDOW_SLOTS, this.slots - first);
      const memory = this.#map.mmap(first * size, count * size);
      try {
        const { buffer, byteOffset } = memory.buffer;
        yield { words: new Int32Array(buffer, byteOffset, count * this.#stride), first, count };
      } finally {
        memory.close();
      }
    }
  }

  /** The kernel copies an array's values in the order of their indexes. */
  *#batches(): Generator<Stretch, void, undefined> {
    let first = 0;
    for (const { values, count } of this.#map.lookupBatch(BATCH_SLOTS) as Iterable<Batch>) {
      const words = new Int32Array(values.buffer, values.byteOffset, count * this.#stride);
      yield { words, first, count };
      first += count;
    }
  }

  *#singles(): Generator<Stretch, void, undefined> {
    const words = new Int32Array(this.#stride);
    const value = new Uint8Array(words.buffer);
    const key = new Uint32Array(1);
    const keyBytes = new Uint8Array(key.buffer);
    for (let slot = 0; slot < this.slots; slot++) {
      key[0] = slot;
      if (this.#map.getInto(keyBytes, value)) yield { words, first: slot, count: 1 };
    }
  }
}

function readMode(map: BpfMap): ReadMode {
  if (map.flags & MapFlag.MMAPABLE && feature('mmap').available) return 'mmap';
  return batchSupported(map) ? 'batch' : 'single';
}
