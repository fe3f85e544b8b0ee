// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the floor check found, with the places in C. */
import { type BtfExt, lineAt } from './btf-ext.js';
import type { FunctionSpec } from './function-spec.js';

export type FloorRule =
  | 'size'
  | 'loop'
  | 'unreachable'
  | 'escape'
  | 'recursion'
  | 'call-depth'
  | 'stack'
  | 'helper'
  | 'tail-call'
  | 'instruction'
  | 'global-data'
  | 'reference'
  | 'extern'
  | 'core-relocation'
  | 'map-type'
  | 'map-flags'
  | 'btf-kind';

export interface Violation {
  rule: FloorRule;
  /** The program; of a rule about maps the first program that uses the map, if one does. */
  program?: string;
  /** The function in which it is; differs from the program for what the program calls. */
  function?: string;
  /** The map that a rule about maps is about. */
  map?: string;
  /** C file and line, where the object has line information. */
  file?: string;
  line?: number;
  /** What is wrong, in a sentence without a full stop. */
  message: string;
}

/** Collects violations. */
export class FloorReport {
  readonly violations: Violation[] = [];
  readonly #ext: BtfExt | undefined;
  readonly #known = new Set<string>();

  constructor(ext: BtfExt | undefined) {
    this.#ext = ext;
  }

  /** What a function that several programs reach does wrong is reported once, for the first of them. */
  add(rule: FloorRule, program: FunctionSpec, where: FunctionSpec, index: number, message: string): void {
    const key = `${rule} ${where.section} ${where.offset} ${index} ${message}`;
    if (this.#known.has(key)) return;
    this.#known.add(key);
    this.violations.push({ rule, ...this.place(program, where, index), message });
  }

  /** Names and C line of an instruction. */
  place(program: FunctionSpec, where: FunctionSpec, index: number): Partial<Violation> {
    const info = lineAt(this.#ext, where.section, where.offset + index * 8);
    const known = info !== undefined && info.offset >= where.offset;
    const names = { program: program.name, function: where.name };
    return known ? { ...names, file: info.file, line: info.line } : names;
  }
}
