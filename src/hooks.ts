// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The programs of one pin path on interfaces of the current network namespace: puts them there, says where they are,
 * takes them away. At XDP by a link pinned to PINPATH/links/IFINDEX-xdp; at TC by TCX links pinned to
 * PINPATH/links/IFINDEX-DIRECTION where the kernel has TCX (6.6), by filters
 * of the clsact qdisc elsewhere. A filter is known for ours by its program, so that nobody else's is ever touched.
 */
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import {
  attachTc,
  attachTcx,
  attachXdpLink,
  BpfLink,
  BpfProgram,
  createClsact,
  type Direction,
  destroyClsact,
  detachTc,
  ensurePinDirectory,
  feature,
  listTcFilters,
  queryXdp,
  type TcFilterEntry,
  type XdpMode,
} from 'libbpf-ts';
import { CtnatError } from './errors.js';
import type { HookVariant } from './layers.js';
import { PROGRAM_NAMES, XDP_PROGRAM } from './program-names.js';

import type { HookKind } from './state.js';
import type { Undo } from './undo.js';

export const DIRECTIONS = ['ingress', 'egress'] as const satisfies readonly Direction[];

/** Of a program's name after its direction. */
const SUFFIXES: Readonly<Record<HookVariant, Readonly<Record<Direction, string>>>> = {
  ethernet: { ingress: '', egress: '' },
  ip: { ingress: '_ip', egress: '_ip' },
  upper: { ingress: '_upper', egress: '_upper' },
  redirect: { ingress: '_redirect', egress: '' },
};

/** Tells a reader of `tc filter show` whose the filter is: nothing depends on it. */
const HANDLE = 0xc7a7;
const MAX_PRIORITY = 0xffff;

/** What sits where on an interface, as `tcx/ingress`. */
export interface AttachedHook {
  readonly kind: HookKind | 'xdp';
  readonly direction: Direction;
  readonly programId: number;
}

/** How this kernel attaches. */
export function bestHookKind(): HookKind {
  return feature('tcx').available ? 'tcx' : 'clsact';
}

export class Hooks {
  readonly #pinPath: string;
  readonly #programs = new Map<string, BpfProgram>();

  constructor(pinPath: string) {
    this.#pinPath = pinPath;
  }

  /** Our programs on an interface that is there. */
  on(ifindex: number): AttachedHook[] {
    const found: AttachedHook[] = [];
    for (const direction of DIRECTIONS) {
      const programId = this.#linkedProgram(ifindex, direction);
      if (programId !== undefined) found.push({ kind: 'tcx', direction, programId });
      for (const filter of this.#filters(ifindex, direction)) {
        found.push({ kind: 'clsact', direction, programId: filter.programId! });
      }
    }
    const programId = this.xdpProgramOn(ifindex);
    if (programId !== undefined) found.push({ kind: 'xdp', direction: 'ingress', programId });
    return found;
  }

  /** Our program on the XDP hook of an interface that is there. */
  xdpProgramOn(ifindex: number): number | undefined {
    return this.#linkedProgram(ifindex, 'xdp');
  }

  /**
   * Puts the program of XDP mode on an interface.
   * @param mayBeGeneric in the stack if the driver can't
   * @returns where it runs
   * @throws SyscallError why the driver can't; EBUSY another program is there
   */
  attachXdp(ifindex: number, mayBeGeneric: boolean, undo: Undo): XdpMode {
    const path = this.#linkPath(ifindex, 'xdp');
    if (this.#linkedProgram(ifindex, 'xdp') !== undefined) {
      return queryXdp(ifindex)?.mode === 'generic' ? 'generic' : 'native';
    }
    this.#detachLink(ifindex, 'xdp');
    ensurePinDirectory(join(this.#pinPath, 'links'));
    const program = this.#openProgram(join('xdp', XDP_PROGRAM));
    const { link, mode } = attachXdpLink({ ifindex, program, mode: mayBeGeneric ? 'auto' : 'native' });
    using _ = link;
    link.pin(path);
    undo.push(() => this.#detachLink(ifindex, 'xdp'));
    return mode;
  }

  /** Takes our program off an interface's XDP hook, if it is there. */
  detachXdp(ifindex: number): void {
    this.#detachLink(ifindex, 'xdp');
  }

  /**
   * Puts the programs of a variant on an interface, in the place of another variant's without a moment in which
   * neither runs.
   * @returns whether a clsact qdisc was made
   */
  attach(ifindex: number, kind: HookKind, variant: HookVariant, undo: Undo): boolean {
    if (kind === 'tcx') {
      for (const direction of DIRECTIONS)
        this.#attachLink(ifindex, direction, this.#program(variant, direction), undo);
      return false;
    }
    const made = createClsact(ifindex);
    if (made) undo.push(() => destroyClsact(ifindex));
    for (const direction of DIRECTIONS)
      this.#attachFilter(ifindex, direction, this.#program(variant, direction), undo);
    return made;
  }

  /**
   * Takes our programs off an interface, whether it is still there or not. `withQdisc`: the clsact qdisc goes too if
   * it holds nobody's filters.
   */
  detach(ifindex: number, { isThere, withQdisc }: { isThere: boolean; withQdisc: boolean }): void {
    this.detachXdp(ifindex);
    for (const direction of DIRECTIONS) this.#detachLink(ifindex, direction);
    if (!isThere) return;
    for (const direction of DIRECTIONS) {
      for (const { priority, handle } of this.#filters(ifindex, direction)) {
        detachTc({ ifindex, direction, priority, handle });
      }
    }
    if (withQdisc && DIRECTIONS.every((direction) => listTcFilters(ifindex, direction).length === 0)) {
      destroyClsact(ifindex);
    }
  }

  /** The interfaces that links are pinned for, those that have gone away included. */
  linkedInterfaces(): number[] {
    const folder = join(this.#pinPath, 'links');
    if (!existsSync(folder)) return [];
    const indexes = readdirSync(folder).map((name) => Number.parseInt(name, 10));
    return [...new Set(indexes)].filter((ifindex) => ifindex > 0);
  }

  /** Whether a pinned link still holds on to its interface; in whichever network namespace that is. */
  isLinkAlive(ifindex: number): boolean {
    return DIRECTIONS.some((direction) => this.#linkedProgram(ifindex, direction) !== undefined);
  }

  /** Gives up every handle. */
  close(): void {
    for (const program of this.#programs.values()) program.close();
    this.#programs.clear();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  #program(variant: HookVariant, direction: Direction): BpfProgram {
    return this.#pinnedProgram(`ct_${direction}${SUFFIXES[variant][direction]}`);
  }

  #pinnedProgram(name: string): BpfProgram {
    return this.#openProgram(join('programs', name));
  }

  #openProgram(path: string): BpfProgram {
    let program = this.#programs.get(path);
    if (!program) {
      program = BpfProgram.openPinned(join(this.#pinPath, path));
      this.#programs.set(path, program);
    }
    return program;
  }

  #isOurs(programId: number | undefined): boolean {
    if (programId === undefined) return false;
    return PROGRAM_NAMES.some(
      (name) =>
        existsSync(join(this.#pinPath, 'programs', name)) && this.#pinnedProgram(name).id === programId,
    );
  }

  #linkPath(ifindex: number, direction: Direction | 'xdp'): string {
    return join(this.#pinPath, 'links', `${ifindex}-${direction}`);
  }

  /** The program of a link whose interface is there. */
  #linkedProgram(ifindex: number, direction: Direction | 'xdp'): number | undefined {
    const path = this.#linkPath(ifindex, direction);
    if (!existsSync(path)) return undefined;
    using link = BpfLink.openPinned(path);
    const info = link.info();
    return info.ifindex ? info.programId : undefined;
  }

  #attachLink(ifindex: number, direction: Direction, program: BpfProgram, undo: Undo): void {
    const path = this.#linkPath(ifindex, direction);
    const current = this.#linkedProgram(ifindex, direction);
    if (current === program.id) return;
    if (current !== undefined) {
      using link = BpfLink.openPinned(path);
      link.update(program);
      undo.push(() => this.#putBack(path, current));
      return;
    }
    // of an interface that has gone away, whose index another one has now
    this.#detachLink(ifindex, direction);
    ensurePinDirectory(join(this.#pinPath, 'links'));
    // First of all: a packet that another program lets pass for good would be neither tracked nor translated.
    using link = attachTcx({ ifindex, direction, program, before: 'all' });
    link.pin(path);
    undo.push(() => this.#detachLink(ifindex, direction));
  }

  #putBack(path: string, programId: number): void {
    using link = BpfLink.openPinned(path);
    using program = BpfProgram.fromId(programId);
    link.update(program);
  }

  #detachLink(ifindex: number, direction: Direction | 'xdp'): void {
    const path = this.#linkPath(ifindex, direction);
    if (!existsSync(path)) return;
    using link = BpfLink.openPinned(path);
    link.detach();
    link.unpin();
  }

  /** Our filters on one side of an interface. */
  #filters(ifindex: number, direction: Direction): TcFilterEntry[] {
    return listTcFilters(ifindex, direction).filter(({ programId }) => this.#isOurs(programId));
  }

  #attachFilter(ifindex: number, direction: Direction, program: BpfProgram, undo: Undo): void {
    const [current] = this.#filters(ifindex, direction);
    if (current?.programId === program.id) return;
    if (current) {
      const { priority, handle } = current;
      const place = { ifindex, direction, priority, handle };
      attachTc({ ...place, program, replace: true });
      undo.push(() => {
        using old = BpfProgram.fromId(current.programId!);
        attachTc({ ...place, program: old, replace: true });
      });
      return;
    }
    const place = { ifindex, direction, priority: freePriority(ifindex, direction), handle: HANDLE };
    attachTc({ ...place, program });
    undo.push(() => detachTc(place));
  }
}

/** As early as the filters of others allow: a priority belongs to one kind of filter. */
function freePriority(ifindex: number, direction: Direction): number {
  const taken = new Set(listTcFilters(ifindex, direction).map(({ priority }) => priority));
  for (let priority = 1; priority <= MAX_PRIORITY; priority++) if (!taken.has(priority)) return priority;
  throw new CtnatError(
    `can not attach to ${direction} of interface ${ifindex}: every filter priority is taken`,
  );
}
