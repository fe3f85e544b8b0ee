// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** How large the tables of flows are, and what must be in them before the first packet. */
import { randomBytes } from 'node:crypto';
import { type BpfObject, MapFlag, TypedMap } from 'libbpf-ts';
import { HINT_ROW, type IndexHead, Layout, maps } from './generated/layouts.gen.js';

/** Each flow has at most three keys (original, reply, and the one between the hooks); nearly all have one or two. */
const KEYS_PER_FLOW = 2;

/** Keys for which a row of the index has four of its seven cells: of 1,000 keys about 20 then find no room there. */
const KEYS_PER_ROW = 4;

/**
 * Room for what finds none in the index, as a part of all keys: five times what is to be expected of the fullest
 * table, and as much as it takes if its flows are of endpoints and have more keys. Small ones vary more.
 */
const SPILLED = 1 / 10;
const SPILLED_LEAST = 64;

/**
 * Of hints, a flow (bpf/hint.h): room for one for each of its two keys and as many again, since each has its own row; beside
 * the map of tuples nearly one for each, as much as the aim of 320 bytes for a translated IPv4 flow leaves there.
 */
const HINT_BYTES = { index: 14, map: 7 };

/** Whether the keys of flows are in the index (bpf/index.h), of an object that was loaded or is to be. */
export function hasIndex(object: BpfObject): boolean {
  return ((object.maps.get('tuple_index')?.flags ?? 0) & MapFlag.MMAPABLE) !== 0;
}

/** Sizes the tables of an object that is not loaded yet, for so many flows of each family. */
export function sizeTables(object: BpfObject, flows4: number, flows6: number): void {
  const hints = ((flows4 + flows6) * HINT_BYTES[hasIndex(object) ? 'index' : 'map']) / HINT_ROW.size;
  object.maps.get('hints')?.setMaxEntries(Math.max(1, Math.floor(hints)));
  const keys = (flows: number): number => flows * KEYS_PER_FLOW;
  if (hasIndex(object)) {
    object.map('tuple_index').setMaxEntries(Math.ceil((keys(flows4) + keys(flows6)) / KEYS_PER_ROW));
  }
  for (const [name, flows] of [
    ['4', flows4],
    ['6', flows6],
  ] as const) {
    object.map(`flows${name}`).setMaxEntries(flows);
    object.map(`extras${name}`).setMaxEntries(flows);
    const spilled = Math.max(SPILLED_LEAST, Math.ceil(keys(flows) * SPILLED));
    object.map(`tuples${name}`).setMaxEntries(hasIndex(object) ? spilled : keys(flows));
  }
}

/** Gives the index of a loaded object its secrets: once, before the first packet. */
export function startIndex(object: BpfObject): void {
  if (!hasIndex(object)) return;
  const head = new TypedMap(object.map('index_head').map, maps.index_head.key, maps.index_head.value);
  head.set(0, indexHead(object.map('tuple_index').maxEntries));
}

/** @param rows of the index */
export function indexHead(rows: number): IndexHead {
  const random = randomBytes(Layout.INDEX_SECRETS * 4);
  const secrets = Array.from({ length: Layout.INDEX_SECRETS }, (_, i) => random.readUInt32LE(i * 4));
  return { rows, zero: 0, secrets };
}
