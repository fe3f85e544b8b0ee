// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** File descriptors of BPF objects: what kind they are, and who closes them. */

import { readlinkSync } from 'node:fs';
import { BpfError } from './errors.js';
import { libc } from './native.js';

/** What a BPF file descriptor or pin may be. */
export type BpfKind = 'map' | 'program' | 'link' | 'btf' | 'unknown';

const KIND_BY_LINK: Record<string, BpfKind> = {
  'anon_inode:bpf-map': 'map',
  'anon_inode:bpf-prog': 'program',
  'anon_inode:bpf_link': 'link',
  'anon_inode:btf': 'btf',
};

/** Tells maps, programs and links apart by what /proc calls them; `unknown` without /proc. */
export function fdKind(fd: number): BpfKind {
  try {
    return KIND_BY_LINK[readlinkSync(`/proc/self/fd/${fd}`)] ?? 'unknown';
  } catch {
    return 'unknown';
  }
}

/** A file descriptor that is closed at most once, and not at all if it is borrowed. */
export class Fd {
  readonly #number: number;
  readonly #borrowed: boolean;
  readonly #owner: string;
  #open = true;

  /**
   * @param owner how errors call what it stands for: `map "flows"`
   * @param borrowed leaves it open on close()
   */
  constructor(number: number, owner: string, borrowed: boolean) {
    this.#number = number;
    this.#owner = owner;
    this.#borrowed = borrowed;
  }

  get isOpen(): boolean {
    return this.#open;
  }

  /** @throws BpfError with code ERR_BPF_CLOSED after close() */
  get number(): number {
    if (!this.#open) throw closedError(this.#owner);
    return this.#number;
  }

  close(): void {
    if (!this.#open) return;
    this.#open = false;
    // Linux releases the number whatever close() returns
    if (!this.#borrowed) libc.close(this.#number);
  }
}

/** What is thrown when something is used after its close(): a bug of the caller's. */
export function closedError(owner: string): BpfError {
  return new BpfError(`Cannot use ${owner}: it is closed`, {
    code: 'ERR_BPF_CLOSED',
    operation: `use ${owner}`,
  });
}

/** What is thrown when something of an object file is used as if it were in the kernel. */
export function notLoadedError(owner: string, hint: string): BpfError {
  return new BpfError(`Cannot use ${owner}: it is not in the kernel`, {
    code: 'ERR_BPF_NOT_LOADED',
    operation: `use ${owner}`,
    hint,
  });
}
