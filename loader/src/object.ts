// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * An object file and what becomes of it: open() parses, load() creates maps and loads programs, close() lets go.
 * Between the first two, maps and programs can be changed.
 */

import { existsSync } from 'node:fs';
import { constants } from 'node:os';
import { BpfError, LayoutError, SyscallError } from './errors.js';
import { closedError } from './fd.js';
import { LoadLogs, loadError } from './load-log.js';
import { BpfMap } from './map.js';
import { addressOf, clearPrinted, cString, errno, LITTLE_ENDIAN, lastPrinted, libbpf } from './native.js';
import { ObjectMap } from './object-map.js';
import { BpfProgram } from './program.js';

export interface ObjectOptions {
  /** The object's name, of which libbpf makes the kernel's names of global data; the file's name by default. */
  readonly name?: string;
  /** BTF of the kernel to relocate against, for kernels without /sys/kernel/btf/vmlinux. */
  readonly btfPath?: string;
}

/** struct bpf_object_open_opts of libbpf 1.0; newer ones have more at the end, which `sz` leaves out. */
const OPEN_OPTS_BYTES = 80;

/** An object file of maps and programs. */
export class BpfObject {
  readonly path: string;
  readonly maps: ReadonlyMap<string, ObjectMap>;
  readonly programs: ReadonlyMap<string, BpfProgram>;
  readonly #pointer: bigint;
  #state: 'open' | 'loaded' | 'failed' | 'closed' = 'open';

  private constructor(path: string, pointer: bigint) {
    this.path = path;
    this.#pointer = pointer;
    const maps = pointers((last) => libbpf.bpf_object__next_map(pointer, last)).map(
      (map) => new ObjectMap(map),
    );
    const programs = pointers((last) => libbpf.bpf_object__next_program(pointer, last)).map((program) =>
      BpfProgram.fromObject(program),
    );
    this.maps = new Map(maps.map((map) => [map.name, map]));
    this.programs = new Map(programs.map((program) => [program.name, program]));
  }

  /**
   * Reads an object file. Nothing goes to the kernel yet.
   *
   * @throws SyscallError ENOENT if there is no such file, ENOEXEC or a libbpf error if it is no BPF object
   */
  static open(path: string, options: ObjectOptions = {}): BpfObject {
    const name = options.name === undefined ? undefined : cString(options.name);
    const btfPath = options.btfPath === undefined ? undefined : cString(options.btfPath);
    const opts = Buffer.alloc(OPEN_OPTS_BYTES);
    const view = new DataView(opts.buffer, opts.byteOffset, opts.length);
    view.setBigUint64(0, BigInt(OPEN_OPTS_BYTES), LITTLE_ENDIAN);
    if (name !== undefined) view.setBigUint64(8, addressOf(name), LITTLE_ENDIAN);
    if (btfPath !== undefined) view.setBigUint64(48, addressOf(btfPath), LITTLE_ENDIAN);
    clearPrinted();
    const pointer = libbpf.bpf_object__open_file(path, opts);
    if (pointer === null) throw openError(path, errno());
    return new BpfObject(path, pointer);
  }

  /** The map of this name. @throws BpfError naming those that there are */
  map(name: string): ObjectMap {
    return this.maps.get(name) ?? this.#missing('map', name, this.maps);
  }

  /** The program of this name, which is its C function's. @throws BpfError naming those that there are */
  program(name: string): BpfProgram {
    return this.programs.get(name) ?? this.#missing('program', name, this.programs);
  }

  /**
   * Creates the maps, or opens those that are pinned, and loads the programs. All or nothing: after a failure
   * nothing of the object is in the kernel, and it can only be closed.
   *
   * @throws VerifierError if the kernel refuses a program
   * @throws LayoutError if what is pinned is not what the object declares
   * @throws SyscallError EPERM without the capabilities
   */
  load(): void {
    this.#requireOpen();
    if (this.#state !== 'open') {
      const operation = `load the object file "${this.path}"`;
      const reason = this.#state === 'loaded' ? 'it is loaded already' : 'loading it has failed before';
      throw new BpfError(`Cannot ${operation}: ${reason}`, { code: 'ERR_BPF_STATE', operation });
    }
    for (const map of this.maps.values()) checkPinned(map);
    const programs = [...this.programs.values()];
    const logs = new LoadLogs(programs);
    try {
      clearPrinted();
      const result = libbpf.bpf_object__load(this.#pointer);
      if (result < 0) {
        this.#state = 'failed';
        throw loadError(this.path, -result, programs, logs, lastPrinted());
      }
      this.#state = 'loaded';
      for (const program of programs) program.attachToKernel(logs.read(program));
    } finally {
      logs.free();
    }
  }

  get isLoaded(): boolean {
    return this.#state === 'loaded';
  }

  /**
   * Closes the object with its maps and programs, which stay in the kernel only where something else, such as a
   * pin or an attachment, refers to them. Closing twice is harmless.
   */
  close(): void {
    if (this.#state === 'closed') return;
    this.#state = 'closed';
    for (const map of this.maps.values()) map.close();
    for (const program of this.programs.values()) program.close();
    libbpf.bpf_object__close(this.#pointer);
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #requireOpen(): void {
    if (this.#state === 'closed') throw closedError(`the object file "${this.path}"`);
  }

  #missing(kind: string, name: string, existing: ReadonlyMap<string, unknown>): never {
    const operation = `find the ${kind} "${name}" in "${this.path}"`;
    const names = [...existing.keys()].sort().join(', ');
    throw new BpfError(`Cannot ${operation}: it has ${names === '' ? 'none' : names}`, {
      code: 'ERR_BPF_NOT_FOUND',
      operation,
    });
  }
}

/** What libbpf lists one by one, given the last one. */
function pointers(next: (last: bigint | null) => bigint | null): bigint[] {
  const all: bigint[] = [];
  for (let pointer = next(null); pointer !== null; pointer = next(pointer)) all.push(pointer);
  return all;
}

function openError(path: string, code: number): SyscallError {
  const operation = `open the object file "${path}"`;
  const detail = code === constants.errno.ENOENT ? undefined : lastPrinted().at(-1);
  return new SyscallError(operation, code, detail === undefined ? {} : { detail: `libbpf says: ${detail}` });
}

/** libbpf refuses a pinned map that differs with EINVAL; this says in what. */
function checkPinned(map: ObjectMap): void {
  const path = map.pinPath;
  if (path === undefined || !map.autocreate || map.isReused || !existsSync(path)) return;
  const pinned = BpfMap.openPinned(path);
  const differences = map.differencesFrom(pinned);
  if (pinned.maxEntries !== map.maxEntries) {
    differences.push(`it has ${pinned.maxEntries} entries at most, the object ${map.maxEntries}`);
  }
  if (pinned.flags !== map.flags) {
    differences.push(
      `its flags are 0x${pinned.flags.toString(16)}, the object's 0x${map.flags.toString(16)}`,
    );
  }
  pinned.close();
  if (differences.length === 0) return;
  throw new LayoutError(`use the map pinned to "${path}" as map "${map.name}"`, differences.join(', '), {
    hint: 'It was made by another version or configuration of the program: remove the pin, or reuse() the map',
  });
}
