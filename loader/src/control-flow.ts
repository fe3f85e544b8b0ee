// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Where control goes within a function, and the walk by which kernels before 5.3 look for loops (check_cfg,
 * kernel/bpf/verifier.c): depth first, an edge to an instruction that is still on the way is a loop. A jump backwards
 * to code that does not lead here again is none.
 */
import { BPF_CALL, BPF_LD_IMM64, type Instruction } from './function-spec.js';

const JMP = 5;
const JMP32 = 6;
const OP_JA = 0x00;
const OP_CALL = 0x80;
const OP_EXIT = 0x90;

/** Indices of the instructions that may come after one, the fall-through first. */
export function successors(instructions: Instruction[], index: number): number[] {
  const instruction = instructions[index];
  if (instruction === undefined) return [];
  const { code, off, imm } = instruction;
  const operation = code & 0xf0;
  const kind = code & 7;
  if (code === BPF_LD_IMM64) return [index + 2];
  if (code === BPF_CALL || (kind !== JMP && kind !== JMP32)) return [index + 1];
  if (operation === OP_EXIT) return [];
  if (operation === OP_CALL) return [index + 1];
  if (operation === OP_JA) return [index + 1 + (kind === JMP32 ? imm : off)];
  return [index + 1, index + 1 + off];
}

export interface ControlFlow {
  /** Instructions whose jump, or fall-through, closes a loop, with its target. */
  backEdges: { from: number; to: number }[];
  /** Instructions from which control leaves the function otherwise than by exit. */
  escapes: number[];
  /** First instructions of the runs that nothing leads to. */
  unreachable: number[];
}

/** Walks a function from its first instruction. */
export function walk(instructions: Instruction[]): ControlFlow {
  const flow: ControlFlow = { backEdges: [], escapes: [], unreachable: [] };
  const UNSEEN = 0;
  const ON_THE_WAY = 1;
  const DONE = 2;
  const state = new Uint8Array(instructions.length);
  const way: { at: number; next: number[] }[] = [];
  const enter = (at: number): void => {
    state[at] = ON_THE_WAY;
    way.push({ at, next: successors(instructions, at) });
  };
  if (instructions.length > 0) enter(0);
  for (let top = way.at(-1); top !== undefined; top = way.at(-1)) {
    const to = top.next.shift();
    if (to === undefined) {
      state[top.at] = DONE;
      way.pop();
    } else if (to < 0 || to >= instructions.length) flow.escapes.push(top.at);
    else if (state[to] === UNSEEN) enter(to);
    else if (state[to] === ON_THE_WAY) flow.backEdges.push({ from: top.at, to });
  }
  let inRun = false;
  instructions.forEach((_, index) => {
    const second = instructions[index - 1]?.code === BPF_LD_IMM64 && state[index - 1] !== UNSEEN;
    const missing = state[index] === UNSEEN && !second;
    if (missing && !inRun) flow.unreachable.push(index);
    inRun = missing;
  });
  return flow;
}
