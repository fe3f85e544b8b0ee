// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The verifier's logs of a load, and the error that a failed load stands for. */

import { constants } from 'node:os';
import { type BpfError, SyscallError, VerifierError } from './errors.js';
import { checkResult, libbpf, libc, MAP_FAILED, readString } from './native.js';
import type { BpfProgram } from './program.js';

const { ENOSPC, E2BIG } = constants.errno;

/** The most that Linux up to 5.1 takes (kernel/bpf/verifier.c, bpf_check). */
const LOG_BYTES = 0xff_ffff;
const PROT_READ_WRITE = 0x1 | 0x2;
const MAP_PRIVATE_ANONYMOUS_NORESERVE = 0x02 | 0x20 | 0x4000;

/**
 * A log buffer for every program that load() is going to load. libbpf loads each without a log first, and asks
 * for one only when that has failed: memory is taken by what is written into it, not by what is reserved.
 */
export class LoadLogs {
  readonly #buffers = new Map<BpfProgram, bigint>();

  constructor(programs: Iterable<BpfProgram>) {
    for (const program of programs) {
      if (!program.autoload) continue;
      const flags = MAP_PRIVATE_ANONYMOUS_NORESERVE;
      const buffer = libc.mmap(null, LOG_BYTES, PROT_READ_WRITE, flags, -1, 0);
      // without a buffer, libbpf prints the log: its beginning will be among the printed lines
      if (buffer === null || buffer === MAP_FAILED) continue;
      this.#buffers.set(program, buffer);
      const result = libbpf.bpf_program__set_log_buf(program.pointer, buffer, LOG_BYTES);
      checkResult(result, `set a log buffer for program "${program.name}"`);
    }
  }

  /** The program's log, empty if there is none. */
  read(program: BpfProgram): string {
    const buffer = this.#buffers.get(program);
    return buffer === undefined ? '' : readString(buffer);
  }

  /** Gives the memory back; libbpf must not load the programs any more. */
  free(): void {
    for (const buffer of this.#buffers.values()) libc.munmap(buffer, LOG_BYTES);
    this.#buffers.clear();
  }
}

/**
 * Finds out from the logs and from what libbpf has printed which map or program load() has failed at.
 *
 * @param errno as bpf_object__load returned it
 * @param printed what libbpf has printed since load() began
 */
export function loadError(
  path: string,
  errno: number,
  programs: Iterable<BpfProgram>,
  logs: LoadLogs,
  printed: readonly string[],
): BpfError {
  const named = find(printed, /^prog '([^']+)': BPF program load failed/);
  // the load ends at the first program that is refused: of several logs the last one tells why
  const logged = [...programs].filter((program) => logs.read(program) !== '');
  const refused = logged.find(({ name }) => name === named) ?? logged.at(-1);
  if (refused !== undefined && (named === undefined || refused.name === named)) {
    const log = logs.read(refused);
    return new VerifierError(refused.name, log, { errno, ...hint(verifierAdvice(errno, log)) });
  }
  if (named !== undefined)
    return new SyscallError(`load program "${named}"`, errno, hint(programAdvice(errno)));
  const map = find(printed, /^map '([^']+)': failed to (?:create|reuse|pin|auto-pin)/);
  const detail = printed
    .filter((line) => !/^failed to load object|^Error in bpf_create_map/.test(line))
    .at(-1);
  const options = detail === undefined ? {} : { detail: `libbpf says: ${detail.replace(/\.$/, '')}` };
  if (map !== undefined) return new SyscallError(`create map "${map}"`, errno, options);
  return new SyscallError(`load the object file "${path}"`, errno, options);
}

/** What the first line that matches names. */
function find(lines: readonly string[], pattern: RegExp): string | undefined {
  for (const line of lines) {
    const match = pattern.exec(line);
    if (match !== null) return match[1];
  }
  return undefined;
}

function verifierAdvice(errno: number, log: string): string | undefined {
  if (errno === ENOSPC) return 'The log is larger than the kernel keeps: the reason is not in it';
  if (/unknown func |invalid func /.test(log))
    return 'This kernel lacks a helper function that the program calls';
  if (/back-edge/.test(log)) return 'Loops need Linux 5.3';
  if (errno === E2BIG) return programAdvice(errno);
  return undefined;
}

function programAdvice(errno: number): string | undefined {
  if (errno !== E2BIG) return undefined;
  return 'It has too many instructions: 4096 are allowed before Linux 5.2 and without CAP_BPF, then 1000000 visited ones';
}

function hint(text: string | undefined): { hint?: string } {
  return text === undefined ? {} : { hint: text };
}
