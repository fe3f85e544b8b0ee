// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Asks the kernel by doing: loads tiny programs, makes tiny maps, and closes them at once. */

import { constants } from 'node:os';
import { errnoName, errnoText, SyscallError, UnsupportedError } from './errors.js';
import { call, exit, move } from './instructions.js';
import { type ProgramType, programTypeNumber } from './kernel-types.js';
import { addressOf, libbpf, libc } from './native.js';

/** `unknown`: the question could not be asked, as a rule for lack of privilege. */
export interface Answer {
  state: 'yes' | 'no' | 'unknown';
  why?: string;
  /** What exactly the kernel would need, where that was found out. */
  needs?: string;
}

/** Turns what a libbpf function returned into an answer, and closes the descriptor if it is one. */
export function answer(result: number, isDescriptor: boolean): Answer {
  if (result < 0) return refusal(-result);
  if (isDescriptor) libc.close(result);
  return { state: 'yes' };
}

function refusal(errno: number): Answer {
  const why = `${errnoText(errno)} (${errnoName(errno)})`;
  return { state: isPermission(errno) ? 'unknown' : 'no', why };
}

function isPermission(errno: number): boolean {
  return errno === constants.errno.EPERM || errno === constants.errno.EACCES;
}

/** Turns what was thrown into an answer; what is neither the kernel's nor libbpf's refusal is thrown on. */
export function answerError(error: unknown): Answer {
  if (error instanceof UnsupportedError) return { state: 'no', why: error.message, needs: error.since };
  if (!(error instanceof SyscallError)) throw error;
  return { state: isPermission(error.errno) ? 'unknown' : 'no', why: error.message };
}

/** Loads a program; returns its descriptor or a negative errno. The verifier's log goes to `log`, if given. */
export function loadProgram(type: ProgramType, instructions: Buffer[], log?: Buffer): number {
  const code = Buffer.concat(instructions);
  const opts = log ? logOptions(log) : null;
  return libbpf.bpf_prog_load(programTypeNumber(type), 'probe', 'GPL', code, code.length / 8, opts);
}

/** struct bpf_prog_load_opts: size, ..., log_level, log_size, log_buf */
function logOptions(log: Buffer): Buffer {
  const opts = Buffer.alloc(104);
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeUInt32LE(1, 88);
  opts.writeUInt32LE(log.length, 92);
  opts.writeBigUInt64LE(addressOf(log), 96);
  return opts;
}

export interface ProbeMap {
  /** enum bpf_map_type */
  type: number;
  keySize: number;
  valueSize: number;
  maxEntries: number;
  flags?: number;
}

/** Makes a map; returns its descriptor or a negative errno. */
export function createMap({ type, keySize, valueSize, maxEntries, flags = 0 }: ProbeMap): number {
  // struct bpf_map_create_opts: size, ..., map_flags
  const opts = Buffer.alloc(48);
  opts.writeBigUInt64LE(BigInt(opts.length), 0);
  opts.writeUInt32LE(flags, 28);
  return libbpf.bpf_map_create(type, 'probe', keySize, valueSize, maxEntries, opts);
}

/** What the verifier says of a helper that it does not know, or does not allow to the program type. */
const UNKNOWN_HELPER = /invalid func |unknown func |program of this type cannot use helper /;

/**
 * Whether programs of a type may call a helper (its number in include/uapi/linux/bpf.h).
 * The call lacks its arguments: a verifier that goes on to complain about those knows the helper.
 */
export function probeHelper(type: ProgramType, helper: number): Answer {
  const log = Buffer.alloc(4096);
  const fd = loadProgram(type, [call(helper), move('r0', 0), exit()], log);
  if (fd >= 0) return answer(fd, true);
  const text = log.toString('utf8', 0, Math.max(log.indexOf(0), 0)).trim();
  if (text === '') return answer(fd, true);
  if (UNKNOWN_HELPER.test(text)) return { state: 'no', why: text.split('\n').at(-1)! };
  return { state: 'yes' };
}
