// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the kernel says of a map or program by its file descriptor: struct bpf_map_info and bpf_prog_info. */

import { LayoutError } from './errors.js';
import { fdKind } from './fd.js';
import { type MapType, mapTypeName, type ProgramType, programTypeName } from './kernel-types.js';
import { addressOf, checkResult, LITTLE_ENDIAN, libbpf } from './native.js';

/** A map as the kernel describes it. */
export interface MapInfo {
  readonly id: number;
  /** At most 15 bytes: the kernel cuts longer names off. */
  readonly name: string;
  readonly type: MapType;
  readonly typeNumber: number;
  readonly keySize: number;
  /** As declared; a per-CPU map has one such value per possible CPU. */
  readonly valueSize: number;
  readonly maxEntries: number;
  readonly flags: number;
}

/** A program as the kernel describes it. What an older kernel does not tell is 0. */
export interface ProgramInfo {
  readonly id: number;
  /** At most 15 bytes: the kernel cuts longer names off. */
  readonly name: string;
  readonly type: ProgramType;
  readonly typeNumber: number;
  /** Hash of the instructions, 16 hexadecimal digits. */
  readonly tag: string;
  /** Size of the machine code. 0 without JIT, or for whom the kernel hides it. */
  readonly jitedBytes: number;
  /** Size of the instructions after the verifier's rewriting, 8 bytes each. */
  readonly xlatedBytes: number;
  /** When it was loaded, in nanoseconds of CLOCK_BOOTTIME. */
  readonly loadTimeNs: bigint;
  readonly mapIds: readonly number[];
  /** Instructions that the verifier looked at. Since Linux 5.16. */
  readonly verifiedInstructions: number;
  /** Time spent in it and runs, counted while the sysctl kernel.bpf_stats_enabled is 1. Since Linux 5.1. */
  readonly runTimeNs: bigint;
  readonly runCount: bigint;
}

const MAP_INFO_BYTES = 88;
const PROGRAM_INFO_BYTES = 232;
const PROGRAM_INFO_MAP_COUNT = 52;
const PROGRAM_INFO_MAP_IDS = 56;
const NAME_BYTES = 16;
const INFO_ATTEMPTS = 4;

/**
 * @throws SyscallError EBADF if `fd` is not open, EINVAL if it is not of BPF
 * @throws LayoutError if it is of another kind
 */
export function readMapInfo(fd: number): MapInfo {
  const { bytes, view } = readInfo(fd, Buffer.alloc(MAP_INFO_BYTES), 'map');
  const typeNumber = view.getUint32(0, LITTLE_ENDIAN);
  return {
    id: view.getUint32(4, LITTLE_ENDIAN),
    name: readName(bytes, 24),
    type: mapTypeName(typeNumber),
    typeNumber,
    keySize: view.getUint32(8, LITTLE_ENDIAN),
    valueSize: view.getUint32(12, LITTLE_ENDIAN),
    maxEntries: view.getUint32(16, LITTLE_ENDIAN),
    flags: view.getUint32(20, LITTLE_ENDIAN),
  };
}

/**
 * @throws SyscallError EBADF if `fd` is not open, EINVAL if it is not of BPF
 * @throws LayoutError if it is of another kind
 */
export function readProgramInfo(fd: number): ProgramInfo {
  const { bytes, view } = readInfo(fd, Buffer.alloc(PROGRAM_INFO_BYTES), 'program');
  const typeNumber = view.getUint32(0, LITTLE_ENDIAN);
  return {
    id: view.getUint32(4, LITTLE_ENDIAN),
    name: readName(bytes, 64),
    type: programTypeName(typeNumber),
    typeNumber,
    tag: bytes.toString('hex', 8, 16),
    jitedBytes: view.getUint32(16, LITTLE_ENDIAN),
    xlatedBytes: view.getUint32(20, LITTLE_ENDIAN),
    loadTimeNs: view.getBigUint64(40, LITTLE_ENDIAN),
    mapIds: readMapIds(fd, view.getUint32(PROGRAM_INFO_MAP_COUNT, LITTLE_ENDIAN)),
    verifiedInstructions: view.getUint32(216, LITTLE_ENDIAN),
    runTimeNs: view.getBigUint64(192, LITTLE_ENDIAN),
    runCount: view.getBigUint64(200, LITTLE_ENDIAN),
  };
}

/** The ids come with a second call that says where to put them; meanwhile BPF_PROG_BIND_MAP may have added some. */
function readMapIds(fd: number, expected: number): number[] {
  let room = expected;
  for (let attempt = 0; attempt < INFO_ATTEMPTS && room > 0; attempt++) {
    const ids = new Uint32Array(room);
    const request = Buffer.alloc(PROGRAM_INFO_BYTES);
    const view = viewOf(request);
    view.setUint32(PROGRAM_INFO_MAP_COUNT, room, LITTLE_ENDIAN);
    view.setBigUint64(PROGRAM_INFO_MAP_IDS, addressOf(ids.buffer), LITTLE_ENDIAN);
    readInfo(fd, request, 'program');
    const count = view.getUint32(PROGRAM_INFO_MAP_COUNT, LITTLE_ENDIAN);
    if (count <= room) return [...ids.subarray(0, count)];
    room = count;
  }
  return [];
}

function readInfo(fd: number, bytes: Buffer, kind: 'map' | 'program'): { bytes: Buffer; view: DataView } {
  const operation = `read what the kernel says of the ${kind} behind file descriptor ${fd}`;
  const actual = fdKind(fd);
  // the kernel would answer with the other kind's struct
  if (actual !== 'unknown' && actual !== kind) throw new LayoutError(operation, `it is a ${actual}`);
  const length = new Uint32Array([bytes.length]);
  checkResult(libbpf.bpf_obj_get_info_by_fd(fd, bytes, length.buffer), operation);
  return { bytes, view: viewOf(bytes) };
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

function readName(bytes: Buffer, offset: number): string {
  const name = bytes.subarray(offset, offset + NAME_BYTES);
  const end = name.indexOf(0);
  return name.toString('utf8', 0, end < 0 ? NAME_BYTES : end);
}
