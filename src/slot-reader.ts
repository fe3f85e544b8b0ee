// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads a family's flow map slot by slot: in place where the kernel lets an array be mapped (5.5), else in
 * batches (5.6), else one by one; with each flow its extra, from the map beside it. Flows that are there all
 * the time come exactly once, others perhaps.
 *
 * Where the kernel copies, slot and extra are two copies: a slot that changes hands between them is shown with the
 * next flow's interface and mark. Whoever does something to what he was shown names its generation, which is
 * another one by then.
 */
import { type Batch, type BpfMap, batchSupported, feature, MapFlag } from 'libbpf-ts';
import type { DatapathMaps } from './datapath.js';
import { FLOW_EXTRA } from './generated/layouts.gen.js';
import { DEADLINE_WORD, genOf, HOLDS, isUsed, RawFlow, SLOT_LAYOUTS, USE_WORD } from './raw-flow.js';
import { nowTicks, TickClock } from './ticks.js';

/**
 * Slots that are mapped at a time: what is mapped counts as this process's memory. A multiple of every page
 * size, so that a window of any slot size begins at a page.
 */
const WINDOW_SLOTS = 65_536;

const BATCH_SLOTS = 4096;

const WORD = Int32Array.BYTES_PER_ELEMENT;
const EXTRA_WORDS = FLOW_EXTRA.size / WORD;
const NO_EXTRAS = new Int32Array(0);

/** Words of some slots, the first of them being slot `first`, and of their extras. */
interface Stretch {
  readonly words: Int32Array;
  /** Empty where nobody asked for them. */
  readonly extras: Int32Array;
  readonly first: number;
  readonly count: number;
}

/** The maps that hold flows. */
export type SlotMaps = Pick<DatapathMaps, 'flows4' | 'flows6' | 'extras4' | 'extras6'>;

export type ReadMode = 'mmap' | 'batch' | 'single';

export class SlotReader {
  /** How the map is read. */
  readonly mode: ReadMode;
  readonly slots: number;
  readonly #map: BpfMap;
  readonly #extras: BpfMap;
  readonly #family: 4 | 6;
  readonly #stride: number;
  readonly #clock = new TickClock();

  constructor(maps: SlotMaps, family: 4 | 6) {
    const { map } = maps[`flows${family}`];
    this.#map = map;
    this.#extras = maps[`extras${family}`].map;
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

  /** How many slots hold a flow or an endpoint, without copying any. */
  countHeld(): number {
    const kinds = HOLDS.flow | HOLDS.endpoint;
    let count = 0;
    for (const { words, count: slots } of this.#stretches()) {
      for (let i = 0; i < slots; i++) if (isUsed(words[i * this.#stride + USE_WORD]!, kinds)) count++;
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
    for (const { words, extras, first, count } of this.#stretches(true)) {
      for (let i = 0; i < count; i++) {
        if (!isUsed(words[i * stride + USE_WORD]!, kinds)) continue;
        if (!raw.copyFrom(words, i * stride, extras, i * EXTRA_WORDS, kinds)) continue;
        raw.slot = first + i;
        yield raw;
      }
    }
  }

  /** One slot now, whether in use or not. */
  get(slot: number): RawFlow {
    const raw = new RawFlow(this.#family);
    raw.slot = slot;
    const key = new Uint8Array(new Uint32Array([slot]).buffer);
    this.#map.getInto(key, raw.bytes.subarray(0, raw.extra));
    this.#extras.getInto(key, raw.bytes.subarray(raw.extra));
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

  #stretches(withExtras = false): Generator<Stretch, void, undefined> {
    switch (this.mode) {
      case 'mmap':
        return this.#windows(withExtras);
      case 'batch':
        return this.#batches(withExtras);
      case 'single':
        return this.#singles(withExtras);
    }
  }

  *#windows(withExtras: boolean): Generator<Stretch, void, undefined> {
    const size = this.#stride * WORD;
    for (let first = 0; first < this.slots; first += WINDOW_SLOTS) {
      const count = Math.min(WINDOW_SLOTS, this.slots - first);
      const memory = this.#map.mmap(first * size, count * size);
      const more = withExtras
        ? this.#extras.mmap(first * FLOW_EXTRA.size, count * FLOW_EXTRA.size)
        : undefined;
      try {
        const words = wordsOf(memory.buffer, count * this.#stride);
        const extras = more ? wordsOf(more.buffer, count * EXTRA_WORDS) : NO_EXTRAS;
        yield { words, extras, first, count };
      } finally {
        more?.close();
        memory.close();
      }
    }
  }

  /** The kernel copies an array's values in the order of their indexes. */
  *#batches(withExtras: boolean): Generator<Stretch, void, undefined> {
    let first = 0;
    const beside = withExtras
      ? (this.#extras.lookupBatch(BATCH_SLOTS) as Iterable<Batch>)[Symbol.iterator]()
      : undefined;
    for (const { values, count } of this.#map.lookupBatch(BATCH_SLOTS) as Iterable<Batch>) {
      const more = beside?.next().value as Batch | undefined;
      const words = wordsOf(values, count * this.#stride);
      const extras = more ? wordsOf(more.values, count * EXTRA_WORDS) : NO_EXTRAS;
      yield { words, extras, first, count };
      first += count;
    }
  }

  *#singles(withExtras: boolean): Generator<Stretch, void, undefined> {
    const words = new Int32Array(this.#stride);
    const value = new Uint8Array(words.buffer);
    const extras = new Int32Array(EXTRA_WORDS);
    const extra = new Uint8Array(extras.buffer);
    const key = new Uint32Array(1);
    const keyBytes = new Uint8Array(key.buffer);
    for (let slot = 0; slot < this.slots; slot++) {
      key[0] = slot;
      if (!this.#map.getInto(keyBytes, value)) continue;
      if (withExtras && isUsed(words[USE_WORD]!, HOLDS.flow | HOLDS.endpoint))
        this.#extras.getInto(keyBytes, extra);
      yield { words, extras, first: slot, count: 1 };
    }
  }
}

function wordsOf({ buffer, byteOffset }: Uint8Array, count: number): Int32Array {
  return new Int32Array(buffer, byteOffset, count);
}

function readMode(map: BpfMap): ReadMode {
  if (map.flags & MapFlag.MMAPABLE && feature('mmap').available) return 'mmap';
  return batchSupported(map) ? 'batch' : 'single';
}
