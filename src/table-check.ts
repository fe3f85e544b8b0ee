// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Invariant 5, both or neither: every tuple key leads to a flow in use that has this tuple, and every flow stands
 * under each of its keys. And what subscribers are counted to have (subscriber-check.ts). Looks only. True of tables that no packet changes meanwhile; else a flow that is being
 * made or torn down may look like half a pair (table-repair.ts tells the difference).
 */

import { endianness } from 'node:os';
import { formatIpv4, formatIpv6 } from './address.js';
import type { Datapath } from './datapath.js';
import { TUPLE_REF, TUPLE4_KEY, TUPLE6_KEY, type TupleRef, tupleRefCodec } from './generated/layouts.gen.js';
import { SlotReader } from './slot-reader.js';
import { verifySubscribers } from './subscriber-check.js';
import { peerKeys, type TupleKey, tupleKeys } from './tuple-keys.js';

const BATCH = 1024;

const LITTLE_ENDIAN = endianness() === 'LE';

/**
 * Compares the tuple maps and the flow maps, both ways.
 * @returns what is wrong, a sentence each; empty if nothing is
 */
export function verifyTables(datapath: Datapath): string[] {
  const pairs = ([4, 6] as const).flatMap((family) => [
    ...strayKeys(datapath, family),
    ...lostFlows(datapath, family),
  ]);
  return [...pairs, ...verifySubscribers(datapath)];
}

/** A reference as it lies in the map's value. */
export function readRef(bytes: Uint8Array, start = 0): TupleRef {
  return tupleRefCodec.read(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), start);
}

function* strayKeys(datapath: Datapath, family: 4 | 6): Generator<string> {
  const { map } = datapath.maps[`tuples${family}`];
  const reader = new SlotReader(datapath.maps[`flows${family}`].map, family);
  for (const { keys, values, count } of map.lookupBatch(BATCH)) {
    for (let i = 0; i < count; i++) {
      const key = keys.subarray(i * map.keySize, (i + 1) * map.keySize);
      const { slot, gen, form } = readRef(values, i * TUPLE_REF.size);
      const name = `key ${keyText(key, family)} -> slot ${slot} generation ${gen} form ${form}`;
      if (slot >= reader.slots) {
        yield `${name}: there is no such slot`;
        continue;
      }
      const raw = reader.get(slot);
      if (raw.gen !== gen) yield `${name}: the slot has generation ${raw.gen}`;
      else if (!raw.isUsed) yield `${name}: the slot is free`;
      else if (![...tupleKeys(raw), ...peerKeys(raw)].some((own) => isSame(own, key, form)))
        yield `${name}: the flow has other tuples`;
    }
  }
}

function* lostFlows(datapath: Datapath, family: 4 | 6): Generator<string> {
  const { map } = datapath.maps[`tuples${family}`];
  for (const raw of new SlotReader(datapath.maps[`flows${family}`].map, family).held()) {
    for (const { bytes } of tupleKeys(raw)) {
      const value = map.get(bytes);
      const name = `flow in slot ${raw.slot} generation ${raw.gen}: its key ${keyText(bytes, family)}`;
      if (!value) {
        yield `${name} is missing`;
        continue;
      }
      const ref = readRef(value);
      if (ref.slot !== raw.slot || ref.gen !== raw.gen) {
        yield `${name} leads to slot ${ref.slot} generation ${ref.gen}`;
      }
    }
  }
}

function isSame(own: TupleKey, key: Uint8Array, form: number): boolean {
  return own.form === form && Buffer.compare(own.bytes, key) === 0;
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
