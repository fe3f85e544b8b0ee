// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * How much stack a function uses: follows the frame pointer r10 and what is made of it by constants through the
 * function, and takes the lowest address that is read, written or handed to a call.
 */
import { successors } from './control-flow.js';
import { BPF_CALL, BPF_LD_IMM64, type Instruction } from './function-spec.js';

export interface StackDepth {
  /** Bytes below the frame pointer. */
  bytes: number;
  /** Index of the instruction that reaches so deep; -1 if the stack is not used. */
  index: number;
}

/** Lowest offset from r10 by register; undefined: no stack address. */
type Registers = (number | undefined)[];

const FRAME_POINTER = 10;
/** An address that a loop moves down is followed no further. */
const BOTTOM = -4096;
const LDX = 1;
const ST = 2;
const STX = 3;
const ALU = 4;
const ALU64 = 7;
const MOV_REGISTER = 0xbf;
const ADD_CONSTANT = 0x07;
const SUB_CONSTANT = 0x17;

/** The deepest use of the stack in one frame. */
export function stackDepth(instructions: Instruction[]): StackDepth {
  const deepest: StackDepth = { bytes: 0, index: -1 };
  const before: (Registers | undefined)[] = [];
  const start: Registers = Array(FRAME_POINTER + 1).fill(undefined);
  start[FRAME_POINTER] = 0;
  before[0] = start;
  const open = [0];
  for (let index = open.pop(); index !== undefined; index = open.pop()) {
    const instruction = instructions[index];
    const registers = before[index];
    if (instruction === undefined || registers === undefined) continue;
    for (const offset of touched(instruction, registers)) {
      if (-offset > deepest.bytes) Object.assign(deepest, { bytes: -offset, index });
    }
    const after = step(instruction, registers);
    for (const next of successors(instructions, index)) {
      const known = before[next];
      const merged = known === undefined ? after : merge(known, after);
      if (known !== undefined && same(known, merged)) continue;
      before[next] = merged;
      open.push(next);
    }
  }
  return deepest;
}

/** Offsets from r10 that an instruction reads, writes or hands on. */
function touched({ code, dst, src, off }: Instruction, registers: Registers): number[] {
  const kind = code & 7;
  const base = kind === LDX ? registers[src] : kind === ST || kind === STX ? registers[dst] : undefined;
  if (base !== undefined) return [base + off];
  if (code !== BPF_CALL) return [];
  return registers.slice(1, 6).filter((offset) => offset !== undefined);
}

function step({ code, dst, src, imm }: Instruction, registers: Registers): Registers {
  const after = registers.slice();
  const kind = code & 7;
  const known = registers[dst];
  if (code === MOV_REGISTER) after[dst] = registers[src];
  else if (code === ADD_CONSTANT && known !== undefined) after[dst] = known + imm;
  else if (code === SUB_CONSTANT && known !== undefined) after[dst] = known - imm;
  else if (code === BPF_CALL) after.fill(undefined, 0, 6);
  else if (kind === ALU || kind === ALU64 || kind === LDX || code === BPF_LD_IMM64) after[dst] = undefined;
  return after;
}

/** The deepest of what two ways bring: the verifier walks both. */
function merge(a: Registers, b: Registers): Registers {
  return a.map((offset, register) => {
    const other = b[register];
    if (offset === undefined || other === undefined) return offset ?? other;
    return Math.max(Math.min(offset, other), BOTTOM);
  });
}

function same(a: Registers, b: Registers): boolean {
  return a.every((offset, register) => offset === b[register]);
}
