// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * TCX: programs directly on an interface's ingress and egress, without a qdisc, in an order that each says for itself.
 * They run before what is on clsact; TCX_NEXT (-1) hands on to the next one. Since 6.6.
 * Made by bpf(2) itself: libbpf knows TCX only since 1.3.
 */

import { constants } from 'node:os';
import { BpfCommand, bpf } from './bpf-syscall.js';
import { SyscallError, UnsupportedError } from './errors.js';
import type { Direction, ProgramHandle } from './hook.js';
import { BpfLink } from './link.js';
import { addressOf } from './native.js';

/** enum bpf_attach_type */
export const TCX_ATTACH_TYPES = { ingress: 46, egress: 47 } as const;

const BPF_F_BEFORE = 1 << 3;
const BPF_F_AFTER = 1 << 4;
const BPF_F_LINK = 1 << 13;

export interface AttachTcxOptions {
  ifindex: number;
  direction: Direction;
  program: ProgramHandle;
  /** Runs directly before this one, or before all with 'all'. Without before or after: after all. */
  before?: ProgramHandle | BpfLink | 'all';
  after?: ProgramHandle | BpfLink | 'all';
}

/**
 * Attaches a sched_cls program by a link: it stays as long as the link is open or pinned.
 *
 * @throws UnsupportedError before 6.6; SyscallError: ENODEV no such interface, EEXIST the program is there already,
 *   ENOENT what it should stand before or after is not there, EBADF
 */
export function attachTcx(options: AttachTcxOptions): BpfLink {
  const { ifindex, direction, program, before, after } = options;
  if (before && after) throw new TypeError('Cannot attach both before and after: choose one');
  const attributes = Buffer.alloc(48);
  attributes.writeInt32LE(program.fd, 0);
  attributes.writeInt32LE(ifindex, 4);
  attributes.writeUInt32LE(TCX_ATTACH_TYPES[direction], 8);
  const neighbour = before ?? after;
  if (neighbour) {
    const position = before ? BPF_F_BEFORE : BPF_F_AFTER;
    const kind = neighbour instanceof BpfLink ? BPF_F_LINK : 0;
    attributes.writeUInt32LE(position | kind, 12);
    if (neighbour !== 'all') attributes.writeInt32LE(neighbour.fd, 16);
  }
  const result = bpf(BpfCommand.LINK_CREATE, attributes);
  if (result < 0) {
    throw failure(`attach program "${program.name}" to ${direction} of interface ${ifindex} by TCX`, -result);
  }
  return new BpfLink(result);
}

function failure(operation: string, errno: number): SyscallError | UnsupportedError {
  const error = new SyscallError(operation, errno);
  // for all that the caller can have got wrong TCX has other numbers, but for a program of another type
  if (errno !== constants.errno.EINVAL || tcxSupport() !== -errno) return error;
  return new UnsupportedError('TCX', 'Linux 6.6', {
    cause: error,
    hint: 'Attach to the clsact qdisc instead',
  });
}

/** The ids of the programs on one side of an interface, by link or not, in the order in which they run. */
export function queryTcx(ifindex: number, direction: Direction): number[] {
  const operation = `list the TCX programs on ${direction} of interface ${ifindex}`;
  for (let room = 16; ; room *= 2) {
    const ids = Buffer.alloc(room * 4);
    const { result, count } = query(ifindex, direction, ids);
    // ENOSPC: there are more than fit
    if (result === -constants.errno.ENOSPC) continue;
    // an interface that never had a program has no list
    if (result === -constants.errno.ENOENT) return [];
    if (result < 0) throw failure(operation, -result);
    return Array.from({ length: Math.min(count, room) }, (_, index) => ids.readUInt32LE(index * 4));
  }
}

/**
 * What the kernel returns to a query for the loopback interface, which every network namespace has: -EINVAL if it has
 * no TCX, -ENOENT or 0 if it has, -EPERM without CAP_NET_ADMIN.
 */
export function tcxSupport(): number {
  return query(1, 'ingress', Buffer.alloc(4)).result;
}

function query(ifindex: number, direction: Direction, ids: Buffer): { result: number; count: number } {
  const attributes = Buffer.alloc(64);
  attributes.writeInt32LE(ifindex, 0);
  attributes.writeUInt32LE(TCX_ATTACH_TYPES[direction], 4);
  attributes.writeBigUInt64LE(addressOf(ids), 16);
  attributes.writeUInt32LE(ids.length / 4, 24);
  const result = bpf(BpfCommand.PROG_QUERY, attributes);
  return { result, count: attributes.readUInt32LE(24) };
}
