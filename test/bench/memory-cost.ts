// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Kernel memory a flow, by the kernel's own accounting of the maps (/proc/PID/fdinfo, memlock).
import type { BpfObject } from 'libbpf-ts';
import { hasIndex } from '../../src/table-sizes.js';
import { loadDatapath } from '../helpers/datapath/load.js';

/** Keys that a flow has in the tuple map; one translated in both ways, source and destination, has 3. */
const KEYS = { 'not translated': 1, translated: 2 } as const;

export interface MemoryRow {
  name: string;
  /** Bytes. */
  slot: number;
  keys: number;
  hints: number;
  total: number;
}

/** Bytes that one more entry of the map costs. @param name of a map whose entries are allocated with it */
function bytesPerEntry(object: BpfObject, name: string): number {
  const { map } = object.map(name);
  return map.memoryBytes() / map.maxEntries;
}

/** With an index a key's share of it, of which half is left free, and of the map for what finds no room in it. */
function bytesPerKey(object: BpfObject, family: number, flows: number): number {
  if (!hasIndex(object)) return bytesPerEntry(object, `tuples${family}`);
  const keys = flows * 2;
  const index = object.map('tuple_index').map.memoryBytes() / keys / 2; // both families'
  return index + object.map(`tuples${family}`).map.memoryBytes() / keys;
}

/** Bytes a flow, of each kind, in a datapath of so many flows of both families. */
export function measureMemory(flavour: string, flows: number): MemoryRow[] {
  const object = loadDatapath(flavour, flows, { flows6: flows });
  try {
    return [4, 6].flatMap((family) =>
      Object.entries(KEYS).map(([kind, count]) => {
        const slot = bytesPerEntry(object, `flows${family}`) + bytesPerEntry(object, `extras${family}`);
        const keys = count * bytesPerKey(object, family, flows);
        const hints = object.map('hints').map.memoryBytes() / flows / 2;
        return { name: `IPv${family} flow, ${kind}`, slot, keys, hints, total: slot + keys + hints };
      }),
    );
  } finally {
    object.close();
  }
}
