// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The maps and programs below one pin path, typed by the generated layouts: the one place where the loader and
 * the layouts meet. What is attached where is not its affair (attach.ts).
 *
 *   PINPATH/maps/NAME       every map
 *   PINPATH/programs/NAME   what is attached to hooks or run by the control side
 *   PINPATH/links/…         attachments (attach.ts)
 */
import { existsSync } from 'node:fs';
import { join } from 'node:path';
import { BpfMap, BpfProgram, LayoutError, type MapLayout, TypedMap } from 'libbpf-ts';
import { DEFAULT_FLOWS } from './defaults.js';
import { CtnatError } from './errors.js';
import { Layout, maps as layouts, type Settings } from './generated/layouts.gen.js';
import type { LoadOptions } from './load.js';
import type { ProgramName } from './program-names.js';

type Typed<L> = L extends MapLayout<infer K, infer V> ? TypedMap<K, V> : never;

/** Every map by its C name; a map is opened when it is first asked for. */
export type DatapathMaps = { readonly [Name in keyof typeof layouts]: Typed<(typeof layouts)[Name]> };

export type MapName = keyof typeof layouts;

export const MAP_NAMES = Object.keys(layouts) as readonly MapName[];

/** Nothing is loaded below the pin path. */
export class NotAttachedError extends CtnatError {
  override readonly name = 'NotAttachedError';

  constructor(pinPath: string) {
    super(`ctnat is not attached: there is nothing at ${pinPath}; run ctnat attach`);
  }
}

/** What is pinned was made by a version of ctnat whose maps look different. */
export class LayoutMismatchError extends CtnatError {
  override readonly name = 'LayoutMismatchError';

  constructor(path: string, difference: string, options?: ErrorOptions) {
    super(
      `can not use ${path}: its layout is another version's (${difference}); ` +
        'use that version, or end its flows with ctnat detach --all --purge and attach again',
      options,
    );
  }
}

export class Datapath {
  readonly pinPath: string;
  readonly maps: DatapathMaps;
  readonly #open = new Map<string, BpfMap>();
  readonly #programs = new Map<string, BpfProgram>();

  private constructor(pinPath: string) {
    this.pinPath = pinPath;
    this.maps = Object.defineProperties(
      {},
      Object.fromEntries(
        MAP_NAMES.map((name) => [
          name,
          { enumerable: true, get: () => this.#typed(layouts[name] as MapLayout<unknown, unknown>) },
        ]),
      ),
    ) as DatapathMaps;
  }

  /** Whether something is loaded below the pin path, of whichever version. */
  static isLoaded(pinPath: string): boolean {
    return existsSync(join(pinPath, 'maps'));
  }

  /**
   * Opens what is loaded.
   * @throws NotAttachedError if nothing is; LayoutMismatchError naming a map that another version made
   */
  static open(pinPath: string): Datapath {
    if (!Datapath.isLoaded(pinPath)) throw new NotAttachedError(pinPath);
    const datapath = new Datapath(pinPath);
    try {
      const { layout } = datapath.settings;
      if (layout !== Layout.LAYOUT_VERSION) {
        const difference = `layout ${layout}, this ctnat has layout ${Layout.LAYOUT_VERSION}`;
        throw new LayoutMismatchError(join(pinPath, 'maps/settings'), difference);
      }
      return datapath;
    } catch (error) {
      datapath.close();
      throw error;
    }
  }

  /**
   * Loads the programs and maps and pins them, all or nothing; nothing may be loaded there. The caller holds the
   * lock of the pin path.
   * @throws VerifierError, SyscallError, CompileError
   */
  static async load(pinPath: string, options: Partial<LoadOptions> = {}): Promise<Datapath> {
    const { flows4 = DEFAULT_FLOWS, flows6 = DEFAULT_FLOWS } = options;
    const { loadPinned } = await import('./load.js'); // most commands load nothing
    await loadPinned(pinPath, { ...options, flows4, flows6 });
    return Datapath.open(pinPath);
  }

  /** Opens every map, so that one which another version made is found before anything is changed. */
  check(): void {
    for (const name of MAP_NAMES) void this.maps[name];
  }

  /** The settings as they are now. */
  get settings(): Settings {
    const settings = this.maps.settings.get(0);
    if (!settings) throw new CtnatError(`can not read ${join(this.pinPath, 'maps/settings')}: it is empty`);
    return settings;
  }

  /**
   * Changes some of the settings. Programs may see some of the fields old and some new while this goes on, each
   * field whole. The caller holds the lock of the pin path.
   */
  updateSettings(changes: Partial<Omit<Settings, 'layout' | 'zero'>>): void {
    this.maps.settings.set(0, { ...this.settings, ...changes });
  }

  /** A program that is pinned. */
  program(name: ProgramName): BpfProgram {
    let program = this.#programs.get(name);
    if (!program) {
      program = BpfProgram.openPinned(join(this.pinPath, 'programs', name));
      this.#programs.set(name, program);
    }
    return program;
  }

  /** The program that looks through a family's flows and tears down those that a request names. */
  sweepProgram(family: 4 | 6): BpfProgram {
    return this.program(`ct_sweep${family}`);
  }

  /** Gives up every handle; what is pinned stays. Harmless when repeated. */
  close(): void {
    for (const map of this.#open.values()) map.close();
    for (const program of this.#programs.values()) program.close();
    this.#open.clear();
    this.#programs.clear();
    this.#typedMaps.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  readonly #typedMaps = new Map<string, TypedMap<unknown, unknown>>();

  #typed(layout: MapLayout<unknown, unknown>): TypedMap<unknown, unknown> {
    const known = this.#typedMaps.get(layout.name);
    if (known) return known;
    const path = join(this.pinPath, 'maps', layout.name);
    const map = BpfMap.openPinned(path);
    this.#open.set(layout.name, map);
    try {
      const typed = new TypedMap(map, layout.key, layout.value);
      this.#typedMaps.set(layout.name, typed);
      return typed;
    } catch (error) {
      if (!(error instanceof LayoutError)) throw error;
      const difference = `keys of ${map.keySize} and values of ${map.cpuValueSize} bytes, expected ${layout.key.size} and ${layout.value.size}`;
      throw new LayoutMismatchError(path, difference, { cause: error });
    }
  }
}
