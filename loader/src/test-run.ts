// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** BPF_PROG_TEST_RUN: runs a program on given data, without any traffic. */

import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { addressOf, LITTLE_ENDIAN, libbpf } from './native.js';

export interface TestRunOptions {
  /** The packet, from the Ethernet header on; at least 14 bytes. Absent for types that take none. */
  readonly data?: Uint8Array;
  /** Room for the packet that comes out, in bytes. By default 4096 more than went in. */
  readonly dataOutSize?: number;
  /** The program's context: struct __sk_buff, struct xdp_md. Since Linux 5.2 (skb), 5.18 (XDP). */
  readonly context?: Uint8Array;
  /** How many times it runs; 1 by default. With liveFrames, how many frames are sent. */
  readonly repeat?: number;
  /** BPF_F_TEST_…. */
  readonly flags?: number;
  /** The CPU to run on, with the flag BPF_F_TEST_RUN_ON_CPU (raw tracepoints only). */
  readonly cpu?: number;
  /** Frames handled at once with liveFrames; 64 by default. */
  readonly batchSize?: number;
  /**
   * Whether a run with `repeat` that a signal interrupts starts over, which it does by default. False: the error
   * EINTR is thrown, for programs that must know what was done twice. Before Linux 5.2 the kernel says nothing of
   * a signal: it runs fewer times.
   */
  readonly restart?: boolean;
  /** XDP: the frames are really passed up, transmitted or redirected, as the program says. Since Linux 5.18. */
  readonly liveFrames?: boolean;
}

export interface TestRunResult {
  /** What the program returned; with liveFrames 0. */
  readonly retval: number;
  /** The packet as the program left it, after the last run; empty with liveFrames. */
  readonly data: Buffer;
  /** The context as the program left it, if one was given. */
  readonly context?: Buffer;
  /** Average time of a run in nanoseconds. */
  readonly durationNs: number;
}

const { EINTR, EAGAIN, ENOSPC, EINVAL, E2BIG } = constants.errno;

/** struct bpf_test_run_opts of libbpf 1.1; newer ones have more at the end, which `sz` leaves out. */
const OPTS_BYTES = 80;
const BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1;
const DEFAULT_ROOM = 4096;
const INTERRUPTIONS = 100;

let scratch = Buffer.alloc(0);

/** See BpfProgram.testRun(). A run that a signal interrupts, which takes a `repeat`, starts over unless told not to. */
export function testRun(fd: number, name: string, options: TestRunOptions): TestRunResult {
  const { data, context, liveFrames = false } = options;
  // live frames are gone by the time that the kernel could copy them
  const room = liveFrames
    ? 0
    : (options.dataOutSize ?? (data === undefined ? 0 : data.length + DEFAULT_ROOM));
  // before Linux 5.0 the kernel copies all that comes out, whatever room it is told of
  const out = scratchBuffer(room === 0 ? 0 : Math.max(room, (data?.length ?? 0) + DEFAULT_ROOM));
  const contextOut = context === undefined || liveFrames ? undefined : Buffer.alloc(context.length);
  const opts = Buffer.alloc(OPTS_BYTES);
  const view = new DataView(opts.buffer, opts.byteOffset, OPTS_BYTES);

  const prepare = () => {
    view.setBigUint64(0, BigInt(OPTS_BYTES), LITTLE_ENDIAN);
    setBuffer(view, 8, 24, data);
    setBuffer(view, 16, 28, room === 0 ? undefined : out.subarray(0, room));
    setBuffer(view, 32, 48, context);
    setBuffer(view, 40, 52, contextOut);
    view.setInt32(60, options.repeat ?? (liveFrames ? 1 : 0), LITTLE_ENDIAN);
    const flags = (options.flags ?? 0) | (liveFrames ? BPF_F_TEST_XDP_LIVE_FRAMES : 0);
    view.setUint32(68, flags, LITTLE_ENDIAN);
    view.setUint32(72, options.cpu ?? 0, LITTLE_ENDIAN);
    view.setUint32(76, options.batchSize ?? 0, LITTLE_ENDIAN);
  };

  let result = -EINTR;
  for (let i = 0; i < INTERRUPTIONS; i++) {
    prepare();
    result = libbpf.bpf_prog_test_run_opts(fd, opts);
    if (result !== -EAGAIN && (result !== -EINTR || options.restart === false)) break;
  }
  if (result < 0) throw runError(name, -result, options);
  const read = (offset: number) => view.getUint32(offset, LITTLE_ENDIAN);
  if (room > 0 && read(28) > room) throw runError(name, ENOSPC, options);
  return {
    retval: read(56),
    data: Buffer.from(out.subarray(0, Math.min(read(28), room))),
    durationNs: read(64),
    ...(contextOut === undefined ? {} : { context: contextOut.subarray(0, read(52)) }),
  };
}

/** One buffer serves all runs: what comes out is copied. */
function scratchBuffer(size: number): Buffer {
  if (scratch.length < size) scratch = Buffer.alloc(size);
  return scratch;
}

function setBuffer(view: DataView, pointerAt: number, sizeAt: number, buffer: Uint8Array | undefined): void {
  view.setBigUint64(pointerAt, buffer === undefined ? 0n : addressOf(buffer), LITTLE_ENDIAN);
  view.setUint32(sizeAt, buffer?.length ?? 0, LITTLE_ENDIAN);
}

function runError(name: string, errno: number, options: TestRunOptions): SyscallError {
  const operation = `run program "${name}" on ${options.data?.length ?? 0} bytes of test data`;
  if (errno === ENOSPC) {
    return new SyscallError(operation, errno, { hint: 'What comes out is larger: raise dataOutSize' });
  }
  // E2BIG: the kernel is older than the field that asks for it
  if (errno !== EINVAL && errno !== E2BIG) return new SyscallError(operation, errno);
  const needs = [
    ...(options.liveFrames ? ['liveFrames needs Linux 5.18 and a driver with native XDP'] : []),
    ...(options.context
      ? ['context needs Linux 5.2 (XDP: 5.18), and only some of its fields may be set']
      : []),
    ...(options.batchSize && !options.liveFrames ? ['batchSize goes with liveFrames'] : []),
    ...((options.data?.length ?? 0) < 14 ? ['a packet has at least 14 bytes'] : []),
  ];
  const hint = needs.join('; ');
  return new SyscallError(
    operation,
    errno,
    hint === '' ? {} : { hint: hint[0]?.toUpperCase() + hint.slice(1) },
  );
}
