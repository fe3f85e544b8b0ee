// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Puts right what invariant 5 forbids: half pairs, which only a map operation that failed in the middle of a
 * teardown can leave behind (a hash bucket's lock was held by the interrupted context, -EBUSY). Keys in the index can't
 * become such, short of an error in a program.
 *
 * A stale key, one whose slot has another generation, blocks its tuple for ever: whoever meets it never deletes
 * it (bpf/slot.h). It is deleted by the second pass that finds it with the same reference, and that is safe: each
 * pass reads the slots' generations before the keys. The first pass met the reference, so its flow had begun; the
 * second pass then read another generation, so the flow was over; and after that it met the reference still. A
 * flow's end takes its keys along, so this one was left behind, and nobody but a repair deletes such a key: until
 * then no other flow can claim it, and the one that is deleted is the dead one. One pass is not
 * enough: a flow that was made after the generations were read looks the same. A generation comes back after
 * 65,536 flows in one slot; that many between two passes could hide a stale key from one pair of passes. Only one
 * process repairs at a time: the agent.
 *
 * A flow without one of its keys has lost a direction. It is torn down when two passes have found it so: in a
 * flow that is just being made or translated anew a key may be missing, but not for the time between passes. Should
 * its tuple be another flow's by then, that one loses the key to the teardown and is half a pair for the next pass.
 */
import type { Datapath } from './datapath.js';
import { TupleForm, type TupleRef } from './generated/layouts.gen.js';
import { SlotReader } from './slot-reader.js';
import { Sweeper } from './sweeper.js';
import { keyCount, tupleKeys } from './tuple-keys.js';
import { TupleTable } from './tuple-table.js';

export interface Repaired {
  /** Stale keys deleted. */
  readonly keys: number;
  /** Flows torn down because a key was missing. */
  readonly flows: number;
}

const BATCH = 4096;

/** What one pass found wrong, for the next to find again. */
interface Suspects {
  /** References by where they are (HeldKeys.id). */
  readonly keys: Map<string, TupleRef>;
  /** Generations by slot. */
  readonly flows: Map<number, number>;
}

export class TableRepair {
  #suspects: Record<4 | 6, Suspects> = { 4: none(), 6: none() };
  /** The map that the suspects are of: after a purge there are others. */
  #mapId = 0;

  /**
   * One pass over both families, in steps of some milliseconds between which the caller may do something else.
   * Passes are to be seconds apart at least; what is wrong is repaired by the second that finds it.
   */
  *steps(datapath: Datapath): Generator<void, Repaired, undefined> {
    const { id } = datapath.maps.flows4.map;
    if (id !== this.#mapId) this.#suspects = { 4: none(), 6: none() };
    this.#mapId = id;
    const repaired = { keys: 0, flows: 0 };
    for (const family of [4, 6] as const) {
      const before = this.#suspects[family];
      const found = none();
      const keysOfSlot = yield* findStaleKeys(datapath, family, found);
      yield* findHalfFlows(datapath, family, keysOfSlot, found);
      repaired.keys += deleteKeys(datapath, family, before, found);
      repaired.flows += deleteFlows(datapath, family, before, found);
      this.#suspects[family] = found;
    }
    return repaired;
  }
}

/** Returns how many keys lead to each slot's flow. */
function* findStaleKeys(
  datapath: Datapath,
  family: 4 | 6,
  found: Suspects,
): Generator<void, Uint8Array, undefined> {
  const table = new TupleTable(datapath, family);
  // read before any key: a reference that is dead by then can not come to life
  const gens = reader(datapath, family).generations();
  const keysOfSlot = new Uint8Array(gens.length);
  yield;
  for (const { count, slots, gens: of, forms, id } of table.held(BATCH)) {
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      if (gens[slot] === of[i]) keysOfSlot[slot]! += forms[i]! & TupleForm.PEER ? 0 : 1;
      else found.keys.set(id(i), { slot, gen: of[i]!, form: forms[i]! });
    }
    yield;
  }
  return keysOfSlot;
}

function* findHalfFlows(
  datapath: Datapath,
  family: 4 | 6,
  keysOfSlot: Uint8Array,
  found: Suspects,
): Generator<void, void, undefined> {
  const table = new TupleTable(datapath, family);
  let looked = 0;
  for (const raw of reader(datapath, family).held()) {
    if (++looked % BATCH === 0) yield;
    // a flow that was made since its keys were counted has none by that count
    if (keysOfSlot[raw.slot]! >= keyCount(raw)) continue;
    const isWhole = tupleKeys(raw).every(({ bytes }) => {
      const ref = table.find(bytes);
      return ref !== undefined && leadsTo(ref, raw);
    });
    if (!isWhole) found.flows.set(raw.slot, raw.gen);
  }
}

function deleteKeys(datapath: Datapath, family: 4 | 6, before: Suspects, found: Suspects): number {
  const table = new TupleTable(datapath, family);
  let deleted = 0;
  for (const [id, ref] of found.keys) {
    const known = before.keys.get(id);
    if (known?.slot !== ref.slot || known.gen !== ref.gen) continue;
    if (table.delete(id, ref)) deleted++;
    found.keys.delete(id);
  }
  return deleted;
}

function deleteFlows(datapath: Datapath, family: 4 | 6, before: Suspects, found: Suspects): number {
  const sweeper = new Sweeper(datapath);
  let deleted = 0;
  for (const [slot, gen] of found.flows) {
    if (before.flows.get(slot) !== gen) continue;
    if (sweeper.deleteOne(family, slot, gen)) deleted++;
    found.flows.delete(slot);
  }
  return deleted;
}

function reader(datapath: Datapath, family: 4 | 6): SlotReader {
  return new SlotReader(datapath.maps, family);
}

function none(): Suspects {
  return { keys: new Map(), flows: new Map() };
}

function leadsTo(ref: TupleRef, flow: { slot: number; gen: number }): boolean {
  return ref.slot === flow.slot && ref.gen === flow.gen;
}
