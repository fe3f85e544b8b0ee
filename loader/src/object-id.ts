// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Whether an id still stands for something, found out without opening it: an open descriptor keeps what it looks for. */
import { constants } from 'node:os';
import { checkResult, libbpf } from './native.js';

const NEXT_ID = { map: 'bpf_map_get_next_id', program: 'bpf_prog_get_next_id' } as const;

/** INT_MAX: the kernel hands out no greater ones. */
const MAX_ID = 0x7fff_ffff;

/**
 * Whether the kernel has a map or program of that id. It frees them some time after their last user has gone, and
 * lists them until then. Since 4.13.
 *
 * @throws SyscallError EPERM without CAP_SYS_ADMIN
 */
export function isInKernel(kind: 'map' | 'program', id: number): boolean {
  if (!Number.isInteger(id) || id < 1 || id > MAX_ID) {
    throw new RangeError(`Cannot look for ${kind} ${id}: ids are from 1 to ${MAX_ID}`);
  }
  const next = new Uint32Array(1);
  const result = libbpf[NEXT_ID[kind]](id - 1, next.buffer);
  if (result === -constants.errno.ENOENT) return false;
  checkResult(result, `look for ${kind} ${id}`);
  return next[0] === id;
}
