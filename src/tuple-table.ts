// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The keys under which one family's flows stand, and where each leads: in the tuple map, or from Linux 5.12 on in the
 * index, and in the map those that find no room there (bpf/index.h).
 */
import { endianness } from 'node:os';
import type { BpfMap } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { edit } from './edit-request.js';
import {
  EditOp,
  EditResult,
  INDEX_ROW,
  type IndexHead,
  Layout,
  TUPLE_REF,
  type TupleRef,
  tupleRefCodec,
} from './generated/layouts.gen.js';
import { indexPlace } from './tuple-index.js';

const LITTLE_ENDIAN = endianness() === 'LE';
/** In words of 32 bits: a row, its head, a cell, and where in it the slot is, and generation | form << 16 | family << 24. */
const ROW_WORDS = INDEX_ROW.size / 4;
const HEAD_WORDS = INDEX_ROW.offset.cells / 4;
const CELL_WORDS = (ROW_WORDS - HEAD_WORDS) / Layout.INDEX_CELLS;
const [SLOT, REST] = LITTLE_ENDIAN ? [2, 3] : [3, 2];
const IPV6 = 1 << 24;

/** As many keys as a hash bucket seldom has more of: the kernel hands out whole buckets. */
const FIRST_KEYS = 16;

/** Keys in the order in which they lie; the n-th leads to `slots[n]`, of generation `gens[n]`. */
export interface HeldKeys {
  readonly count: number;
  readonly slots: Uint32Array;
  readonly gens: Uint16Array;
  readonly forms: Uint8Array;
  /** Names the n-th one, as long as it leads to the same flow. */
  id(n: number): string;
}

export class TupleTable {
  readonly #datapath: Datapath;
  readonly #family: 4 | 6;
  readonly #map: BpfMap;
  readonly #index: BpfMap;
  readonly #head: IndexHead;

  constructor(datapath: Datapath, family: 4 | 6) {
    this.#datapath = datapath;
    this.#family = family;
    this.#map = datapath.maps[`tuples${family}`].map;
    this.#index = datapath.maps.tuple_index.map;
    this.#head = datapath.maps.index_head.get(0)!;
  }

  /** Where a key leads; undefined: nobody holds it. */
  find(key: Uint8Array): TupleRef | undefined {
    return this.#findCell(key) ?? this.#findSpilled(key);
  }

  /** Every key of the family, some thousands at a time. Keys that come or go meanwhile may be missing or there. */
  *held(batch: number): Generator<HeldKeys, void, undefined> {
    if (this.#head.rows > 0) yield* this.#cells(batch);
    yield* this.#spilled(batch);
  }

  /** Whether nobody holds a key, as far as one look tells; a look at the whole index takes longer than one at the slots. */
  isSeenEmpty(): boolean {
    if (this.#head.rows > 0) return false;
    const keys = this.#map.lookupBatch(FIRST_KEYS);
    const { done } = keys.next();
    keys.return();
    return done === true;
  }

  /** How many of them the index has. */
  countIndexed(): number {
    let count = 0;
    if (this.#head.rows > 0) for (const keys of this.#cells(4096)) count += keys.count;
    return count;
  }

  /** The bytes of a key that is in the map; undefined: it is in the index, which has no keys. */
  static keyOf(id: string): Uint8Array | undefined {
    return id.startsWith('k') ? Buffer.from(id.slice(1), 'latin1') : undefined;
  }

  /** Whether the place of that name is a key's. */
  isOf(id: string, key: Uint8Array): boolean {
    const own = TupleTable.keyOf(id);
    if (own) return Buffer.compare(own, key) === 0;
    const { row, tag } = indexPlace(this.#head, key, this.#family);
    const [at, cell] = numbersOf(id);
    return at === row && this.#row(row).getBigUint64(cellAt(cell), LITTLE_ENDIAN) === tag;
  }

  /** Takes a key away that leads to that flow; false: it does no longer. Of a flow that is over (table-repair.ts). */
  delete(id: string, { slot, gen }: TupleRef): boolean {
    const key = TupleTable.keyOf(id);
    if (!key) {
      const [row, cell] = numbersOf(id);
      return this.#free(row, cell, slot, gen);
    }
    if (!this.#map.delete(key)) return false;
    if (this.#head.rows > 0) {
      const { row } = indexPlace(this.#head, key, this.#family);
      this.#free(row, Layout.INDEX_CELLS, slot, gen);
    }
    return true;
  }

  /** EDIT_FREE. */
  #free(row: number, cell: number, slot: number, gen: number): boolean {
    const request = { op: EditOp.FREE, heldSlot: row, heldGen: cell, slot, gen };
    return edit(this.#datapath, this.#family, request).result === EditResult.DONE;
  }

  #findCell(key: Uint8Array): TupleRef | undefined {
    if (this.#head.rows === 0) return undefined;
    const { row, tag } = indexPlace(this.#head, key, this.#family);
    const view = this.#row(row);
    for (let i = 0; i < Layout.INDEX_CELLS; i++) {
      const at = cellAt(i);
      if (view.getBigUint64(at, LITTLE_ENDIAN) !== tag) continue;
      const rest = view.getUint32(at + REST * 4, LITTLE_ENDIAN);
      const slot = view.getUint32(at + SLOT * 4, LITTLE_ENDIAN);
      return { slot, gen: rest & 0xffff, form: (rest >>> 16) & 0xff };
    }
    return undefined;
  }

  #row(row: number): DataView {
    return viewOf(this.#index.get(numberKey(row))!);
  }

  #findSpilled(key: Uint8Array): TupleRef | undefined {
    const value = this.#map.get(key);
    return value && tupleRefCodec.read(viewOf(value), 0);
  }

  *#cells(batch: number): Generator<HeldKeys, void, undefined> {
    const family = this.#family === 6 ? IPV6 : 0;
    for (const { keys, values, count } of this.#index.lookupBatch(batch)) {
      const rows = wordsOf(keys);
      const words = wordsOf(values);
      const found = new Found(count * Layout.INDEX_CELLS);
      for (let i = 0; i < count * ROW_WORDS; i += CELL_WORDS) {
        if (i % ROW_WORDS === 0) continue; // the row's head
        const rest = words[i + REST]!;
        if ((words[i] || words[i + 1]) && (rest & IPV6) === family)
          found.add(words[i + SLOT]!, rest & 0xffff, (rest >>> 16) & 0xff, i);
      }
      const id = (n: number): string => {
        const at = found.places[n]!;
        return `c${rows[Math.floor(at / ROW_WORDS)]}.${(at % ROW_WORDS) / CELL_WORDS - 1}`;
      };
      yield Object.assign(found, { id });
    }
  }

  *#spilled(batch: number): Generator<HeldKeys, void, undefined> {
    const { keySize } = this.#map;
    for (const { keys, values, count } of this.#map.lookupBatch(batch)) {
      const found = new Found(count);
      const view = viewOf(values);
      for (let i = 0; i < count; i++) {
        const { slot, gen, form } = tupleRefCodec.read(view, i * TUPLE_REF.size);
        found.add(slot, gen, form, i * keySize);
      }
      const id = (n: number): string => {
        const at = found.places[n]!;
        return `k${keys.toString('latin1', at, at + keySize)}`;
      };
      yield Object.assign(found, { id });
    }
  }
}

/** What HeldKeys shows. */
class Found {
  count = 0;
  readonly slots: Uint32Array;
  readonly gens: Uint16Array;
  readonly forms: Uint8Array;
  readonly places: Uint32Array;

  constructor(most: number) {
    this.slots = new Uint32Array(most);
    this.gens = new Uint16Array(most);
    this.forms = new Uint8Array(most);
    this.places = new Uint32Array(most);
  }

  add(slot: number, gen: number, form: number, place: number): void {
    const at = this.count++;
    this.slots[at] = slot;
    this.gens[at] = gen;
    this.forms[at] = form;
    this.places[at] = place;
  }
}

/** Where a cell begins in its row, in bytes. */
function cellAt(cell: number): number {
  return (HEAD_WORDS + cell * CELL_WORDS) * 4;
}

/** Row and cell of a key in the index. */
function numbersOf(id: string): [row: number, cell: number] {
  return id.slice(1).split('.').map(Number) as [number, number];
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function wordsOf(bytes: Uint8Array): Uint32Array {
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : bytes.slice();
  return new Uint32Array(aligned.buffer, aligned.byteOffset, Math.floor(aligned.length / 4));
}

function numberKey(row: number): Uint8Array {
  const key = new Uint8Array(4);
  new DataView(key.buffer).setUint32(0, row, LITTLE_ENDIAN);
  return key;
}
