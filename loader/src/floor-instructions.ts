// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which instructions Linux 4.19 refuses (do_check and check_alu_op, kernel/bpf/verifier.c). */
import { BPF_CALL, BPF_LD_IMM64, BPF_PSEUDO_KFUNC_CALL, type Instruction } from './function-spec.js';

const LDX = 1;
const STX = 3;
const ALU = 4;
const JMP = 5;
const JMP32 = 6;
const ALU64 = 7;
const MODE_MEM = 0x60;
const MODE_MEMSX = 0x80;
const MODE_ATOMIC = 0xc0;
const OP_DIV = 0x30;
const OP_MOD = 0x90;
const OP_MOV = 0xb0;
const OP_ARSH = 0xc0;
const OP_END = 0xd0;
/** The last conditional jump of 4.19: JSLE. */
const OP_LAST_JUMP = 0xd0;

/** @returns what the instruction is and since which kernel; undefined if 4.19 has it */
export function newerInstruction({ code, off, imm }: Instruction): string | undefined {
  const operation = code & 0xf0;
  switch (code & 7) {
    case JMP32:
      return operation === 0
        ? 'long jump, since Linux 6.6'
        : '32-bit compare and jump, since Linux 5.1 (-mcpu=v3)';
    case JMP:
      return operation > OP_LAST_JUMP ? 'jump that is not in 4.19' : undefined;
    case LDX:
      if ((code & 0xe0) === MODE_MEMSX) return 'sign-extending load, since Linux 6.6 (-mcpu=v4)';
      return (code & 0xe0) === MODE_MEM ? undefined : 'load that is not in 4.19';
    case STX:
      if ((code & 0xe0) === MODE_ATOMIC) {
        return imm === 0 ? undefined : 'atomic operation other than add without result, since Linux 5.12';
      }
      return (code & 0xe0) === MODE_MEM ? undefined : 'store that is not in 4.19';
    case ALU:
    case ALU64:
      return newerArithmetic(code, operation, off);
    default:
      return undefined;
  }
}

function newerArithmetic(code: number, operation: number, off: number): string | undefined {
  const is64 = (code & 7) === ALU64;
  if (operation === OP_ARSH && !is64) return '32-bit arithmetic shift right, since Linux 5.0';
  if (operation === OP_END && is64) return 'unconditional byte swap, since Linux 6.6 (-mcpu=v4)';
  if (operation === OP_MOV && off !== 0) return 'sign-extending move, since Linux 6.6 (-mcpu=v4)';
  if ((operation === OP_DIV || operation === OP_MOD) && off !== 0)
    return 'signed division, since Linux 6.6 (-mcpu=v4)';
  return undefined;
}

/** BPF_PSEUDO_* of a BPF_LD_IMM64 beyond 0 (a number) and 1 (a map), with the kernel that brought it. */
const PSEUDO_LOADS: Record<number, string> = {
  2: 'address in a map value, since Linux 5.2',
  3: 'variable of the kernel, since Linux 5.10',
  4: 'address of a function, since Linux 5.13',
  5: 'map by index, since Linux 5.14',
  6: 'map value by index, since Linux 5.14',
};

/** @returns what a 64-bit load or a call refers to, if 4.19 does not know that kind of reference */
export function newerReference({ code, src }: Instruction): string | undefined {
  if (code === BPF_LD_IMM64 && src > 1) return PSEUDO_LOADS[src] ?? `load of kind ${src}`;
  if (code === BPF_CALL && src === BPF_PSEUDO_KFUNC_CALL)
    return 'call of a kernel function, since Linux 5.13';
  return undefined;
}
