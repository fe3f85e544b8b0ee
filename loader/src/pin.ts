// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** bpffs, the file system in which maps, programs and links stay when the process that made them ends. */

import { mkdirSync, readdirSync, rmdirSync, statfsSync, unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { dirname, join } from 'node:path';
import { BpfError, LayoutError, SyscallError } from './errors.js';
import { type BpfKind, fdKind } from './fd.js';
import { checkErrno, checkResult, libbpf, libc } from './native.js';

/** Where bpffs is by custom. */
export const BPFFS_PATH = '/sys/fs/bpf';

/** BPF_FS_MAGIC (include/uapi/linux/magic.h). */
const BPFFS_MAGIC = 0xcafe4a11;

const { EEXIST, EPERM, ENOENT, EBUSY } = constants.errno;

/** A pin and what it holds. */
export interface Pin {
  readonly path: string;
  readonly kind: BpfKind;
}

/** Tells whether `path` exists and lies in a bpffs. */
export function isBpffs(path: string): boolean {
  try {
    return statfsSync(path).type === BPFFS_MAGIC;
  } catch (error) {
    if (isNodeError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false;
    throw nodeError(`look at "${path}"`, error);
  }
}

/**
 * Mounts bpffs on a directory, which is made if it is missing. Does nothing where one is mounted already.
 *
 * @returns whether it has mounted
 * @throws SyscallError EPERM without CAP_SYS_ADMIN
 */
export function mountBpffs(path: string = BPFFS_PATH): boolean {
  if (isBpffs(path)) return false;
  makeDirectory(path, 'mount bpffs on');
  const operation = `mount bpffs on "${path}"`;
  const hint = 'Run as root (CAP_SYS_ADMIN), or have it mounted: mount -t bpf bpf PATH';
  checkErrno(libc.mount('bpf', path, 'bpf', 0, null), operation, hint);
  return true;
}

/**
 * Makes a directory for pins with all above it that are missing, readable for its owner only.
 *
 * @throws LayoutError if it does not lie in a bpffs
 */
export function ensurePinDirectory(path: string): void {
  let existing = path;
  while (!exists(existing) && dirname(existing) !== existing) existing = dirname(existing);
  // before anything is made: a directory in the wrong file system would stay behind
  if (!isBpffs(existing)) throw notBpffsError(`make the pin directory "${path}"`, existing);
  makeDirectory(path, 'make the pin directory');
}

/**
 * Lists the pins in a directory and below it, sorted by path; none if the directory does not exist.
 *
 * @throws LayoutError if the directory does not lie in a bpffs
 */
export function listPins(directory: string): Pin[] {
  if (!exists(directory)) return [];
  if (!isBpffs(directory)) throw notBpffsError(`list the pins in "${directory}"`, directory);
  return filesBelow(directory)
    .sort()
    .map((path) => ({ path, kind: pinKind(path) }));
}

/** What is pinned at a path; `unknown` if it cannot be opened. */
export function pinKind(path: string): BpfKind {
  const fd = libbpf.bpf_obj_get(path);
  if (fd < 0) return 'unknown';
  const kind = fdKind(fd);
  libc.close(fd);
  return kind;
}

/**
 * Removes a pin. What it held lives on as long as something else refers to it.
 *
 * @returns false if there was none
 * @throws LayoutError if the path does not lie in a bpffs
 */
export function removePin(path: string): boolean {
  if (!exists(path)) return false;
  const operation = `remove the pin "${path}"`;
  if (!isBpffs(path)) throw notBpffsError(operation, path);
  try {
    unlinkSync(path);
    return true;
  } catch (error) {
    if (isNodeError(error) && error.code === 'ENOENT') return false;
    throw nodeError(operation, error);
  }
}

/**
 * Removes every pin in a directory and below it, and the directory itself.
 *
 * @returns how many pins there were
 * @throws LayoutError if the directory does not lie in a bpffs
 */
export function removePinDirectory(directory: string): number {
  if (!exists(directory)) return 0;
  const operation = `remove the pin directory "${directory}"`;
  if (!isBpffs(directory)) throw notBpffsError(operation, directory);
  let count = 0;
  try {
    for (const entry of readdirSync(directory, { withFileTypes: true })) {
      const path = join(directory, entry.name);
      if (entry.isDirectory()) count += removePinDirectory(path);
      else if (removePin(path)) count++;
    }
    rmdirSync(directory);
  } catch (error) {
    // the mount point itself stays
    if (isNodeError(error) && error.errno === -EBUSY) return count;
    throw error instanceof BpfError ? error : nodeError(operation, error);
  }
  return count;
}

/** Pins what a file descriptor stands for. `label` is how errors call it: `map "flows"`. */
export function pinFd(fd: number, path: string, label: string): void {
  const result = libbpf.bpf_obj_pin(fd, path);
  if (result >= 0) return;
  const operation = `pin ${label} to "${path}"`;
  const directory = dirname(path);
  if (exists(directory) && !isBpffs(directory)) throw notBpffsError(operation, directory);
  const hints: Record<number, string> = {
    [EEXIST]: 'Something is pinned there: remove it or open it instead',
    [ENOENT]: 'Make the directory first, with ensurePinDirectory()',
    [EPERM]: 'Run as root (CAP_BPF), and use no dots in the name: bpffs reserves them',
  };
  const hint = hints[-result];
  throw new SyscallError(operation, -result, hint === undefined ? {} : { hint });
}

/** Opens a pin. Returns a file descriptor. @throws LayoutError if something else than `kind` is pinned there */
export function getPin(path: string, kind: BpfKind): number {
  const operation = `open the pinned ${kind} "${path}"`;
  const fd = checkResult(libbpf.bpf_obj_get(path), operation);
  const actual = fdKind(fd);
  if (actual === kind || actual === 'unknown') return fd;
  libc.close(fd);
  throw new LayoutError(operation, `a ${actual} is pinned there`);
}

function filesBelow(directory: string): string[] {
  return readdirSync(directory, { withFileTypes: true }).flatMap((entry) => {
    const path = join(directory, entry.name);
    return entry.isDirectory() ? filesBelow(path) : [path];
  });
}

function exists(path: string): boolean {
  try {
    statfsSync(path);
    return true;
  } catch (error) {
    if (isNodeError(error) && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return false;
    throw nodeError(`look at "${path}"`, error);
  }
}

/** Step by step: Node's recursive mkdir does not return where the kernel answers ENOENT, as in /proc. */
function makeDirectory(path: string, verb: string): void {
  if (exists(path)) return;
  if (dirname(path) !== path) makeDirectory(dirname(path), verb);
  try {
    mkdirSync(path, { mode: 0o700 });
  } catch (error) {
    if (!exists(path)) throw nodeError(`${verb} "${path}"`, error);
  }
}

function notBpffsError(operation: string, path: string): LayoutError {
  return new LayoutError(operation, `"${path}" does not lie in a bpffs`, {
    hint: 'Mount one first, with mountBpffs() or mount -t bpf bpf /sys/fs/bpf',
  });
}

function isNodeError(error: unknown): error is NodeJS.ErrnoException {
  return error instanceof Error && 'code' in error;
}

/** An error of node:fs in this package's words. */
function nodeError(operation: string, cause: unknown): BpfError {
  const errno = isNodeError(cause) ? -(cause.errno ?? 0) : 0;
  return new SyscallError(operation, errno, { cause });
}
