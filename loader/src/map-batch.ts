// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Many entries with one system call: BPF_MAP_LOOKUP_BATCH and BPF_MAP_DELETE_BATCH, since Linux 5.6 for hash
 * and array, later for others. The hash family hands out whole buckets and continues at a bucket, so that
 * neither insertions nor deletions disturb it (kernel/bpf/hashtab.c, __htab_map_lookup_and_delete_batch).
 */

import { constants } from 'node:os';
import { isDisabled } from './disabled.js';
import { SyscallError } from './errors.js';
import type { MapType } from './kernel-types.js';
import type { BpfMap } from './map.js';
import type { Batch } from './map-options.js';
import { walkEntries } from './map-walk.js';
import { libbpf } from './native.js';

const { ENOENT, ENOSPC, EINTR, EAGAIN, EBUSY, EINVAL, EPERM } = constants.errno;
const ENOTSUPP = 524;
const INTERRUPTIONS = 1000;
const ENTRIES_PER_BATCH = 512;

const supportedTypes = new Map<MapType, boolean>();

/**
 * Tells whether the kernel has batches for maps of this type: asked once per type, by reading one batch.
 * The word `batch` in LIBBPF_TS_DISABLE says no.
 */
export function batchSupported(map: BpfMap): boolean {
  if (isDisabled('batch')) return false;
  const known = supportedTypes.get(map.type);
  if (known !== undefined) return known;
  const result = libbpf.bpf_map_lookup_batch(
    map.fd,
    null,
    positionBuffer(map),
    Buffer.alloc(map.keySize),
    Buffer.alloc(map.valueSize),
    new Uint32Array([1]).buffer,
    null,
  );
  // a file descriptor without read permission tells nothing of the type
  if (result === -EPERM) return false;
  const supported = result !== -ENOTSUPP && result !== -EINVAL;
  supportedTypes.set(map.type, supported);
  return supported;
}

/** See BpfMap.lookupBatch(). */
export function* lookupInBatches(map: BpfMap, count: number): Generator<Batch, void, undefined> {
  let size = Math.max(1, Math.min(count, map.maxEntries));
  let keys = Buffer.allocUnsafe(size * map.keySize);
  let values = Buffer.allocUnsafe(size * map.valueSize);
  const got = new Uint32Array(1);
  // the kernel reads where to begin before it writes where it ended: both may be the same bytes
  const position = positionBuffer(map);
  let started = false;
  let interruptions = 0;
  for (;;) {
    got[0] = size;
    const from = started ? position : null;
    const result = libbpf.bpf_map_lookup_batch(map.fd, from, position, keys, values, got.buffer, null);
    const read = got[0] ?? 0;
    if (result === -ENOSPC) {
      // the next bucket alone holds more than a batch
      size *= 2;
      keys = Buffer.allocUnsafe(size * map.keySize);
      values = Buffer.allocUnsafe(size * map.valueSize);
      continue;
    }
    const interrupted = result === -EINTR || result === -EAGAIN || result === -EBUSY;
    if (result !== 0 && result !== -ENOENT && !interrupted) {
      throw new SyscallError(`read a batch of entries of map "${map.name}"`, -result);
    }
    if (interrupted && ++interruptions > INTERRUPTIONS) {
      throw new SyscallError(`read a batch of entries of map "${map.name}"`, -result);
    }
    if (read > 0) yield { keys, values, count: read };
    if (result === -ENOENT) return;
    if (!interrupted || read > 0) started = true;
  }
}

/** See BpfMap.entries(). */
export function* entriesInBatches(map: BpfMap): Generator<[key: Buffer, value: Buffer], void, undefined> {
  const { keySize, valueSize } = map;
  for (const { keys, values, count } of lookupInBatches(map, ENTRIES_PER_BATCH)) {
    // the batch's buffers are used again, but its entries may be kept
    const allKeys = Buffer.from(keys.subarray(0, count * keySize));
    const allValues = Buffer.from(values.subarray(0, count * valueSize));
    for (let i = 0; i < count; i++) {
      yield [
        allKeys.subarray(i * keySize, (i + 1) * keySize),
        allValues.subarray(i * valueSize, (i + 1) * valueSize),
      ];
    }
  }
}

/** See BpfMap.lookupBatch(), for kernels and types without batches. */
export function* collectBatches(map: BpfMap, size: number): Generator<Batch, void, undefined> {
  const keys = Buffer.allocUnsafe(size * map.keySize);
  const values = Buffer.allocUnsafe(size * map.valueSize);
  let count = 0;
  for (const [key, value] of walkEntries(map)) {
    keys.set(key, count * map.keySize);
    values.set(value, count * map.valueSize);
    if (++count < size) continue;
    yield { keys, values, count };
    count = 0;
  }
  if (count > 0) yield { keys, values, count };
}

/** See BpfMap.deleteBatch(). */
export function deleteInBatches(map: BpfMap, keys: Uint8Array, count: number): number {
  const done = new Uint32Array(1);
  let deleted = 0;
  let interruptions = 0;
  let at = 0;
  while (at < count) {
    done[0] = count - at;
    const rest = keys.subarray(at * map.keySize, count * map.keySize);
    const result = libbpf.bpf_map_delete_batch(map.fd, rest, done.buffer, null);
    if (result === -ENOTSUPP || result === -EINVAL) return deleted + deleteSingly(map, rest, count - at);
    deleted += done[0];
    at += done[0];
    if (result === 0) return deleted;
    // the kernel stops at the first key that is gone: that one is skipped
    if (result === -ENOENT) at++;
    else if ((result !== -EINTR && result !== -EBUSY) || ++interruptions > INTERRUPTIONS) {
      throw new SyscallError(`delete a batch of entries of map "${map.name}"`, -result);
    }
  }
  return deleted;
}

/** See BpfMap.deleteBatch(), for kernels and types without batches. */
export function deleteSingly(map: BpfMap, keys: Uint8Array, count: number): number {
  let deleted = 0;
  for (let i = 0; i < count; i++) {
    if (map.delete(keys.subarray(i * map.keySize, (i + 1) * map.keySize))) deleted++;
  }
  return deleted;
}

/** Room for where a batch ended: a bucket's number or a key. */
function positionBuffer(map: BpfMap): Buffer {
  return Buffer.alloc(Math.max(map.keySize, 8));
}
