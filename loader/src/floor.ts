// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Finds what Linux 4.19 would refuse in a compiled object, without such a kernel: sizes, loops, helpers, maps,
 * instructions, references. What only a verifier's run can tell (bounds, pointer types, the 131,072 instructions
 * that 4.19 is willing to walk through, fields of the context that came later) is left to tests on 4.19.
 *
 * BTF is no reason to refuse: libbpf rewrites or drops what a kernel does not know. Since 1.0 it does so for FUNC
 * and its linkage, VAR, DATASEC, FLOAT, DECL_TAG, TYPE_TAG and ENUM64; a kernel that still refuses the BTF (4.19
 * does so for bit fields and signed enums) gets maps and programs without it, which is slower to debug and nothing
 * else. CO-RE relocations are another matter: they need the kernel's own BTF, which 4.19 has not.
 */

import type { Btf } from './btf.js';
import { type BtfExt, readBtfExt } from './btf-ext.js';
import { readBtf } from './btf-parser.js';
import { walk } from './control-flow.js';
import { type ElfObject, type ElfRelocation, SHF_EXECINSTR, SHN_LORESERVE } from './elf.js';
import {
  allowedMapFlags,
  allowsHelper,
  FRAME_ROUNDING,
  LAST_HELPER,
  LAST_MAP_TYPE,
  MAX_FRAMES,
  MAX_INSTRUCTIONS,
  MAX_STACK,
  NEWER_BTF_KINDS,
  sectionProgramType,
} from './floor-facts.js';
import { newerInstruction, newerReference } from './floor-instructions.js';
import { FloorReport, type FloorRule, type Violation } from './floor-report.js';
import {
  BPF_CALL,
  BPF_LD_IMM64,
  countInstructions,
  type FunctionSpec,
  type Instruction,
  reachable,
  readFunctions,
} from './function-spec.js';
import { helperId, helperName } from './helpers.js';
import { MapFlag } from './kernel-types.js';
import { type MapSpec, readMapSpecs } from './map-spec.js';
import { type StackDepth, stackDepth } from './stack-depth.js';

/** Programs of an object with the instructions that the kernel counts. */
export function programSizes(elf: ElfObject): { program: string; section: string; instructions: number }[] {
  return readFunctions(elf)
    .filter((each) => each.isProgram)
    .map((each) => ({ program: each.name, section: each.section, instructions: countInstructions(each) }));
}

/**
 * What Linux 4.19 would refuse, in the order of programs, then maps.
 * @throws FormatError if the object is malformed
 */
export function checkFloor(elf: ElfObject): Violation[] {
  const btf = readBtf(elf);
  const programs = readFunctions(elf).filter((each) => each.isProgram);
  const check = new FloorCheck(elf, btf && readBtfExt(elf, btf));
  for (const program of programs) check.program(program);
  for (const map of btf === undefined ? [] : readMapSpecs(btf)) check.map(map, programs);
  if (btf !== undefined) check.types(btf);
  return check.violations;
}

const TAIL_CALL = helperId('tail_call');

class FloorCheck {
  readonly #elf: ElfObject;
  readonly #ext: BtfExt | undefined;
  readonly #report: FloorReport;
  readonly #covered = new Map<FunctionSpec, { frames: number; above: number }[]>();
  readonly #depths = new Map<FunctionSpec, StackDepth>();

  constructor(elf: ElfObject, ext: BtfExt | undefined) {
    this.#elf = elf;
    this.#ext = ext;
    this.#report = new FloorReport(ext);
  }

  get violations(): Violation[] {
    return this.#report.violations;
  }

  program(program: FunctionSpec): void {
    const functions = reachable(program);
    const count = countInstructions(program);
    if (count > MAX_INSTRUCTIONS) {
      this.#report.add(
        'size',
        program,
        program,
        0,
        `${count} instructions, at most ${MAX_INSTRUCTIONS} are taken`,
      );
    }
    for (const each of functions) {
      this.#controlFlow(program, each);
      each.instructions.forEach((instruction, index) => {
        const second = each.instructions[index - 1]?.code === BPF_LD_IMM64;
        if (!second) this.#instruction(program, each, instruction, index, functions.size > 1);
      });
      this.#coreRelocations(program, each);
    }
    this.#chain(program, [program], 0);
  }

  map(map: MapSpec, programs: FunctionSpec[]): void {
    const add = (rule: FloorRule, message: string): void => {
      this.violations.push({ rule, map: map.name, ...this.#firstUse(map.name, programs), message });
    };
    if (map.type === 0 || map.type > LAST_MAP_TYPE) {
      const name = map.typeName === 'unspec' ? `type ${map.type}` : `type ${map.typeName} (${map.type})`;
      add('map-type', `maps of ${name} are not in Linux 4.19, whose last type is ${LAST_MAP_TYPE}`);
      return;
    }
    const extra = map.flags & ~allowedMapFlags(map.typeName);
    if (extra !== 0)
      add('map-flags', `flags 0x${(extra >>> 0).toString(16)} are not for ${map.typeName} in Linux 4.19`);
    if (map.typeName === 'lpm_trie' && (map.flags & MapFlag.NO_PREALLOC) === 0) {
      add('map-flags', 'an lpm_trie needs BPF_F_NO_PREALLOC');
    }
  }

  /** By name only: types have no lines. */
  types(btf: Btf): void {
    for (const [kind, since] of Object.entries(NEWER_BTF_KINDS)) {
      for (const { name } of btf.ofKind(kind as keyof typeof NEWER_BTF_KINDS)) {
        const message = `type "${name}" is of the BTF kind ${kind}, since ${since}`;
        this.violations.push({ rule: 'btf-kind', message });
      }
    }
  }

  #controlFlow(program: FunctionSpec, where: FunctionSpec): void {
    const { backEdges, escapes, unreachable } = walk(where.instructions);
    for (const { from, to } of backEdges) {
      const message = `jump from instruction ${from} back to ${to} is a loop: unroll it`;
      this.#report.add('loop', program, where, from, message);
    }
    for (const index of escapes)
      this.#report.add('escape', program, where, index, 'control runs out of the function');
    for (const index of unreachable) {
      this.#report.add('unreachable', program, where, index, `nothing leads to instruction ${index}`);
    }
  }

  #instruction(
    program: FunctionSpec,
    where: FunctionSpec,
    instruction: Instruction,
    index: number,
    hasCalls: boolean,
  ): void {
    const report = (rule: FloorRule, message: string): void =>
      this.#report.add(rule, program, where, index, message);
    const newer = newerInstruction(instruction);
    if (newer !== undefined) report('instruction', newer);
    const relocation = where.relocations.get(index);
    const reference = newerReference(instruction);
    if (reference !== undefined) report('reference', reference);
    else if (relocation !== undefined) this.#relocation(relocation, instruction, report);
    if (instruction.code === BPF_CALL && instruction.src === 0) {
      this.#helper(program, instruction.imm, report);
      if (instruction.imm === TAIL_CALL && hasCalls) {
        report('tail-call', 'a program that makes tail calls may not call BPF functions before Linux 5.10');
      }
    }
  }

  #helper(program: FunctionSpec, id: number, report: (rule: FloorRule, message: string) => void): void {
    const type = sectionProgramType(program.section);
    if (id > LAST_HELPER || id <= 0) {
      report('helper', `${helperName(id)} is not in Linux 4.19, whose last is ${helperName(LAST_HELPER)}`);
    } else if (!allowsHelper(type, id)) {
      report('helper', `${helperName(id)} is not for programs of type ${type} in Linux 4.19`);
    }
  }

  #relocation(
    { symbol }: ElfRelocation,
    { code }: Instruction,
    report: (rule: FloorRule, message: string) => void,
  ): void {
    if (symbol.section === 0) {
      report(
        'extern',
        `${symbol.name} is outside the object: kernel symbols and configuration need BTF of the kernel`,
      );
      return;
    }
    const section = symbol.section < SHN_LORESERVE ? this.#elf.sections[symbol.section] : undefined;
    if (code !== BPF_LD_IMM64 || section === undefined || section.name === '.maps') return;
    if ((section.flags & BigInt(SHF_EXECINSTR)) !== 0n)
      report('reference', 'address of a function, since Linux 5.13');
    else
      report(
        'global-data',
        `${symbol.name || 'a constant'} is in ${section.name}: global data, since Linux 5.2`,
      );
  }

  #coreRelocations(program: FunctionSpec, where: FunctionSpec): void {
    const end = where.offset + where.instructions.length * 8;
    for (const offset of this.#ext?.coreRelocations.get(where.section) ?? []) {
      if (offset < where.offset || offset >= end) continue;
      const message = 'CO-RE relocation: it needs BTF of the kernel, since Linux 5.2';
      this.#report.add('core-relocation', program, where, (offset - where.offset) >> 3, message);
    }
  }

  /** Follows every chain of calls from the program down, but none that a longer and deeper one has covered. */
  #chain(program: FunctionSpec, chain: FunctionSpec[], above: number): void {
    const where = chain.at(-1) ?? program;
    const covered = this.#covered.get(where) ?? [];
    if (covered.some((walk) => walk.frames >= chain.length && walk.above >= above)) return;
    this.#covered.set(where, [...covered, { frames: chain.length, above }]);
    const { bytes, index } = this.#stackDepth(where);
    const at = Math.max(index, 0);
    const names = chain.map((each) => each.name).join(' → ');
    const sum = above + Math.ceil(Math.max(bytes, 1) / FRAME_ROUNDING) * FRAME_ROUNDING;
    if (bytes > MAX_STACK) {
      this.#report.add('stack', program, where, at, `${bytes} bytes of stack, ${MAX_STACK} exist`);
    } else if (sum > MAX_STACK) {
      this.#report.add(
        'stack',
        program,
        where,
        at,
        `${names} take ${sum} bytes of stack, ${MAX_STACK} exist`,
      );
      return;
    }
    for (const { index: call, callee } of where.calls) {
      if (chain.includes(callee)) {
        this.#report.add('recursion', program, where, call, `${names} → ${callee.name} is a recursion`);
      } else if (chain.length >= MAX_FRAMES) {
        const message = `${names} → ${callee.name} are ${chain.length + 1} frames, ${MAX_FRAMES} exist`;
        this.#report.add('call-depth', program, where, call, message);
      } else {
        this.#chain(program, [...chain, callee], sum);
      }
    }
  }

  #stackDepth(where: FunctionSpec): StackDepth {
    const depth = this.#depths.get(where) ?? stackDepth(where.instructions);
    this.#depths.set(where, depth);
    return depth;
  }

  #firstUse(map: string, programs: FunctionSpec[]): Partial<Violation> {
    for (const program of programs) {
      for (const where of reachable(program)) {
        for (const [index, { symbol }] of where.relocations) {
          if (symbol.name === map) return this.#report.place(program, where, index);
        }
      }
    }
    return {};
  }
}
