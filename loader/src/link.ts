// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * bpf_link: an attachment that is an object of its own. It lives as long as a descriptor or a pin refers to it, and
 * goes when the last one does. Since 5.7; for XDP since 5.9, for TCX since 6.6.
 */

import { unlinkSync } from 'node:fs';
import { constants } from 'node:os';
import { BpfCommand, bpf } from './bpf-syscall.js';
import { LayoutError, SyscallError } from './errors.js';
import { closedError, fdKind } from './fd.js';
import type { ProgramHandle } from './hook.js';
import { checkResult, libbpf, libc } from './native.js';

/** enum bpf_link_type by number. */
const LINK_TYPES = [
  'unspec',
  'raw_tracepoint',
  'tracing',
  'cgroup',
  'iter',
  'netns',
  'xdp',
  'perf_event',
  'kprobe_multi',
  'struct_ops',
  'netfilter',
  'tcx',
  'uprobe_multi',
  'netkit',
  'sockmap',
] as const;

export type LinkType = (typeof LINK_TYPES)[number];

export interface LinkInfo {
  id: number;
  /** "unspec" for a type that this package does not know. */
  type: LinkType;
  programId: number;
  /** For "xdp", "tcx" and "netkit"; 0 when the interface is gone or the link has been detached. */
  ifindex?: number;
  /** For "tcx" and "netkit": enum bpf_attach_type. */
  attachType?: number;
}

const INFO_BYTES = 64;

export class BpfLink {
  #fd: number;
  readonly #id: number;
  #pinPath: string | undefined;

  /** Takes a descriptor over: it is closed with the link. */
  constructor(fd: number, pinPath?: string) {
    this.#fd = fd;
    this.#pinPath = pinPath;
    try {
      this.#id = this.info().id;
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /**
   * The link behind a pin.
   *
   * @throws SyscallError: ENOENT no such pin; LayoutError when the pin is a map or program
   */
  static openPinned(path: string): BpfLink {
    const operation = `open the pinned link "${path}"`;
    const fd = checkResult(libbpf.bpf_obj_get(path), operation);
    const kind = fdKind(fd);
    if (kind !== 'link' && kind !== 'unknown') {
      libc.close(fd);
      throw new LayoutError(operation, `it is a ${kind}`);
    }
    return new BpfLink(fd, path);
  }

  /** Since 5.8; needs CAP_SYS_ADMIN. @throws SyscallError: ENOENT no such link */
  static fromId(id: number): BpfLink {
    const attributes = Buffer.alloc(16);
    attributes.writeUInt32LE(id, 0);
    return new BpfLink(
      checkResult(bpf(BpfCommand.LINK_GET_FD_BY_ID, attributes), `open the link with id ${id}`),
    );
  }

  /** The ids of all links of the machine in ascending order. Since 5.8; needs CAP_SYS_ADMIN. */
  static *ids(): Generator<number, void, undefined> {
    const attributes = Buffer.alloc(16);
    for (let id = 0; ; ) {
      attributes.writeUInt32LE(id, 0);
      const result = bpf(BpfCommand.LINK_GET_NEXT_ID, attributes);
      if (result === -constants.errno.ENOENT) return;
      checkResult(result, 'list the links');
      id = attributes.readUInt32LE(4);
      yield id;
    }
  }

  get id(): number {
    return this.#id;
  }

  get isOpen(): boolean {
    return this.#fd >= 0;
  }

  /** @throws BpfError with code ERR_BPF_CLOSED after close() */
  get fd(): number {
    if (this.#fd < 0) throw closedError(`link ${this.#id}`);
    return this.#fd;
  }

  /** Where it was pinned by this object, or opened from. */
  get pinPath(): string | undefined {
    return this.#pinPath;
  }

  /** What the kernel says now. */
  info(): LinkInfo {
    const info = Buffer.alloc(INFO_BYTES);
    const length = Buffer.alloc(4);
    length.writeUInt32LE(INFO_BYTES, 0);
    checkResult(libbpf.bpf_obj_get_info_by_fd(this.fd, info, length), 'read what the kernel says of a link');
    const type = LINK_TYPES[info.readUInt32LE(0)] ?? 'unspec';
    const isOnInterface = type === 'xdp' || type === 'tcx' || type === 'netkit';
    return {
      type,
      id: info.readUInt32LE(4),
      programId: info.readUInt32LE(8),
      ...(isOnInterface && { ifindex: info.readUInt32LE(16) }),
      ...(isOnInterface && type !== 'xdp' && { attachType: info.readUInt32LE(20) }),
    };
  }

  /** Keeps the attachment beyond this process. @throws SyscallError: EEXIST the path is taken, EINVAL not on bpffs */
  pin(path: string): void {
    const hint = 'The path must be new and lie on a bpf file system';
    checkResult(libbpf.bpf_obj_pin(this.fd, path), `pin the link ${this.#id} to "${path}"`, hint);
    this.#pinPath = path;
  }

  /** Removes the pin; the attachment goes with the last descriptor. No pin, or one that is gone already, is fine. */
  unpin(): void {
    if (this.#pinPath === undefined) return;
    try {
      unlinkSync(this.#pinPath);
    } catch (cause) {
      const { code, errno = -constants.errno.EIO } = cause as NodeJS.ErrnoException;
      if (code !== 'ENOENT') throw new SyscallError(`unpin the link "${this.#pinPath}"`, -errno, { cause });
    }
    this.#pinPath = undefined;
  }

  /**
   * Puts another program in the place of the link's, atomically: every packet meets the one or the other.
   *
   * @throws SyscallError: EINVAL for a program of another type, ENOLINK after detach()
   */
  update(program: ProgramHandle): void {
    const attributes = Buffer.alloc(16);
    attributes.writeInt32LE(this.fd, 0);
    attributes.writeInt32LE(program.fd, 4);
    const operation = `put program "${program.name}" on the link ${this.#id}`;
    checkResult(bpf(BpfCommand.LINK_UPDATE, attributes), operation);
  }

  /** Takes the program off, whoever else holds the link; the object stays, defunct. Since 5.9. Repeating it is fine. */
  detach(): void {
    const attributes = Buffer.alloc(16);
    attributes.writeInt32LE(this.fd, 0);
    const result = bpf(BpfCommand.LINK_DETACH, attributes);
    // a TCX link that is off already
    if (result === -constants.errno.ENOLINK) return;
    checkResult(result, `detach the link ${this.#id}`);
  }

  /** Closes the descriptor: without a pin that detaches. Idempotent. */
  close(): void {
    if (this.#fd < 0) return;
    libc.close(this.#fd);
    this.#fd = -1;
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
