// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Programs on the clsact qdisc, which every kernel from 4.5 on has: cls_bpf filters, always direct-action (what the
 * program returns is the verdict). They stay when the process ends. Many parties may use one clsact: each filter is
 * told from the others by its priority and handle.
 * All functions work in the calling thread's network namespace.
 */

import { constants } from 'node:os';
import { BpfError, SyscallError, UnsupportedError } from './errors.js';
import type { Direction, ProgramHandle } from './hook.js';
import { clearPrinted, lastPrinted, libbpf } from './native.js';
import { ingressQdiscKind } from './tc-list.js';

export { listTcFilters, type TcFilterEntry } from './tc-list.js';

const { EEXIST, EINVAL, ENODEV, ENOENT } = constants.errno;

const ATTACH_POINTS = { ingress: 1, egress: 2 } as const;
const BOTH_POINTS = ATTACH_POINTS.ingress | ATTACH_POINTS.egress;
const BPF_TC_F_REPLACE = 1;
const MAX_PRIORITY = 0xffff;

/** Where one filter stands. */
export interface TcPosition {
  ifindex: number;
  direction: Direction;
  /** 1 to 65535; the smallest runs first. */
  priority: number;
  handle: number;
}

export interface TcFilter extends TcPosition {
  programId: number;
}

export interface AttachTcOptions {
  ifindex: number;
  direction: Direction;
  program: ProgramHandle;
  /** Left out: the kernel chooses, from 49152 downwards. */
  priority?: number;
  /** Left out: the kernel chooses, 1 for the first filter of a priority. */
  handle?: number;
  /** Puts the program in the place of the filter there, without a moment in which neither runs. */
  replace?: boolean;
}

/**
 * Makes the clsact qdisc of an interface; false if it was there.
 *
 * @throws UnsupportedError without CONFIG_NET_SCH_INGRESS; SyscallError; BpfError with code ERR_BPF_QDISC_IN_THE_WAY
 *   where the older "ingress" qdisc has clsact's place
 */
export function createClsact(ifindex: number): boolean {
  clearPrinted();
  const result = libbpf.bpf_tc_hook_create(hookStruct(ifindex, BOTH_POINTS));
  if (result === 0) return true;
  if (result === -EEXIST) {
    refuseIngressQdisc(ifindex);
    return false;
  }
  const operation = `create the clsact qdisc on interface ${ifindex}`;
  if (result === -ENOENT) {
    throw new UnsupportedError('the clsact qdisc', 'a kernel with CONFIG_NET_SCH_INGRESS', {
      cause: failure(operation, result),
      hint: 'Load the module sch_ingress, or use another kernel',
    });
  }
  throw failure(operation, result);
}

/** The kernel gives the same EEXIST for clsact and for its predecessor, which has no egress side. */
function refuseIngressQdisc(ifindex: number): void {
  if (ingressQdiscKind(ifindex) !== 'ingress') return;
  throw new BpfError(
    `Cannot create the clsact qdisc on interface ${ifindex}: an ingress qdisc has its place`,
    {
      code: 'ERR_BPF_QDISC_IN_THE_WAY',
      operation: `create the clsact qdisc on interface ${ifindex}`,
      hint: 'Remove it with "tc qdisc del dev NAME ingress" if nobody needs its filters',
    },
  );
}

/**
 * Deletes the clsact qdisc and every filter on it, whoever attached them: listTcFilters() tells whether there are
 * any. False if there was none.
 *
 * @throws SyscallError
 */
export function destroyClsact(ifindex: number): boolean {
  if (ingressQdiscKind(ifindex) !== 'clsact') return false;
  clearPrinted();
  const result = libbpf.bpf_tc_hook_destroy(hookStruct(ifindex, BOTH_POINTS));
  // EINVAL, ENOENT: somebody else was faster; ENODEV: the interface went with it
  if (result === -EINVAL || result === -ENOENT || result === -ENODEV) return false;
  if (result < 0) throw failure(`destroy the clsact qdisc on interface ${ifindex}`, result);
  return true;
}

/**
 * Attaches a sched_cls program. The clsact qdisc must be there.
 *
 * @throws UnsupportedError without CONFIG_NET_CLS_BPF; SyscallError: EEXIST where the place is taken and `replace`
 *   is not set, EINVAL without a clsact qdisc or for a program of another type, ENODEV
 */
export function attachTc(options: AttachTcOptions): TcFilter {
  const { ifindex, direction, program, priority = 0, handle = 0, replace = false } = options;
  checkPriority(priority);
  const opts = optsStruct(priority, handle);
  opts.writeInt32LE(program.fd, 8);
  opts.writeUInt32LE(replace ? BPF_TC_F_REPLACE : 0, 12);
  clearPrinted();
  const result = libbpf.bpf_tc_attach(hookStruct(ifindex, ATTACH_POINTS[direction]), opts);
  if (result < 0) throw attachFailure(options, result);
  return {
    ifindex,
    direction,
    programId: opts.readUInt32LE(16),
    handle: opts.readUInt32LE(20),
    priority: opts.readUInt32LE(24),
  };
}

function attachFailure(options: AttachTcOptions, result: number): BpfError {
  const { ifindex, direction, program } = options;
  const operation = `attach program "${program.name}" to ${direction} of interface ${ifindex}`;
  if (result === -EEXIST) {
    return failure(operation, result, 'Set "replace", or choose another priority or handle');
  }
  if (result === -EINVAL && ingressQdiscKind(ifindex) !== 'clsact') {
    return failure(operation, result, 'Create the clsact qdisc first');
  }
  if (result === -ENOENT) {
    return new UnsupportedError('BPF filters on a qdisc', 'a kernel with CONFIG_NET_CLS_BPF', {
      cause: failure(operation, result),
      hint: 'Load the module cls_bpf, or use another kernel',
    });
  }
  return failure(operation, result);
}

/**
 * Removes one filter; false if there was none in that place.
 *
 * @throws SyscallError
 */
export function detachTc(position: TcPosition): boolean {
  checkPosition(position);
  // the kernel has only one errno for "no such filter" and for much else
  if (!queryTc(position)) return false;
  const { ifindex, direction, priority, handle } = position;
  clearPrinted();
  const result = libbpf.bpf_tc_detach(
    hookStruct(ifindex, ATTACH_POINTS[direction]),
    optsStruct(priority, handle),
  );
  if (result === -ENOENT) return false;
  if (result < 0) throw failure(`detach from ${describe(position)}`, result);
  return true;
}

/**
 * The program of one filter, or undefined if there is none in that place.
 *
 * @throws SyscallError
 */
export function queryTc(position: TcPosition): { programId: number } | undefined {
  checkPosition(position);
  const { ifindex, direction, priority, handle } = position;
  const opts = optsStruct(priority, handle);
  clearPrinted();
  const result = libbpf.bpf_tc_query(hookStruct(ifindex, ATTACH_POINTS[direction]), opts);
  // EINVAL: no clsact qdisc; the position itself has been checked
  if (result === -ENOENT || result === -EINVAL) return undefined;
  if (result < 0) throw failure(`query ${describe(position)}`, result);
  return { programId: opts.readUInt32LE(16) };
}

function describe({ ifindex, direction, priority, handle }: TcPosition): string {
  return `${direction} of interface ${ifindex}, priority ${priority}, handle ${handle}`;
}

function checkPriority(priority: number): void {
  if (Number.isInteger(priority) && priority >= 0 && priority <= MAX_PRIORITY) return;
  throw new RangeError(`Cannot use the priority ${priority}: it is not in 1 to ${MAX_PRIORITY}`);
}

function checkPosition({ priority, handle }: TcPosition): void {
  checkPriority(priority);
  if (priority !== 0 && Number.isInteger(handle) && handle > 0 && handle <= 0xffffffff) return;
  throw new RangeError(`Cannot tell which filter is meant: priority ${priority}, handle ${handle}`);
}

/** struct bpf_tc_hook */
function hookStruct(ifindex: number, attachPoint: number): Buffer {
  const hook = Buffer.alloc(24);
  hook.writeBigUInt64LE(BigInt(hook.length), 0);
  hook.writeInt32LE(ifindex, 8);
  hook.writeUInt32LE(attachPoint, 12);
  return hook;
}

/** struct bpf_tc_opts: size, prog_fd, flags, prog_id, handle, priority */
function optsStruct(priority: number, handle: number): Buffer {
  const opts = Buffer.alloc(32);
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeUInt32LE(handle, 20);
  opts.writeUInt32LE(priority, 24);
  return opts;
}

/** libbpf prints the kernel's own words (extended acknowledgements, since 4.12). */
function failure(operation: string, result: number, hint?: string): SyscallError {
  const detail = lastPrinted()
    .map((line) => line.replace(/^Kernel error message: /, ''))
    .join('; ');
  return new SyscallError(operation, -result, {
    ...(detail !== '' && { detail }),
    ...(hint !== undefined && { hint }),
  });
}
