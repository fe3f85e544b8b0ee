// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * The functions of an object as they stand in the file: instructions, and what they call.
 * Functions outside .text are programs; those in .text are subprograms, which libbpf appends to each
 * program that reaches them, once. That sum is what the kernel counts.
 */
import {
  type ElfObject,
  type ElfRelocation,
  type ElfSection,
  SHF_EXECINSTR,
  SHT_PROGBITS,
  STT_FUNC,
} from './elf.js';
import { FormatError } from './errors.js';

/** One slot of eight bytes; BPF_LD_IMM64 takes two, the second with code 0. */
export interface Instruction {
  code: number;
  dst: number;
  src: number;
  off: number;
  imm: number;
}

export interface FunctionSpec {
  name: string;
  section: string;
  /** Whether it is a program: what the kernel runs on its own. */
  isProgram: boolean;
  /** Where it begins in its section, in bytes. */
  offset: number;
  instructions: Instruction[];
  /** Relocations by index of the instruction. */
  relocations: Map<number, ElfRelocation>;
  /** BPF-to-BPF calls and addresses of functions taken, in order. */
  calls: Call[];
}

export interface Call {
  /** Index of the calling instruction. */
  index: number;
  callee: FunctionSpec;
  /** Its address is taken, for a helper to call it back. */
  isCallback: boolean;
}

export const BPF_CALL = 0x85;
export const BPF_LD_IMM64 = 0x18;
/** src of a call to another BPF function, of one to a kernel function. */
export const BPF_PSEUDO_CALL = 1;
export const BPF_PSEUDO_KFUNC_CALL = 2;

/**
 * All functions of an object, programs first, each sorted by name.
 * @throws FormatError if a function does not lie in its section or a call leads to no function
 */
export function readFunctions(elf: ElfObject): FunctionSpec[] {
  const places = new Map<string, FunctionSpec>();
  for (const symbol of elf.symbols) {
    const section = elf.sections[symbol.section];
    if (symbol.type !== STT_FUNC || section === undefined || !isCode(section)) continue;
    if (symbol.value % 8 !== 0 || symbol.size % 8 !== 0 || symbol.value + symbol.size > section.data.length) {
      throw new FormatError('ELF', 0, `function ${symbol.name} does not lie in section ${section.name}`);
    }
    const relocations = new Map<number, ElfRelocation>();
    for (const each of elf.relocations.get(section.index) ?? []) {
      const inside = each.offset >= symbol.value && each.offset < symbol.value + symbol.size;
      if (inside) relocations.set((each.offset - symbol.value) >> 3, each);
    }
    places.set(`${section.index} ${symbol.value}`, {
      name: symbol.name,
      section: section.name,
      isProgram: section.name !== '.text',
      offset: symbol.value,
      instructions: decode(section, symbol.value, symbol.size, elf.littleEndian),
      relocations,
      calls: [],
    });
  }
  for (const [place, each] of places) each.calls = findCalls(each, Number(place.split(' ')[0]), places, elf);
  const rank = (each: FunctionSpec): string => `${each.isProgram ? 0 : 1} ${each.name}`;
  return [...places.values()].sort((a, b) => (rank(a) < rank(b) ? -1 : 1));
}

/** The function and all that it reaches by calls. */
export function reachable(from: FunctionSpec): Set<FunctionSpec> {
  const found = new Set([from]);
  for (const each of found) for (const call of each.calls) found.add(call.callee);
  return found;
}

/** Instructions of a program as the kernel counts them: its own and those of all subprograms that it reaches. */
export function countInstructions(program: FunctionSpec): number {
  let count = 0;
  for (const each of reachable(program)) count += each.instructions.length;
  return count;
}

function isCode(section: ElfSection): boolean {
  return section.type === SHT_PROGBITS && (section.flags & BigInt(SHF_EXECINSTR)) !== 0n;
}

function decode(section: ElfSection, offset: number, size: number, littleEndian: boolean): Instruction[] {
  const { buffer, byteOffset } = section.data;
  const view = new DataView(buffer, byteOffset + offset, size);
  return Array.from({ length: size / 8 }, (_, i) => {
    const registers = view.getUint8(i * 8 + 1);
    return {
      code: view.getUint8(i * 8),
      dst: littleEndian ? registers & 15 : registers >> 4,
      src: littleEndian ? registers >> 4 : registers & 15,
      off: view.getInt16(i * 8 + 2, littleEndian),
      imm: view.getInt32(i * 8 + 4, littleEndian),
    };
  });
}

function findCalls(
  from: FunctionSpec,
  sectionIndex: number,
  places: Map<string, FunctionSpec>,
  elf: ElfObject,
): Call[] {
  const calls: Call[] = [];
  from.instructions.forEach((instruction, index) => {
    const relocation = from.relocations.get(index);
    const place = targetPlace(from, sectionIndex, index, instruction, relocation, elf);
    if (place === undefined) return;
    const callee = places.get(place);
    if (callee === undefined) {
      throw new FormatError('ELF', from.offset + index * 8, `${from.name} calls what is no function`);
    }
    calls.push({ index, callee, isCallback: instruction.code === BPF_LD_IMM64 });
  });
  return calls;
}

/** "section offset" of the function that an instruction calls or takes the address of. */
function targetPlace(
  from: FunctionSpec,
  sectionIndex: number,
  index: number,
  instruction: Instruction,
  relocation: ElfRelocation | undefined,
  elf: ElfObject,
): string | undefined {
  const symbol = relocation?.symbol;
  if (instruction.code === BPF_CALL && instruction.src === BPF_PSEUDO_CALL) {
    // an undefined symbol is a kernel function or one that a linker would add: not ours
    if (symbol !== undefined) {
      return symbol.section === 0
        ? undefined
        : `${symbol.section} ${symbol.value + (instruction.imm + 1) * 8}`;
    }
    return `${sectionIndex} ${from.offset + (index + instruction.imm + 1) * 8}`;
  }
  if (instruction.code !== BPF_LD_IMM64 || symbol === undefined) return undefined;
  const section = elf.sections[symbol.section];
  return section !== undefined && isCode(section)
    ? `${symbol.section} ${symbol.value + instruction.imm}`
    : undefined;
}
