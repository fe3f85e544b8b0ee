// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A program: of an object file, before and after loading, or one that is in the kernel already. */

import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { closedError, Fd, notLoadedError } from './fd.js';
import { type ProgramInfo, readProgramInfo } from './info.js';
import { type ProgramType, programTypeName, programTypeNumber } from './kernel-types.js';
import { checkResult, libbpf } from './native.js';
import { getPin, pinFd, removePin } from './pin.js';
import { type TestRunOptions, type TestRunResult, testRun } from './test-run.js';

const INSTRUCTION_BYTES = 8;
const { EBUSY } = constants.errno;

/** A program, which lives in the kernel for as long as this object, an attachment or a pin refers to it. */
export class BpfProgram {
  /** Of an object's program its C function; of others at most 15 bytes, which is all that the kernel keeps. */
  readonly name: string;
  /** The ELF section, such as `tc` or `xdp.frags`; empty for a program that is not of an object file. */
  readonly section: string;
  /** libbpf's struct bpf_program; undefined for a program that is not of an object file. */
  readonly #pointer: bigint | undefined;
  #fd: Fd | undefined;
  #info: ProgramInfo | undefined;
  #closed = false;
  #log = '';

  private constructor(name: string, section: string, pointer: bigint | undefined, fd: Fd | undefined) {
    this.name = name;
    this.section = section;
    this.#pointer = pointer;
    this.#fd = fd;
  }

  /** A program of an open object. For BpfObject's use: it closes the program with itself. @internal */
  static fromObject(pointer: bigint): BpfProgram {
    const name = libbpf.bpf_program__name(pointer) ?? '';
    return new BpfProgram(name, libbpf.bpf_program__section_name(pointer) ?? '', pointer, undefined);
  }

  /**
   * Opens a pinned program.
   *
   * @throws SyscallError ENOENT if nothing is pinned there
   * @throws LayoutError if something else than a program is pinned there
   */
  static openPinned(path: string): BpfProgram {
    return BpfProgram.fromFd(getPin(path, 'program'));
  }

  /** @throws SyscallError ENOENT if no program has this id */
  static fromId(id: number): BpfProgram {
    return BpfProgram.fromFd(checkResult(libbpf.bpf_prog_get_fd_by_id(id), `open the program with id ${id}`));
  }

  /** Takes over a file descriptor: close() closes it, unless it is borrowed. */
  static fromFd(fd: number, options: { borrowed?: boolean } = {}): BpfProgram {
    const owned = new Fd(fd, `program (file descriptor ${fd})`, options.borrowed ?? false);
    try {
      const info = readProgramInfo(fd);
      const program = new BpfProgram(info.name, '', undefined, owned);
      program.#info = info;
      return program;
    } catch (error) {
      owned.close();
      throw error;
    }
  }

  /** Whether it is in the kernel and not closed. */
  get isLoaded(): boolean {
    return !this.#closed && (this.#fd?.isOpen ?? false);
  }

  /**
   * The file descriptor, which this program goes on owning.
   *
   * @throws BpfError with code ERR_BPF_NOT_LOADED before load(), ERR_BPF_CLOSED after close()
   */
  get fd(): number {
    if (this.#closed) throw closedError(this.#label);
    if (this.#fd === undefined)
      throw notLoadedError(this.#label, 'Load its object first, with setAutoload(true)');
    return this.#fd.number;
  }

  get id(): number {
    return this.info.id;
  }

  /** Hash of the instructions, 16 hexadecimal digits. */
  get tag(): string {
    return this.info.tag;
  }

  get type(): ProgramType {
    if (this.#fd !== undefined) return this.info.type;
    return programTypeName(libbpf.bpf_program__type(this.#requirePointer()));
  }

  /**
   * How many instructions the kernel is given to load, functions called by the program included; of a program
   * that is not of an object file, how many the verifier has left. The limit is 4096 before Linux 5.2.
   * Before load() the functions are not counted yet.
   */
  get instructions(): number {
    if (this.#pointer === undefined) return this.info.xlatedBytes / INSTRUCTION_BYTES;
    return libbpf.bpf_program__insn_cnt(this.#requirePointer());
  }

  /** Size of the machine code in bytes; 0 without JIT. */
  get jitedBytes(): number {
    return this.info.jitedBytes;
  }

  /** When it was loaded, in nanoseconds of CLOCK_BOOTTIME. */
  get loadTimeNs(): bigint {
    return this.info.loadTimeNs;
  }

  /** The ids of the maps that it uses. */
  get mapIds(): readonly number[] {
    return this.info.mapIds;
  }

  /** All that the kernel says of it, as of now for what changes: readInfo() asks again. */
  get info(): ProgramInfo {
    this.#info ??= readProgramInfo(this.fd);
    return this.#info;
  }

  /** Asks the kernel again, for the run counters. */
  readInfo(): ProgramInfo {
    this.#info = readProgramInfo(this.fd);
    return this.#info;
  }

  /** The verifier's log, if setLogLevel() asked for one before load(). */
  get verifierLog(): string {
    return this.#log;
  }

  /** Whether load() loads it. Before load() only. */
  get autoload(): boolean {
    return libbpf.bpf_program__autoload(this.#requirePointer());
  }

  /** Leaves the program out of load(), or takes it in. Before load() only. */
  setAutoload(autoload: boolean): void {
    this.#check(libbpf.bpf_program__set_autoload(this.#requirePointer(), autoload), 'set autoload of');
  }

  /** Sets another type than the section's name stands for. Before load() only. */
  setType(type: ProgramType): void {
    const result = libbpf.bpf_program__set_type(this.#requirePointer(), programTypeNumber(type));
    this.#check(result, `set type ${type} of`);
  }

  /** Sets the attach type, enum bpf_attach_type, that some program types are checked for. Before load() only. */
  setExpectedAttachType(attachType: number): void {
    const result = libbpf.bpf_program__set_expected_attach_type(this.#requirePointer(), attachType);
    this.#check(result, `set attach type ${attachType} of`);
  }

  /**
   * Asks for the verifier's log even if it accepts the program: 1 the log, 2 more of it, 4 statistics only
   * (since Linux 5.2). Before load() only.
   */
  setLogLevel(level: number): void {
    const result = libbpf.bpf_program__set_log_level(this.#requirePointer(), level);
    this.#check(result, `set log level ${level} of`);
  }

  /**
   * Runs the program on data of the caller's (BPF_PROG_TEST_RUN).
   *
   * @throws SyscallError ENOTSUPP if its type cannot be run so, EINVAL if the data are too short or an option is newer
   * than the kernel, ENOSPC if dataOutSize is too small
   */
  testRun(options: TestRunOptions = {}): TestRunResult {
    return testRun(this.fd, this.name, options);
  }

  /**
   * Pins the program to a path in bpffs, where it outlives this process.
   *
   * @throws SyscallError EEXIST if something is pinned there
   */
  pin(path: string): void {
    pinFd(this.fd, path, this.#label);
  }

  /** Removes a pin of this program. Returns whether there was one. */
  unpin(path: string): boolean {
    return removePin(path);
  }

  /**
   * Lets go of the program. Closing twice is harmless; anything else throws afterwards.
   * A program of an object leaves the kernel only when the object is closed.
   */
  close(): void {
    this.#closed = true;
    this.#fd?.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  /** For BpfObject's use, after load(): libbpf goes on owning the file descriptor. @internal */
  attachToKernel(log: string): void {
    this.#log = log;
    const fd = libbpf.bpf_program__fd(this.#requirePointer());
    if (fd >= 0) this.#fd = new Fd(fd, this.#label, true);
  }

  /** For BpfObject's use. @internal */
  get pointer(): bigint {
    return this.#requirePointer();
  }

  get #label(): string {
    return `program "${this.name}"`;
  }

  #requirePointer(): bigint {
    if (this.#closed) throw closedError(this.#label);
    if (this.#pointer !== undefined) return this.#pointer;
    throw new SyscallError(`change ${this.#label}`, EBUSY, { detail: 'it is in the kernel already' });
  }

  #check(result: number, verb: string): void {
    const hint = result === -EBUSY ? 'It must be done before load()' : undefined;
    checkResult(result, `${verb} ${this.#label}`, hint);
  }
}
