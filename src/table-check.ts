// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Invariant 5, both or neither: every tuple key leads to a flow in use that has this tuple, and every flow stands
 * under each of its keys. And what subscribers are counted to have (subscriber-check.ts). Looks only. True of tables that no packet changes meanwhile; else a flow that is being
 * made or torn down may look like half a pair (table-repair.ts tells the difference).
 */

import { endianness } from 'node:os';
import { formatIpv4, formatIpv6 } from './address.js';
import type { Datapath } from './datapath.js';
import { TUPLE4_KEY, TUPLE6_KEY } from './generated/layouts.gen.js';
import { SlotReader } from './slot-reader.js';
import { verifySubscribers } from './subscriber-check.js';
import { peerKeys, type TupleKey, tupleKeys } from './tuple-keys.js';
import { TupleTable } from './tuple-table.js';

const BATCH = 1024;

const LITTLE_ENDIAN = endianness() === 'LE';

/**
 * Compares the keys and the flow maps, both ways.
 * @returns what is wrong, a sentence each; empty if nothing is
 */
export function verifyTables(datapath: Datapath): string[] {
  const pairs = ([4, 6] as const).flatMap((family) => [
    ...strayKeys(datapath, family),
    ...lostFlows(datapath, family),
  ]);
  return [...pairs, ...verifySubscribers(datapath)];
}

function* strayKeys(datapath: Datapath, family: 4 | 6): Generator<string> {
  const table = new TupleTable(datapath, family);
  const reader = new SlotReader(datapath.maps, family);
  for (const { count, slots, gens, forms, id } of table.held(BATCH)) {
    for (let i = 0; i < count; i++) {
      const slot = slots[i]!;
      const name = `key ${placeText(id(i), family)} -> slot ${slot} generation ${gens[i]} form ${forms[i]}`;
      if (slot >= reader.slots) {
        yield `${name}: there is no such slot`;
        continue;
      }
      const raw = reader.get(slot);
      const isOwn = (own: TupleKey): boolean => own.form === forms[i] && table.isOf(id(i), own.bytes);
      if (raw.gen !== gens[i]) yield `${name}: the slot has generation ${raw.gen}`;
      else if (!raw.isUsed) yield `${name}: the slot is free`;
      else if (![...tupleKeys(raw), ...peerKeys(raw)].some(isOwn)) yield `${name}: the flow has other tuples`;
    }
  }
}

function* lostFlows(datapath: Datapath, family: 4 | 6): Generator<string> {
  const table = new TupleTable(datapath, family);
  for (const raw of new SlotReader(datapath.maps, family).held()) {
    for (const { bytes } of tupleKeys(raw)) {
      const ref = table.find(bytes);
      const name = `flow in slot ${raw.slot} generation ${raw.gen}: its key ${keyText(bytes, family)}`;
      if (!ref) {
        yield `${name} is missing`;
      } else if (ref.slot !== raw.slot || ref.gen !== raw.gen) {
        yield `${name} leads to slot ${ref.slot} generation ${ref.gen}`;
      }
    }
  }
}

/** A key, or where it is in the index, which has none. */
function placeText(id: string, family: 4 | 6): string {
  const key = TupleTable.keyOf(id);
  return key ? keyText(key, family) : `in cell ${id.slice(1)}`;
}

/** `tcp`-less but whole: protocol number, both endpoints in the key's order, flags and zone. */
function keyText(key: Uint8Array, family: 4 | 6): string {
  const { offset } = family === 4 ? TUPLE4_KEY : TUPLE6_KEY;
  const format = family === 4 ? formatIpv4 : formatIpv6;
  const view = new DataView(key.buffer, key.byteOffset, key.length);
  const end = (i: 0 | 1): string =>
    `${format(key, offset.addr + i * (family === 4 ? 4 : 16))} ${view.getUint16(offset.port + i * 2)}`;
  const zone = view.getUint16(offset.zone, LITTLE_ENDIAN);
  return `${key[offset.proto]} ${end(0)} / ${end(1)} flags ${key[offset.flags]} zone ${zone}`;
}
