// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A map's memory as this process's own: reads and writes without system calls. */

import { LayoutError, SyscallError } from './errors.js';
import { closedError } from './fd.js';
import { checkErrno, errno, libc, MAP_FAILED, viewMemory } from './native.js';

const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_SHARED = 0x01;
const MAP_PRIVATE = 0x02;
const MAP_FIXED = 0x10;
const MAP_ANONYMOUS = 0x20;
const MAP_NORESERVE = 0x4000;

/**
 * Gives the addresses back once no view can reach them any more. Until then they must stay mapped:
 * JavaScript cannot be kept from reading through a view that it still holds.
 */
const reserved = new FinalizationRegistry<{ address: bigint; length: number }>(({ address, length }) => {
  libc.munmap(address, length);
});

/** Memory shared with the kernel. What programs write is seen at once, and the other way round. */
export class MemoryMap {
  readonly #address: bigint;
  readonly #length: number;
  readonly #label: string;
  #memory: ArrayBuffer | undefined;
  #bytes: Uint8Array<ArrayBuffer> | undefined;

  /** Use BpfMap.mmap(). Takes over `mappedLength` bytes at `address`, of which `length` are shown. */
  constructor(address: bigint, length: number, mappedLength: number, label: string) {
    this.#address = address;
    this.#length = mappedLength;
    this.#label = label;
    this.#memory = viewMemory(address, mappedLength);
    this.#bytes = new Uint8Array(this.#memory, 0, length);
    reserved.register(this.#memory, { address, length: mappedLength });
  }

  /**
   * The memory itself, not a copy. Do not keep it beyond close(): it reads zeros then, and nobody sees what is
   * written to it. Fields that programs write meanwhile are read whole only up to 8 aligned bytes.
   *
   * @throws BpfError after close()
   */
  get buffer(): Uint8Array<ArrayBuffer> {
    if (this.#bytes === undefined) throw closedError(`the memory of ${this.#label}`);
    return this.#bytes;
  }

  /** A DataView of the same bytes. */
  view(): DataView<ArrayBuffer> {
    const bytes = this.buffer;
    return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  }

  /** Lets go of the map. Views that are still held read zeros from now on. Closing twice is harmless. */
  close(): void {
    if (this.#memory === undefined) return;
    // empty pages in place of the map's: they are freed when the last view is gone
    const flags = MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE;
    const address = libc.mmap(this.#address, this.#length, PROT_READ_WRITE, flags, -1, 0);
    if (address === MAP_FAILED) throw new SyscallError(`unmap the memory of ${this.#label}`, errno());
    this.#memory = undefined;
    this.#bytes = undefined;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** See BpfMap.mmap(). */
export function mapMemory(fd: number, label: string, offset: number, length: number): MemoryMap {
  const operation = `map ${label} into memory`;
  const page = pageSize();
  if (offset % page !== 0) {
    throw new LayoutError(operation, `offset ${offset} is no multiple of the page size ${page}`);
  }
  if (length <= 0) throw new LayoutError(operation, `${length} bytes are left from offset ${offset}`);
  const mappedLength = Math.ceil(length / page) * page;
  const address = libc.mmap(null, mappedLength, PROT_READ_WRITE, MAP_SHARED, fd, offset);
  if (address === null || address === MAP_FAILED) {
    throw new SyscallError(operation, errno(), {
      hint: 'The map must be an array created with BPF_F_MMAPABLE (since Linux 5.5), neither frozen nor read-only',
    });
  }
  return new MemoryMap(address, length, mappedLength, label);
}

let bytesPerPage: number | undefined;

function pageSize(): number {
  bytesPerPage ??= checkErrno(libc.getpagesize(), 'read the page size');
  return bytesPerPage;
}
