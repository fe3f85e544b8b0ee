// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The keys of flows as a test puts them there and counts them, whether they are in the index or in the tuple maps.
import type { BpfMap, TypedMap } from 'libbpf-ts';
import type { IndexHead, IndexRow, TupleRef } from '../../../src/generated/layouts.gen.js';
import { tupleRefCodec } from '../../../src/generated/layouts.gen.js';
import { indexPlace } from '../../../src/tuple-index.js';

/** What is needed of Datapath.maps. */
export interface KeyMaps {
  tuples4: { map: BpfMap; count(): number };
  tuples6: { map: BpfMap; count(): number };
  tuple_index: TypedMap<number, IndexRow>;
  index_head: TypedMap<number, IndexHead>;
}

/** Has a key lead to a flow. With room in its row it goes there, as in bpf/index.h. */
export function putKey(maps: KeyMaps, family: 4 | 6, key: Uint8Array, ref: TupleRef): void {
  const head = maps.index_head.get(0)!;
  if (head.rows > 0) {
    const { row, tag } = indexPlace(head, key, family);
    const cells = maps.tuple_index.get(row)!;
    const free = cells.cells.find((cell) => cell.tag === 0n);
    if (free) Object.assign(free, { tag, ref: word(ref, family) });
    else cells.spilled++;
    maps.tuple_index.set(row, cells);
    if (free) return;
  }
  const value = Buffer.alloc(tupleRefCodec.size);
  tupleRefCodec.write(new DataView(value.buffer, value.byteOffset, value.length), 0, ref);
  maps[`tuples${family}`].map.set(key, value);
}

/** Takes every key away of which `is` says so, of the family's flows. */
export function forgetKeys(maps: KeyMaps, family: 4 | 6, is: (ref: TupleRef) => boolean): void {
  if (maps.index_head.get(0)!.rows > 0) {
    for (const [row, cells] of maps.tuple_index.entries()) {
      const gone = cells.cells.filter(
        (cell) => cell.tag !== 0n && familyOf(cell.ref) === family && is(refOf(cell.ref)),
      );
      if (gone.length === 0) continue;
      for (const cell of gone) Object.assign(cell, { tag: 0n, ref: 0n });
      maps.tuple_index.set(row, cells);
    }
  }
  const { map } = maps[`tuples${family}`];
  for (const [key, value] of map.entries()) {
    if (is(tupleRefCodec.read(new DataView(value.buffer, value.byteOffset, value.length), 0)))
      map.delete(key);
  }
}

/** Keys of the family's flows. */
export function countKeys(maps: KeyMaps, family: 4 | 6): number {
  let count = maps[`tuples${family}`].count();
  if (maps.index_head.get(0)!.rows === 0) return count;
  for (const { cells } of maps.tuple_index.values())
    for (const { tag, ref } of cells) if (tag !== 0n && familyOf(ref) === family) count++;
  return count;
}

function word({ slot, gen, form }: TupleRef, family: 4 | 6): bigint {
  return BigInt(slot) | (BigInt(gen) << 32n) | (BigInt(form) << 48n) | (family === 6 ? 1n << 56n : 0n);
}

function refOf(ref: bigint): TupleRef {
  return {
    slot: Number(ref & 0xffff_ffffn),
    gen: Number((ref >> 32n) & 0xffffn),
    form: Number((ref >> 48n) & 0xffn),
  };
}

function familyOf(ref: bigint): 4 | 6 {
  return ref >> 56n ? 6 : 4;
}
