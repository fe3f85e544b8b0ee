// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * What can go wrong, as classes with a stable `code`. Every message says what could not be done, to what, why,
 * and where it is known what to do about it: `Cannot do X to Y: reason (ENAME). What to do`.
 */

import { constants } from 'node:os';
import { getSystemErrorMap } from 'node:util';

/** What every error of this package has. */
export interface BpfErrorOptions {
  /** The error that this one stems from. */
  readonly cause?: unknown;
  /** What the user can do about it: a sentence without a full stop. */
  readonly hint?: string;
}

/** The base of all errors of this package. */
export class BpfError extends Error {
  /** Stable name of the kind of error: `ERR_BPF_…`. */
  readonly code: string;
  /** What was attempted, as it follows "Cannot": `create map "flows"`. */
  readonly operation: string;
  /** The system's error number, positive; absent where no system call failed. */
  declare readonly errno?: number;
  /** The error number's name, such as `EPERM`. */
  declare readonly errnoName?: string;

  constructor(
    message: string,
    options: BpfErrorOptions & { code: string; operation: string; errno?: number },
  ) {
    const text = options.hint === undefined ? message : `${message}. ${options.hint}`;
    super(text, options.cause === undefined ? undefined : { cause: options.cause });
    this.name = new.target.name;
    this.code = options.code;
    this.operation = options.operation;
    if (options.errno !== undefined) {
      this.errno = options.errno;
      this.errnoName = errnoName(options.errno);
    }
  }
}

/** A system call, or a libbpf function around one, failed. */
export class SyscallError extends BpfError {
  declare readonly errno: number;
  declare readonly errnoName: string;

  /**
   * @param operation what was attempted, as it follows "Cannot": `create map "flows"`
   * @param errno positive
   * @param options `hint` replaces the general advice on this errno; `detail` is a reason more precise than its words
   */
  constructor(operation: string, errno: number, options: BpfErrorOptions & { detail?: string } = {}) {
    const hint = options.hint ?? GENERAL_HINTS[errnoName(errno)];
    const detail = options.detail === undefined ? '' : `: ${options.detail}`;
    super(`Cannot ${operation}: ${errnoText(errno)} (${errnoName(errno)})${detail}`, {
      code: 'ERR_BPF_SYSCALL',
      operation,
      errno,
      cause: options.cause,
      ...(hint === undefined ? {} : { hint }),
    });
  }
}

/** The kernel's verifier refused a program. */
export class VerifierError extends BpfError {
  /** Name of the program: its C function. */
  readonly program: string;
  /** The whole log of the verifier; empty if the kernel gave none. */
  readonly log: string;
  /** The verifier's reason: the last lines of its log that are neither instructions nor statistics. */
  readonly summary: string;

  constructor(program: string, log: string, options: BpfErrorOptions & { errno: number }) {
    const lines = usefulLines(log);
    const summary = reasonOf(lines);
    const shown = lines.slice(-VERIFIER_LINES_SHOWN);
    const omitted = lines.length - shown.length;
    const head = `Cannot load program "${program}": ${summary} (${errnoName(options.errno)})`;
    const hint = options.hint === undefined ? '' : `. ${options.hint}`;
    const excerpt = shown.map((line) => `\n    ${line}`).join('');
    const count = omitted === 0 ? '' : `\n    (${omitted} ${omitted === 1 ? 'line' : 'lines'} omitted)`;
    super(`${head}${hint}${count}${excerpt}`, {
      code: 'ERR_BPF_VERIFIER',
      operation: `load program "${program}"`,
      errno: options.errno,
      cause: options.cause,
    });
    this.program = program;
    this.log = log;
    this.summary = summary;
  }
}

/** The running kernel or the installed libbpf lacks something. */
export class UnsupportedError extends BpfError {
  /** What is lacking, such as `TCX`. */
  readonly feature: string;
  /** What first had it, such as `Linux 6.6` or `libbpf 1.3`. */
  readonly since: string;

  constructor(feature: string, since: string, options: BpfErrorOptions & { errno?: number } = {}) {
    super(`Cannot use ${feature}: it needs ${since}`, {
      ...options,
      code: 'ERR_BPF_UNSUPPORTED',
      operation: `use ${feature}`,
    });
    this.feature = feature;
    this.since = since;
  }
}

/** Bytes do not have the layout that their reader expects: a map's sizes, a pin's type, a type in BTF. */
export class LayoutError extends BpfError {
  /**
   * @param operation what was attempted, as it follows "Cannot"; or the whole message, `Cannot X: reason`
   * @param reason what was expected and what was found, without a full stop
   */
  constructor(operation: string, reason?: string, options: BpfErrorOptions = {}) {
    super(...failure('ERR_BPF_LAYOUT', operation, reason, options));
  }
}

/** Bytes are not of the format that they should be: an ELF file, BTF, a netlink message. */
export class FormatError extends BpfError {
  /** Where in the bytes. */
  readonly offset: number;

  /**
   * @param format what the bytes should be, such as `ELF`
   * @param offset of the first wrong byte, or 0
   * @param reason what was found there, without a full stop
   */
  constructor(format: string, offset: number, reason: string, options: BpfErrorOptions = {}) {
    const where = offset === 0 ? '' : ` at byte ${offset}`;
    super(`Cannot read ${format}${where}: ${reason}`, {
      ...options,
      code: 'ERR_BPF_FORMAT',
      operation: `read ${format}`,
    });
    this.offset = offset;
  }
}

/** The C compiler is missing or refused a source. */
export class CompileError extends BpfError {
  /** All that the compiler said; empty if it did not run. */
  readonly output: string;

  /**
   * @param operation what was attempted, as it follows "Cannot"; or the whole message, `Cannot X: reason`
   * @param reason the compiler's words, without a full stop
   */
  constructor(operation: string, reason?: string, options: BpfErrorOptions & { output?: string } = {}) {
    super(...failure('ERR_BPF_COMPILE', operation, reason, options));
    this.output = options.output ?? '';
  }
}

/** What BpfError's constructor takes, from a message in one piece or in two. */
function failure(
  code: string,
  operation: string,
  reason: string | undefined,
  options: BpfErrorOptions,
): ConstructorParameters<typeof BpfError> {
  if (reason !== undefined) return [`Cannot ${operation}: ${reason}`, { ...options, code, operation }];
  const attempted = /^Cannot (.*?)(?:: |$)/s.exec(operation)?.[1] ?? operation;
  return [operation, { ...options, code, operation: attempted }];
}

const VERIFIER_LINES_SHOWN = 12;

/** The log without blank lines and the statistics that the kernel appends to it. */
function usefulLines(log: string): string[] {
  const statistics = /^(processed \d+ insns|verification time |stack depth |max_states_per_insn )/;
  return log
    .split('\n')
    .map((line) => line.trimEnd())
    .filter((line) => line !== '' && !statistics.test(line));
}

/** Instructions with their states, source lines, and the verifier's bookkeeping of earlier branches. */
const TRACE_LINE =
  /^(\d+: |;|from \d+ to|to caller|caller|callee|returning from|R\d+(_\w+)?=|frame\d|regs=|last_idx|parent |mark_precise|propagating|func#|Live regs|Func |Validating|Global function|\.\.\.|\()/;

const REASON_LINES = 3;

/** The lines after the last instruction: mostly one, sometimes what was found and then what that means. */
function reasonOf(lines: readonly string[]): string {
  const texts = lines.map((line) => line.trim());
  const trace = texts.findLastIndex((line) => TRACE_LINE.test(line));
  const reason = texts.slice(trace + 1).slice(-REASON_LINES);
  return reason.length > 0 ? reason.join('; ') : (texts.at(-1) ?? 'the verifier gave no reason');
}

const GENERAL_HINTS: Record<string, string> = {
  EPERM:
    'Run as root, or with the capabilities CAP_BPF and CAP_NET_ADMIN (CAP_SYS_ADMIN and "ulimit -l unlimited" before Linux 5.11)',
  EMFILE: 'Raise the limit of open files (ulimit -n)',
};

/** Errors that the kernel or libbpf return although no errno.h names them, and some that libuv has no words for. */
const UNLISTED_ERRORS: Record<number, readonly [string, string]> = {
  77: ['EBADFD', 'file descriptor in bad state'],
  126: ['ENOKEY', 'required key not available'],
  524: ['ENOTSUPP', 'operation is not supported by this kernel object'],
  4000: ['LIBBPF_ERRNO__LIBELF', 'libelf failed'],
  4001: ['LIBBPF_ERRNO__FORMAT', 'invalid BPF object format'],
  4002: ['LIBBPF_ERRNO__KVERSION', 'incorrect or no kernel version in the object'],
  4003: ['LIBBPF_ERRNO__ENDIAN', 'the object is of another byte order'],
  4004: ['LIBBPF_ERRNO__INTERNAL', 'internal error in libbpf'],
  4005: ['LIBBPF_ERRNO__RELOC', 'relocation failed'],
  4006: ['LIBBPF_ERRNO__LOAD', 'the program could not be loaded for an unknown reason'],
  4007: ['LIBBPF_ERRNO__VERIFY', 'the kernel verifier refused the program'],
  4008: ['LIBBPF_ERRNO__PROG2BIG', 'the program is too big'],
  4009: ['LIBBPF_ERRNO__KVER', 'incorrect kernel version'],
  4010: ['LIBBPF_ERRNO__PROGTYPE', 'the kernel does not support this program type'],
  4011: ['LIBBPF_ERRNO__WRNGPID', 'wrong process id in a netlink message'],
  4012: ['LIBBPF_ERRNO__INVSEQ', 'invalid netlink sequence'],
  4013: ['LIBBPF_ERRNO__NLPARSE', 'netlink message could not be parsed'],
};

let errnoNames: Map<number, string> | undefined;

/** The name of a positive error number: `EPERM` for 1; the number itself if it has none. */
export function errnoName(errno: number): string {
  errnoNames ??= new Map(Object.entries(constants.errno).map(([name, value]) => [value, name]));
  // EAGAIN and EOPNOTSUPP share their numbers with names that nobody uses on Linux
  if (errno === constants.errno.EAGAIN) return 'EAGAIN';
  if (errno === constants.errno.EOPNOTSUPP) return 'EOPNOTSUPP';
  return errnoNames.get(errno) ?? UNLISTED_ERRORS[errno]?.[0] ?? `errno ${errno}`;
}

/** The words for a positive error number, in lower case. */
export function errnoText(errno: number): string {
  return (
    getSystemErrorMap().get(-errno)?.[1] ??
    UNLISTED_ERRORS[errno]?.[1] ??
    OTHER_TEXTS[errnoName(errno)] ??
    'the system call failed'
  );
}

const OTHER_TEXTS: Record<string, string> = {
  EBADMSG: 'bad message',
  ECHILD: 'no child processes',
  EDEADLK: 'resource deadlock avoided',
  EIDRM: 'identifier removed',
  EINPROGRESS: 'operation now in progress',
  ENOEXEC: 'exec format error',
  ENOLCK: 'no locks available',
  ENOLINK: 'link has been severed',
  ENOSR: 'out of streams resources',
  ESTALE: 'stale file handle',
  ETIME: 'timer expired',
};
