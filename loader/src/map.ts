// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * A map in the kernel: raw keys and values. TypedMap stands on top of it for values with a layout.
 * Walking is in map-walk.ts, batches are in map-batch.ts.
 */

import { readFileSync } from 'node:fs';
import { constants } from 'node:os';
import { possibleCpus } from './cpus.js';
import { LayoutError, SyscallError } from './errors.js';
import { Fd } from './fd.js';
import { readMapInfo } from './info.js';
import { isPerCpu, isPlainArray, type MapType } from './kernel-types.js';
import {
  batchSupported,
  collectBatches,
  deleteInBatches,
  deleteSingly,
  entriesInBatches,
  lookupInBatches,
} from './map-batch.js';
import { type Batch, createMap, type FromFdOptions, type MapOptions, type SetMode } from './map-options.js';
import { walkEntries, walkKeys } from './map-walk.js';
import { type MemoryMap, mapMemory } from './memory-map.js';
import { checkResult, libbpf } from './native.js';
import { cpuStride, joinPerCpu, splitPerCpu } from './per-cpu.js';
import { getPin, pinFd, removePin } from './pin.js';

const { ENOENT, EEXIST, E2BIG, EBUSY, EAGAIN, EINTR } = constants.errno;
const MODE_FLAGS = { any: 0, noexist: 1, exist: 2 } as const;
const BUSY_ATTEMPTS = 100;
const CLEAR_BATCH = 512;

/** A map in the kernel. It lives for as long as something refers to it: this object, a program, a pin. */
export class BpfMap {
  readonly id: number;
  readonly name: string;
  readonly type: MapType;
  readonly keySize: number;
  /** Bytes that get() returns and set() takes. Of per-CPU maps: the values of all possible CPUs. */
  readonly valueSize: number;
  /** Of per-CPU maps: bytes of one CPU's value as declared, without the padding to 8. Else valueSize. */
  readonly cpuValueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
  readonly #fd: Fd;

  /** Takes over `fd`, unless it is borrowed. Use the static functions. */
  private constructor(fd: number, options: FromFdOptions) {
    let info: ReturnType<typeof readMapInfo>;
    try {
      info = readMapInfo(fd);
    } catch (error) {
      new Fd(fd, '', options.borrowed ?? false).close();
      throw error;
    }
    this.id = info.id;
    this.name = options.name ?? info.name;
    this.type = info.type;
    this.keySize = info.keySize;
    this.cpuValueSize = info.valueSize;
    this.valueSize = isPerCpu(info.type) ? cpuStride(info.valueSize) * possibleCpus() : info.valueSize;
    this.maxEntries = info.maxEntries;
    this.flags = info.flags;
    this.#fd = new Fd(fd, this.#label, options.borrowed ?? false);
  }

  /**
   * Creates a map.
   *
   * @throws SyscallError EPERM without the capability, EINVAL if the kernel does not know the type or dislikes a size,
   * E2BIG or ENOMEM if it is too large
   */
  static create(options: MapOptions): BpfMap {
    return new BpfMap(createMap(options), { name: options.name });
  }

  /**
   * Opens a pinned map.
   *
   * @throws SyscallError ENOENT if nothing is pinned there
   * @throws LayoutError if something else than a map is pinned there
   */
  static openPinned(path: string): BpfMap {
    return new BpfMap(getPin(path, 'map'), {});
  }

  /** @throws SyscallError ENOENT if no map has this id */
  static fromId(id: number): BpfMap {
    return new BpfMap(checkResult(libbpf.bpf_map_get_fd_by_id(id), `open the map with id ${id}`), {});
  }

  /** Takes over a file descriptor: close() closes it, unless it is borrowed. */
  static fromFd(fd: number, options: FromFdOptions = {}): BpfMap {
    return new BpfMap(fd, options);
  }

  /** The file descriptor, which this map goes on owning. */
  get fd(): number {
    return this.#fd.number;
  }

  get isOpen(): boolean {
    return this.#fd.isOpen;
  }

  get isPerCpu(): boolean {
    return isPerCpu(this.type);
  }

  /**
   * Returns a key's value in a buffer of its own, or undefined if there is none.
   *
   * @throws SyscallError, as for a type that userspace cannot read
   */
  get(key: Uint8Array): Buffer | undefined {
    const value = Buffer.allocUnsafe(this.valueSize);
    return this.getInto(key, value) ? value : undefined;
  }

  /**
   * Like get(), into a buffer of valueSize bytes that can be used again and again.
   *
   * @returns whether the key is there; if not, `target` is as it was
   */
  getInto(key: Uint8Array, target: Uint8Array): boolean {
    this.#checkSize('key', key, this.keySize);
    this.#checkSize('value', target, this.valueSize);
    let result = libbpf.bpf_map_lookup_elem(this.fd, key, target);
    if (isBusy(result)) result = retry(() => libbpf.bpf_map_lookup_elem(this.fd, key, target));
    if (result === 0) return true;
    if (result === -ENOENT) return false;
    throw new SyscallError(`read an entry of ${this.#label}`, -result);
  }

  /** Whether the key is there. */
  has(key: Uint8Array): boolean {
    return this.getInto(key, Buffer.allocUnsafe(this.valueSize));
  }

  /** Returns the key's value on each possible CPU, in buffers of cpuValueSize bytes; undefined if there is none. */
  getPerCpu(key: Uint8Array): Buffer[] | undefined {
    this.#checkPerCpu();
    const all = this.get(key);
    return all === undefined ? undefined : splitPerCpu(all, this.cpuValueSize);
  }

  /**
   * Stores a value.
   *
   * @returns false if `noexist` found the key there, or `exist` did not: nothing has changed then
   * @throws SyscallError E2BIG if the map is full
   */
  set(key: Uint8Array, value: Uint8Array, mode: SetMode = 'any'): boolean {
    this.#checkSize('key', key, this.keySize);
    this.#checkSize('value', value, this.valueSize);
    const flags = MODE_FLAGS[mode];
    let result = libbpf.bpf_map_update_elem(this.fd, key, value, flags);
    if (isBusy(result)) result = retry(() => libbpf.bpf_map_update_elem(this.fd, key, value, flags));
    if (result === 0) return true;
    if (mode === 'noexist' && result === -EEXIST) return false;
    if (mode === 'exist' && result === -ENOENT) return false;
    const full = result === -E2BIG ? { hint: `It has ${this.maxEntries} entries at most` } : {};
    throw new SyscallError(`write an entry of ${this.#label}`, -result, full);
  }

  /** Stores a value for each possible CPU, in CPU order. Returns what set() returns. */
  setPerCpu(key: Uint8Array, values: readonly Uint8Array[], mode: SetMode = 'any'): boolean {
    this.#checkPerCpu();
    if (values.length !== possibleCpus()) {
      throw new LayoutError(
        `write an entry of ${this.#label}`,
        `${values.length} values were given for ${possibleCpus()} possible CPUs`,
      );
    }
    for (const value of values) this.#checkSize('value of one CPU', value, this.cpuValueSize);
    return this.set(key, joinPerCpu(values, this.cpuValueSize), mode);
  }

  /**
   * Deletes an entry.
   *
   * @returns whether it was there
   * @throws SyscallError EINVAL for types that cannot delete, such as array
   */
  delete(key: Uint8Array): boolean {
    this.#checkSize('key', key, this.keySize);
    let result = libbpf.bpf_map_delete_elem(this.fd, key);
    if (isBusy(result)) result = retry(() => libbpf.bpf_map_delete_elem(this.fd, key));
    if (result === 0) return true;
    if (result === -ENOENT) return false;
    throw new SyscallError(`delete an entry of ${this.#label}`, -result);
  }

  /**
   * Deletes an entry and returns what it held, in one step; undefined if there is none.
   * queue and stack (since Linux 4.20) take an empty key; hash since Linux 5.14.
   */
  take(key: Uint8Array): Buffer | undefined {
    this.#checkSize('key', key, this.keySize);
    const value = Buffer.allocUnsafe(this.valueSize);
    const attempt = () => libbpf.bpf_map_lookup_and_delete_elem(this.fd, key, value);
    let result = attempt();
    if (isBusy(result)) result = retry(attempt);
    if (result === 0) return value;
    if (result === -ENOENT) return undefined;
    throw new SyscallError(`take an entry of ${this.#label}`, -result);
  }

  /**
   * Walks over the keys, each in a buffer of its own. Entries may be deleted meanwhile, also by the loop's body.
   * A key that is there all the time comes at least once; one that comes or goes meanwhile, perhaps.
   */
  *keys(): Generator<Buffer, void, undefined> {
    if (this.#walksInBatches) {
      for (const [key] of entriesInBatches(this)) yield key;
    } else {
      yield* walkKeys(this);
    }
  }

  /**
   * Walks over the entries, in batches where the kernel has them, under the same conditions as keys().
   * Each key and value is a buffer of its own.
   */
  *entries(): Generator<[key: Buffer, value: Buffer], void, undefined> {
    if (this.#walksInBatches) yield* entriesInBatches(this);
    else yield* walkEntries(this);
  }

  [Symbol.iterator](): Generator<[key: Buffer, value: Buffer], void, undefined> {
    return this.entries();
  }

  /** Deletes every entry that is there; in arrays, overwrites every value with zeros. */
  clear(): void {
    if (isPlainArray(this.type)) {
      const zeros = Buffer.alloc(this.valueSize);
      for (const key of this.keys()) this.set(key, zeros);
    } else if (this.#walksInBatches) {
      for (const { keys, count } of this.lookupBatch(CLEAR_BATCH)) this.deleteBatch(keys, count);
    } else {
      for (const key of walkKeys(this)) this.delete(key);
    }
  }

  /**
   * Reads the map in batches of about `count` entries: about, because the kernel hands out whole hash buckets.
   * Where the kernel has no batches (before Linux 5.6, or for this type) the entries are read one by one.
   */
  *lookupBatch(count: number): Generator<Batch, void, undefined> {
    if (this.#walksInBatches) yield* lookupInBatches(this, count);
    else yield* collectBatches(this, count);
  }

  /**
   * Deletes the first `count` of `keys`, with one system call where the kernel can.
   *
   * @param keys keys of keySize bytes, one after the other
   * @returns how many of them were there
   */
  deleteBatch(keys: Uint8Array, count: number): number {
    if (keys.length < count * this.keySize) {
      throw new LayoutError(
        `delete entries of ${this.#label}`,
        `${keys.length} bytes do not hold ${count} keys of ${this.keySize}`,
      );
    }
    if (batchSupported(this)) return deleteInBatches(this, keys, count);
    return deleteSingly(this, keys, count);
  }

  /**
   * Maps an array created with MapFlag.MMAPABLE into this process's memory. Values stand at multiples of
   * their size rounded up to 8. Since Linux 5.5.
   *
   * @param offset in bytes, a multiple of the page size
   * @param length in bytes; what is left of the array by default
   */
  mmap(offset = 0, length?: number): MemoryMap {
    const size = cpuStride(this.cpuValueSize) * this.maxEntries;
    return mapMemory(this.fd, this.#label, offset, length ?? size - offset);
  }

  /** Kernel memory that the map takes: exact since Linux 6.4, before that the estimate made at creation. */
  memoryBytes(): number {
    const text = readFileSync(`/proc/self/fdinfo/${this.fd}`, 'utf8');
    return Number(/^memlock:\s*(\d+)/m.exec(text)?.[1] ?? 0);
  }

  /** Refuses every later write from userspace. Since Linux 5.2. */
  freeze(): void {
    checkResult(libbpf.bpf_map_freeze(this.fd), `freeze ${this.#label}`);
  }

  /**
   * Pins the map to a path in bpffs, where it outlives this process.
   *
   * @throws SyscallError EEXIST if something is pinned there
   */
  pin(path: string): void {
    pinFd(this.fd, path, this.#label);
  }

  /** Removes a pin of this map. Returns whether there was one. */
  unpin(path: string): boolean {
    return removePin(path);
  }

  /** Lets go of the map. Closing twice is harmless; anything else throws afterwards. */
  close(): void {
    this.#fd.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  get #label(): string {
    return `map "${this.name}"`;
  }

  /**
   * Batches follow hash buckets or indexes, so that deletions do not disturb them. Tries have no such cursor:
   * a batch starts over where its last key is gone, and they are walked by keys instead.
   */
  get #walksInBatches(): boolean {
    return this.type !== 'lpm_trie' && batchSupported(this);
  }

  /** C reads and writes as many bytes as the map says: a short buffer would be overrun. */
  #checkSize(what: string, bytes: Uint8Array, size: number): void {
    if (bytes.length !== size) {
      throw new LayoutError(
        `use ${this.#label}`,
        `its ${what} has ${size} bytes, ${bytes.length} were given`,
      );
    }
  }

  #checkPerCpu(): void {
    if (this.isPerCpu) return;
    throw new LayoutError(`use ${this.#label} per CPU`, `its type ${this.type} has one value for all CPUs`);
  }
}

/** A bucket's lock may be held by a program that this CPU was interrupted in; it is free again at once. */
function isBusy(result: number): boolean {
  return result === -EBUSY || result === -EAGAIN || result === -EINTR;
}

function retry(call: () => number): number {
  let result = -EBUSY;
  for (let attempt = 0; attempt < BUSY_ATTEMPTS && isBusy(result); attempt++) result = call();
  return result;
}
