// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What BpfMap takes and gives, and the system call that makes a map. */

import { type MapType, mapTypeNumber } from './kernel-types.js';
import type { BpfMap } from './map.js';
import { checkResult, LITTLE_ENDIAN, libbpf } from './native.js';

/** What a new map shall be. */
export interface MapOptions {
  readonly type: MapType;
  /** Letters, digits, `_` and since Linux 5.3 `.`; what exceeds 15 bytes the kernel does not see. */
  readonly name: string;
  readonly keySize: number;
  /** Of per-CPU maps: one CPU's value. */
  readonly valueSize: number;
  readonly maxEntries: number;
  /** BPF_F_…, see MapFlag. */
  readonly flags?: number;
  /** For array_of_maps and hash_of_maps: a map like those that will be put in. */
  readonly inner?: BpfMap;
}

/** How a file descriptor becomes a map. */
export interface FromFdOptions {
  /** The whole name, of which the kernel keeps 15 bytes. */
  readonly name?: string;
  /** Leaves the file descriptor open on close(). */
  readonly borrowed?: boolean;
}

/** How set() treats what is there: anything goes, only a new key, only an existing key. */
export type SetMode = 'any' | 'noexist' | 'exist';

/** Entries as lookupBatch() hands them out. */
export interface Batch {
  /** `count` keys of keySize bytes, one after the other. Overwritten by the next batch. */
  readonly keys: Buffer;
  /** `count` values of valueSize bytes, in the keys' order. Overwritten by the next batch. */
  readonly values: Buffer;
  readonly count: number;
}

/** BPF_OBJ_NAME_LEN without the NUL. */
const NAME_BYTES = 15;

/** struct bpf_map_create_opts of libbpf 1.0; newer ones have more at the end, which `sz` leaves out. */
const CREATE_OPTS_BYTES = 48;

/** See BpfMap.create(). Returns a file descriptor. */
export function createMap(options: MapOptions): number {
  const { type, name, keySize, valueSize, maxEntries } = options;
  const opts = Buffer.alloc(CREATE_OPTS_BYTES);
  const view = new DataView(opts.buffer, opts.byteOffset, opts.length);
  view.setBigUint64(0, BigInt(CREATE_OPTS_BYTES), LITTLE_ENDIAN);
  view.setUint32(24, options.inner?.fd ?? 0, LITTLE_ENDIAN);
  view.setUint32(28, options.flags ?? 0, LITTLE_ENDIAN);
  const shortName = name.slice(0, NAME_BYTES);
  const fd = libbpf.bpf_map_create(mapTypeNumber(type), shortName, keySize, valueSize, maxEntries, opts);
  const what = `${type} of ${maxEntries} entries, keys of ${keySize} and values of ${valueSize} bytes`;
  return checkResult(fd, `create map "${name}" (${what})`);
}
