// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The questions behind the features. None leaves a trace: what is made is closed, or goes with a namespace of its own. */

import { accessSync, constants as fs } from 'node:fs';
import { constants } from 'node:os';
import { BpfCommand, bpf } from './bpf-syscall.js';
import { readProgramInfo } from './info.js';
import * as asm from './instructions.js';
import { MapFlag, type MapType, mapTypeNumber, type ProgramType } from './kernel-types.js';
import { addressOf, libbpf, libc } from './native.js';
import { withPrivateNetns } from './netns.js';
import {
  type Answer,
  answer,
  answerError,
  createMap,
  loadProgram,
  type ProbeMap,
  probeHelper,
} from './probe.js';
import { attachTc, createClsact } from './tc.js';
import { tcxSupport } from './tcx.js';
import { BPF_XDP } from './xdp.js';

const YES: Answer = { state: 'yes' };
/** TC_ACT_OK and XDP_ABORTED; nothing ever meets these programs. */
const RETURN_0 = [asm.move('r0', 0), asm.exit()];
const XDP_DROP = 1;

/** Hands an open descriptor to `work` and closes it; a negative errno is the answer itself. */
function withFd(fd: number, work: (fd: number) => Answer): Answer {
  if (fd < 0) return answer(fd, true);
  try {
    return work(fd);
  } finally {
    libc.close(fd);
  }
}

/** Do programs of this type know the helper? */
export function helperQuestion(type: ProgramType, helper: number): () => Answer {
  return () => probeHelper(type, helper);
}

const BTF_KIND_FUNC = 12;

/** May programs of this type call a function of the kernel's, whose only argument is their context? */
export function kernelFunctionQuestion(type: ProgramType, name: string): () => Answer {
  return () => {
    const btf = libbpf.btf__load_vmlinux_btf();
    if (btf === null) return { state: 'no', why: 'the kernel has no types of its own' };
    const id = libbpf.btf__find_by_name_kind(btf, name, BTF_KIND_FUNC);
    libbpf.btf__free(btf);
    if (id < 0) return { state: 'no', why: `the kernel has no function ${name}` };
    const program = [asm.callKernel(id), asm.move('r0', 0), asm.exit()];
    return answer(loadProgram(type, program), true);
  };
}

/** Does the verifier take these instructions? */
export function instructionQuestion(instructions: Buffer[]): () => Answer {
  return () => answer(loadProgram('sched_cls', instructions), true);
}

/**
 * Every kernel's verifier takes the helper, and without CONFIG_BPF_EVENTS each call fails (the weak bpf_event_output() in
 * kernel/bpf/core.c). With it come programs of tracing.
 */
export function probePerfOutput(): Answer {
  return answer(loadProgram('tracepoint', RETURN_0), true);
}

/** Can such a map be made? */
export function mapQuestion(map: Omit<ProbeMap, 'type'> & { type: MapType }): () => Answer {
  return () => answer(createMap({ ...map, type: mapTypeNumber(map.type) }), true);
}

function createArray(flags: number): number {
  return createMap({ type: mapTypeNumber('array'), keySize: 4, valueSize: 4, maxEntries: 1, flags });
}

/** A frozen array that programs only read, and a program that reads it by its address. */
export function probeGlobalData(): Answer {
  return withFd(createArray(MapFlag.RDONLY_PROG), (fd) => {
    const result = libbpf.bpf_map_freeze(fd);
    if (result < 0) return answer(result, false);
    const read = [asm.loadMapValue('r1', fd), asm.load('r0', 'r1', 0), asm.exit()];
    return answer(loadProgram('sched_cls', read), true);
  });
}

const PROT_READ = 1;
const MAP_SHARED = 1;
const MAP_FAILED = 0xffff_ffff_ffff_ffffn;

export function probeMmap(): Answer {
  return withFd(createArray(MapFlag.MMAPABLE), (fd) => {
    const length = libc.getpagesize();
    const address = libc.mmap(null, length, PROT_READ, MAP_SHARED, fd, 0);
    if (address === null || address === MAP_FAILED) return { state: 'no', why: 'the array cannot be mapped' };
    libc.munmap(address, length);
    return YES;
  });
}

/** A look-up in an empty hash. */
export function probeBatch(): Answer {
  const hash = createMap({ type: mapTypeNumber('hash'), keySize: 4, valueSize: 4, maxEntries: 1 });
  return withFd(hash, (fd) => {
    const [next, keys, values, count] = Array.from({ length: 4 }, () => Buffer.alloc(8));
    count!.writeUInt32LE(1, 0);
    const result = libbpf.bpf_map_lookup_batch(fd, null, next!, keys!, values!, count!, null);
    return result === -constants.errno.ENOENT ? YES : answer(result, false);
  });
}

export function probeBtf(): Answer {
  try {
    accessSync('/sys/kernel/btf/vmlinux', fs.R_OK);
    return YES;
  } catch (error) {
    return { state: 'no', why: (error as Error).message };
  }
}

/** By a loaded program: the sysctl is out of sight in network namespaces other than the first. */
export function probeJit(): Answer {
  return withFd(loadProgram('sched_cls', RETURN_0), (fd) =>
    readProgramInfo(fd).jitedBytes > 0 ? YES : { state: 'no', why: 'the kernel interprets a loaded program' },
  );
}

const RLIMIT_MEMLOCK = 8;

/** Makes a map while nothing may be locked; the limit is the process's, and is back within microseconds. */
export function probeMemlock(): Answer {
  // through libbpf, which raises the limit where it must
  const map = { type: mapTypeNumber('array'), keySize: 4, valueSize: 4, maxEntries: 1 };
  const permitted = answer(createMap(map), true);
  if (permitted.state !== 'yes') return { ...permitted, state: 'unknown' };
  const old = Buffer.alloc(16);
  libc.prlimit(0, RLIMIT_MEMLOCK, null, old);
  const zero = Buffer.from(old);
  zero.writeBigUInt64LE(0n, 0);
  libc.prlimit(0, RLIMIT_MEMLOCK, zero, null);
  let result: number;
  try {
    const attributes = Buffer.alloc(20);
    [map.type, map.keySize, map.valueSize, map.maxEntries].forEach((value, index) => {
      attributes.writeUInt32LE(value, index * 4);
    });
    result = bpf(BpfCommand.MAP_CREATE, attributes);
  } finally {
    libc.prlimit(0, RLIMIT_MEMLOCK, old, null);
  }
  if (result === -constants.errno.EPERM) return YES;
  if (result >= 0) libc.close(result);
  return { state: 'no', why: 'a map needs no locked memory here' };
}

/** struct bpf_test_run_opts: size, data_in, ..., data_size_in, ..., repeat, ..., flags, cpu, batch_size */
function testRun(type: ProgramType, instructions: Buffer[], flags: number, batchSize: number): Answer {
  return withFd(loadProgram(type, instructions), (fd) => {
    const packet = Buffer.alloc(64);
    const opts = Buffer.alloc(80);
    opts.writeBigUInt64LE(BigInt(opts.length), 0);
    opts.writeBigUInt64LE(addressOf(packet), 8);
    opts.writeUInt32LE(packet.length, 24);
    opts.writeInt32LE(1, 60);
    opts.writeUInt32LE(flags, 68);
    opts.writeUInt32LE(batchSize, 76);
    return answer(libbpf.bpf_prog_test_run_opts(fd, opts), false);
  });
}

export function probeTestRun(): Answer {
  return testRun('sched_cls', RETURN_0, 0, 0);
}

const BPF_F_TEST_XDP_LIVE_FRAMES = 1 << 1;

export function probeLiveFrames(): Answer {
  return testRun('xdp', [asm.move('r0', XDP_DROP), asm.exit()], BPF_F_TEST_XDP_LIVE_FRAMES, 1);
}

export function probeTcx(): Answer {
  const result = tcxSupport();
  return result === -constants.errno.ENOENT ? YES : answer(result, false);
}

const LOOPBACK = 1;

export function probeClsact(): Answer {
  return privately(() =>
    withFd(loadProgram('sched_cls', RETURN_0), (fd) => {
      createClsact(LOOPBACK);
      attachTc({ ifindex: LOOPBACK, direction: 'egress', program: { fd, id: 0, name: 'probe' } });
      return YES;
    }),
  );
}

/**
 * A link of no program to XDP. EBADF: the kernel went to look for the program, which one without links (EINVAL: no such
 * command) or without those of XDP (EINVAL: no such attach type) never does. A real link would cost 20 ms to close.
 */
export function probeLink(): Answer {
  const attributes = Buffer.alloc(16);
  attributes.writeInt32LE(-1, 0);
  attributes.writeInt32LE(LOOPBACK, 4);
  attributes.writeUInt32LE(BPF_XDP, 8);
  const result = bpf(BpfCommand.LINK_CREATE, attributes);
  return result === -constants.errno.EBADF ? YES : answer(result, true);
}

/** Asks inside a network namespace of its own; where there can be none, nothing is known. */
function privately(question: () => Answer): Answer {
  let result: Answer | undefined;
  try {
    withPrivateNetns(() => {
      try {
        result = question();
      } catch (error) {
        result = answerError(error);
      }
    });
  } catch (error) {
    return result ?? { ...answerError(error), state: 'unknown' };
  }
  return result!;
}
