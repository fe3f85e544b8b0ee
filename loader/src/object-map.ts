// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A map of an object file: its declaration before load(), and the way to the map in the kernel after it. */

import { constants } from 'node:os';
import { LayoutError } from './errors.js';
import { closedError, notLoadedError } from './fd.js';
import { type MapType, mapTypeName } from './kernel-types.js';
import { BpfMap } from './map.js';
import { checkResult, copyMemory, libbpf } from './native.js';

const { EBUSY } = constants.errno;

/** libbpf calls the maps of global data after the object, cut off: `ctnat_te.rodata`. */
const GLOBAL_DATA = /\.(?:rodata|data|bss|kconfig|ksyms)(?:\..*)?$/;

/** A map as an object file declares it. Made by BpfObject. */
export class ObjectMap {
  /** The C variable; of global data the section: `.rodata`, `.data`, `.bss`. */
  readonly name: string;
  readonly #pointer: bigint;
  #map: BpfMap | undefined;
  #closed = false;
  #reused = false;

  /** @internal */
  constructor(pointer: bigint) {
    const name = libbpf.bpf_map__name(pointer) ?? '';
    this.#pointer = pointer;
    this.name = libbpf.bpf_map__is_internal(pointer) ? (GLOBAL_DATA.exec(name)?.[0] ?? name) : name;
  }

  get type(): MapType {
    return mapTypeName(libbpf.bpf_map__type(this.#open()));
  }

  get keySize(): number {
    return libbpf.bpf_map__key_size(this.#open());
  }

  /** As declared: of per-CPU maps one CPU's value. */
  get valueSize(): number {
    return libbpf.bpf_map__value_size(this.#open());
  }

  get maxEntries(): number {
    return libbpf.bpf_map__max_entries(this.#open());
  }

  /** BPF_F_… at creation, see MapFlag. */
  get flags(): number {
    return libbpf.bpf_map__map_flags(this.#open());
  }

  /** Where load() will pin the map or find it pinned; undefined if nowhere. */
  get pinPath(): string | undefined {
    return libbpf.bpf_map__pin_path(this.#open()) ?? undefined;
  }

  /** Whether load() creates it. */
  get autocreate(): boolean {
    return libbpf.bpf_map__autocreate(this.#open());
  }

  /** What global data hold at the start: a copy. undefined for other maps. */
  get initialValue(): Buffer | undefined {
    const size = new BigUint64Array(1);
    const pointer = libbpf.bpf_map__initial_value(this.#open(), size.buffer);
    return pointer === null ? undefined : copyMemory(pointer, Number(size[0]));
  }

  /**
   * Sets what global data hold at the start, such as `const volatile` variables in `.rodata`. Before load() only.
   *
   * @param bytes valueSize bytes
   */
  setInitialValue(bytes: Uint8Array): void {
    if (bytes.length !== this.valueSize) {
      throw new LayoutError(
        `set the initial value of ${this.#label}`,
        `it has ${this.valueSize} bytes, ${bytes.length} were given`,
      );
    }
    const result = libbpf.bpf_map__set_initial_value(this.#open(), bytes, bytes.length);
    this.#check(result, 'set the initial value of');
  }

  /** Before load() only. */
  setMaxEntries(maxEntries: number): void {
    this.#check(libbpf.bpf_map__set_max_entries(this.#open(), maxEntries), `set ${maxEntries} entries for`);
  }

  /** Replaces the BPF_F_… flags, see MapFlag. Before load() only. */
  setFlags(flags: number): void {
    this.#check(libbpf.bpf_map__set_map_flags(this.#open(), flags), 'set the flags of');
  }

  /**
   * Makes the object use a map that exists, in place of one of its own. Before load() only. Its size in entries
   * and its flags are taken as they are.
   *
   * @throws LayoutError if type, key size or value size differ from the declaration
   */
  reuse(map: BpfMap): void {
    const differences = this.differencesFrom(map);
    if (differences.length > 0) {
      throw new LayoutError(
        `use map "${map.name}" (id ${map.id}) as ${this.#label}`,
        differences.join(', '),
        {
          hint: 'The map was made by another version of the program: remove it, or migrate it',
        },
      );
    }
    this.#check(libbpf.bpf_map__reuse_fd(this.#open(), map.fd), 'reuse another map as');
    this.#reused = true;
  }

  /** Whether reuse() has put another map in its place. */
  get isReused(): boolean {
    return this.#reused;
  }

  /** In what a map differs from this declaration so that it cannot serve for it, in words; empty if it can. */
  differencesFrom(map: BpfMap): string[] {
    const compared: [what: string, declared: string | number, found: string | number][] = [
      ['type', this.type, map.type],
      ['key size', this.keySize, map.keySize],
      ['value size', this.valueSize, map.cpuValueSize],
    ];
    return compared
      .filter(([, declared, found]) => declared !== found)
      .map(([what, declared, found]) => `its ${what} is ${found}, the object's ${declared}`);
  }

  /** load() opens what is pinned at this path, or pins the new map there. Before load() only. */
  setPinPath(path: string): void {
    this.#check(libbpf.bpf_map__set_pin_path(this.#open(), path), `set pin path "${path}" of`);
  }

  /** For array_of_maps and hash_of_maps without a declared inner map: one like those to come. Before load() only. */
  setInnerMap(map: BpfMap): void {
    this.#check(libbpf.bpf_map__set_inner_map_fd(this.#open(), map.fd), 'set the inner map of');
  }

  /** Leaves the map out of load(), or takes it in. Programs that use it must be left out too. Before load() only. */
  setAutocreate(autocreate: boolean): void {
    this.#check(libbpf.bpf_map__set_autocreate(this.#open(), autocreate), 'set autocreate of');
  }

  /**
   * The map in the kernel. It is closed with the object.
   *
   * @throws BpfError with code ERR_BPF_NOT_LOADED before load(), or if the map was left out of it
   */
  get map(): BpfMap {
    const pointer = this.#open();
    if (this.#map !== undefined) return this.#map;
    const fd = libbpf.bpf_map__fd(pointer);
    if (fd < 0) throw notLoadedError(this.#label, 'Load its object first, with setAutocreate(true)');
    this.#map = BpfMap.fromFd(fd, { name: this.name, borrowed: true });
    return this.#map;
  }

  /** For BpfObject's use: libbpf is about to free what is behind it. @internal */
  close(): void {
    this.#closed = true;
    this.#map?.close();
  }

  get #label(): string {
    return `map "${this.name}"`;
  }

  #open(): bigint {
    if (this.#closed) throw closedError(this.#label);
    return this.#pointer;
  }

  #check(result: number, verb: string): void {
    const hint = result === -EBUSY ? 'It must be done before load()' : undefined;
    checkResult(result, `${verb} ${this.#label}`, hint);
  }
}
