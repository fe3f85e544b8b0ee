// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Programs on an interface's XDP hook, which has one place for everybody. Native: in the driver, before the packet has
 * an sk_buff (since 4.8). Generic: in the stack, on any interface (since 4.12). An interface has one of the two at a time.
 * attachXdp() stays when the process ends; attachXdpLink() lasts as long as its link.
 * All functions work in the calling thread's network namespace.
 */

import { constants } from 'node:os';
import { BpfCommand, bpf } from './bpf-syscall.js';
import { SyscallError } from './errors.js';
import type { ProgramHandle } from './hook.js';
import { BpfLink } from './link.js';
import { checkResult, clearPrinted, lastPrinted, libbpf, libc } from './native.js';
import { readAttributes, readU32 } from './netlink-message.js';
import { getLinkMessage } from './rtnetlink.js';

const { EBADF, EBUSY, EEXIST, EINVAL, ENODEV, ENOENT, EPERM } = constants.errno;

const XDP_FLAGS_UPDATE_IF_NOEXIST = 1 << 0;
const MODE_FLAGS = { generic: 1 << 1, native: 1 << 2, hardware: 1 << 3 } as const;
/** enum bpf_attach_type */
export const BPF_XDP = 37;

/** By the kernel's number (XDP_ATTACHED_*). "multiple": native or generic beside hardware. */
const ATTACHED_MODES = [undefined, 'native', 'generic', 'hardware', 'multiple'] as const;

/** Reasons that a driver cannot give: in mode "auto" they end the attempt instead of leading to generic. */
const NOT_THE_DRIVER: readonly number[] = [EBADF, EBUSY, EEXIST, ENODEV, ENOENT, EPERM];

export type XdpMode = 'native' | 'generic';

/** What is on the hook. */
export interface XdpState {
  mode: XdpMode | 'hardware' | 'multiple';
  programId: number;
}

export interface AttachXdpOptions {
  ifindex: number;
  program: ProgramHandle;
  /** "auto": native if the driver takes the program, else generic. */
  mode: XdpMode | 'auto';
  /**
   * Replaces this program, and no other. In its mode that is atomic (before 5.7 but for a race with another
   * loader); a change of mode leaves a moment without either. Left out: the hook must be free.
   */
  replaceProgramId?: number;
}

export interface XdpAttachment {
  ifindex: number;
  /** What it became. */
  mode: XdpMode;
  programId: number;
  /** In mode "auto" that became generic: why the driver refused. */
  nativeRefusal?: SyscallError;
}

/**
 * @throws SyscallError: EBUSY another program is there, or not the one to be replaced; EOPNOTSUPP the driver has no
 *   XDP; EINVAL the driver cannot (MTU, queues) or the program is of another type; ENODEV
 */
export function attachXdp(options: AttachXdpOptions): XdpAttachment {
  const { ifindex, program, replaceProgramId } = options;
  const operation = `attach program "${program.name}" to XDP of interface ${ifindex}`;
  const attached = (mode: XdpMode): XdpAttachment => ({ ifindex, mode, programId: program.id });
  if (replaceProgramId === undefined) {
    return inMode(options.mode, attached, (mode) => {
      setProgram(operation, ifindex, program.fd, MODE_FLAGS[mode] | XDP_FLAGS_UPDATE_IF_NOEXIST);
    });
  }
  const old = queryXdp(ifindex);
  if (old?.programId !== replaceProgramId || old.mode === 'multiple') {
    const found = old ? `program ${old.programId}` : 'no program';
    throw new SyscallError(operation, EBUSY, {
      detail: `${found} is there, not program ${replaceProgramId}`,
    });
  }
  const flags = MODE_FLAGS[old.mode];
  if (old.mode !== 'hardware' && (options.mode === 'auto' || options.mode === old.mode)) {
    setProgram(operation, ifindex, program.fd, flags, replaceProgramId);
    return attached(old.mode);
  }
  setProgram(operation, ifindex, -1, flags, replaceProgramId);
  return inMode(options.mode, attached, (mode) => {
    setProgram(operation, ifindex, program.fd, MODE_FLAGS[mode] | XDP_FLAGS_UPDATE_IF_NOEXIST);
  });
}

export interface AttachXdpLinkOptions {
  ifindex: number;
  program: ProgramHandle;
  mode: XdpMode | 'auto';
}

/**
 * Attaches by a link, which nobody else can replace: it goes with its last descriptor or pin. Since 5.9.
 *
 * @throws SyscallError as attachXdp(); EINVAL before 5.9
 */
export function attachXdpLink(options: AttachXdpLinkOptions): XdpAttachment & { link: BpfLink } {
  const { ifindex, program } = options;
  const operation = `link program "${program.name}" to XDP of interface ${ifindex}`;
  const open = (mode: XdpMode): number => {
    const attributes = Buffer.alloc(48);
    attributes.writeInt32LE(program.fd, 0);
    attributes.writeInt32LE(ifindex, 4);
    attributes.writeUInt32LE(BPF_XDP, 8);
    attributes.writeUInt32LE(MODE_FLAGS[mode], 12);
    return checkResult(bpf(BpfCommand.LINK_CREATE, attributes), operation);
  };
  let fd = -1;
  const attachment = inMode(
    options.mode,
    (mode) => ({ ifindex, mode, programId: program.id }),
    (mode) => {
      fd = open(mode);
    },
  );
  return { ...attachment, link: new BpfLink(fd) };
}

function inMode(
  wanted: XdpMode | 'auto',
  attached: (mode: XdpMode) => XdpAttachment,
  attach: (mode: XdpMode) => void,
): XdpAttachment {
  if (wanted !== 'auto') {
    attach(wanted);
    return attached(wanted);
  }
  try {
    attach('native');
    return attached('native');
  } catch (error) {
    if (!(error instanceof SyscallError) || NOT_THE_DRIVER.includes(error.errno)) throw error;
    attach('generic');
    return { ...attached('generic'), nativeRefusal: error };
  }
}

/**
 * Takes the program off the hook; false if there was none. With `programId` only that one: false if another is there.
 *
 * @throws SyscallError: EBUSY a link holds the hook, and only closing or detaching it frees the hook
 */
export function detachXdp({ ifindex, programId }: { ifindex: number; programId?: number }): boolean {
  const old = queryXdp(ifindex);
  if (!old || (programId !== undefined && old.programId !== programId)) return false;
  const operation = `detach program ${old.programId} from XDP of interface ${ifindex}`;
  const flags = old.mode === 'multiple' ? 0 : MODE_FLAGS[old.mode];
  setProgram(operation, ifindex, -1, flags, programId);
  return true;
}

const IFLA_XDP = 43;
const IFLA_XDP_ATTACHED = 2;
const IFLA_XDP_PROG_ID = 4;
const IFLA_XDP_DRV_PROG_ID = 5;
const IFLA_XDP_SKB_PROG_ID = 6;

/**
 * What is on the hook, or undefined. Asks for the one interface: bpf_xdp_query() of libbpf before 1.3 reads them all.
 *
 * @throws SyscallError: ENODEV no such interface
 */
export function queryXdp(ifindex: number): XdpState | undefined {
  const link = readAttributes(getLinkMessage(ifindex, `query XDP of interface ${ifindex}`), 16).get(IFLA_XDP);
  if (!link) return undefined;
  const xdp = readAttributes(link);
  const mode = ATTACHED_MODES[xdp.get(IFLA_XDP_ATTACHED)?.[0] ?? 0];
  if (mode === undefined) return undefined;
  const ids = [IFLA_XDP_PROG_ID, IFLA_XDP_DRV_PROG_ID, IFLA_XDP_SKB_PROG_ID].map((type) =>
    readU32(xdp.get(type)),
  );
  return { mode, programId: ids.find((id) => id !== undefined && id !== 0) ?? 0 };
}

/** Sets the program (-1: none), if `expected` is what the hook has now. */
function setProgram(operation: string, ifindex: number, fd: number, flags: number, expected?: number): void {
  clearPrinted();
  if (expected === undefined) {
    check(libbpf.bpf_xdp_attach(ifindex, fd, flags, null), operation);
    return;
  }
  const expectedFd = checkResult(libbpf.bpf_prog_get_fd_by_id(expected), `open program ${expected}`);
  try {
    // struct bpf_xdp_attach_opts: size, old_prog_fd
    const opts = Buffer.alloc(16);
    opts.writeBigUInt64LE(BigInt(opts.length), 0);
    opts.writeInt32LE(expectedFd, 8);
    const result = libbpf.bpf_xdp_attach(ifindex, fd, flags, opts);
    // before 5.7 the kernel cannot compare: it refuses the flag, and we have compared just now
    if (result === -EINVAL) check(libbpf.bpf_xdp_attach(ifindex, fd, flags, null), operation);
    else check(result, operation);
  } finally {
    libc.close(expectedFd);
  }
}

function check(result: number, operation: string): void {
  if (result < 0) throw failure(operation, -result);
}

/** libbpf prints the kernel's own words (extended acknowledgements). */
function failure(operation: string, errno: number): SyscallError {
  const detail = lastPrinted()
    .map((line) => line.replace(/^Kernel error message: /, ''))
    .join('; ');
  return new SyscallError(operation, errno, {
    ...(detail !== '' && { detail }),
    ...(errno === EBUSY && { hint: 'Detach what is there first, or name it as the program to be replaced' }),
  });
}
