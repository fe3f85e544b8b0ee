// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Walks a map key by key, for kernels and types without batches. BPF_MAP_GET_NEXT_KEY starts over at the
 * map's first key when the key it is given is gone, without saying so: a naive walk over a map that others
 * delete from may go round for ever. This one looks each key up after asking for its successor. If it was
 * still there, the successor is genuine; if not, the walk resumes from the last key behind it that is.
 */

import { constants } from 'node:os';
import { BpfError, SyscallError } from './errors.js';
import type { MapType } from './kernel-types.js';
import type { BpfMap } from './map.js';
import { libbpf } from './native.js';

const { ENOENT } = constants.errno;

/** Types that can start over. The others count an index up, or cannot be looked up by key. */
const HASHED: ReadonlySet<MapType> = new Set<MapType>([
  'hash',
  'percpu_hash',
  'lru_hash',
  'lru_percpu_hash',
  'lpm_trie',
  'hash_of_maps',
  'devmap_hash',
]);

/** Starts from the beginning before a walk gives up: each needs that every key of the trail has vanished. */
const RESTARTS_PER_WALK = 1000;

/** Keys behind the walk that are remembered: the last 32 all, of older ones ever fewer. */
const TRAIL_KEYS = 64;

/** See BpfMap.entries(). */
export function* walkEntries(map: BpfMap): Generator<[key: Buffer, value: Buffer], void, undefined> {
  if (!HASHED.has(map.type)) {
    for (const key of walkIndexes(map)) {
      const value = map.get(key);
      if (value !== undefined) yield [key, value];
    }
    return;
  }
  const trail: Buffer[] = [];
  let restarts = 0;
  let key = nextKey(map, null);
  while (key !== undefined) {
    // in this order: a key that is there now was there when its successor was asked for
    const next = nextKey(map, key);
    const value = map.get(key);
    if (value !== undefined) {
      remember(trail, key);
      yield [key, value];
      key = next;
    } else {
      const resumed = resume(map, trail);
      if (resumed.fromStart && ++restarts > RESTARTS_PER_WALK) throw abortedError(map);
      key = resumed.key;
    }
  }
}

/** See BpfMap.keys(). Hashed types are walked by entries, for the look-up tells whether the walk is on course. */
export function* walkKeys(map: BpfMap): Generator<Buffer, void, undefined> {
  if (!HASHED.has(map.type)) yield* walkIndexes(map);
  else for (const [key] of walkEntries(map)) yield key;
}

function* walkIndexes(map: BpfMap): Generator<Buffer, void, undefined> {
  let key = nextKey(map, null);
  while (key !== undefined) {
    const next = nextKey(map, key);
    yield key;
    key = next;
  }
}

/** The key after `key`, or the first one after null; undefined at the end. */
function nextKey(map: BpfMap, key: Buffer | null): Buffer | undefined {
  const next = Buffer.allocUnsafe(map.keySize);
  const result = libbpf.bpf_map_get_next_key(map.fd, key, next);
  if (result === 0) return next;
  if (result === -ENOENT) return undefined;
  throw new SyscallError(`walk over map "${map.name}"`, -result);
}

function remember(trail: Buffer[], key: Buffer): void {
  // a copy: the caller may write into the key that it got
  trail.push(Buffer.from(key));
  if (trail.length < TRAIL_KEYS) return;
  for (let i = TRAIL_KEYS / 4; i > 0; i--) trail.splice(2 * i - 1, 1);
}

/** The key after the newest key of the trail that is still there; the map's first key if none is. */
function resume(map: BpfMap, trail: Buffer[]): { key: Buffer | undefined; fromStart: boolean } {
  for (let last = trail.at(-1); last !== undefined; last = trail.at(-1)) {
    const key = nextKey(map, last);
    if (map.has(last)) return { key, fromStart: false };
    trail.pop();
  }
  return { key: nextKey(map, null), fromStart: true };
}

function abortedError(map: BpfMap): BpfError {
  const operation = `walk over map "${map.name}"`;
  return new BpfError(`Cannot ${operation}: its entries vanish faster than they can be read`, {
    code: 'ERR_BPF_ITERATION',
    operation,
    hint: 'Try again when fewer entries are being deleted',
  });
}
