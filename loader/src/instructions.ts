// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** A few BPF instructions as bytes, enough to ask the kernel's verifier questions. RFC 9669, section 3. */

const REGISTERS = { r0: 0, r1: 1, r2: 2, r3: 3, r10: 10 } as const;
type Register = keyof typeof REGISTERS;

const PSEUDO_MAP_VALUE = 2;
const PSEUDO_KFUNC_CALL = 2;

function encode(code: number, dst: number, src: number, offset: number, immediate: number): Buffer {
  const bytes = Buffer.alloc(8);
  bytes[0] = code;
  bytes[1] = (src << 4) | dst;
  bytes.writeInt16LE(offset, 2);
  bytes.writeInt32LE(immediate, 4);
  return bytes;
}

/** dst = immediate */
export function move(dst: Register, immediate: number): Buffer {
  return encode(0xb7, REGISTERS[dst], 0, 0, immediate);
}

/** dst = src */
export function copy(dst: Register, src: Register): Buffer {
  return encode(0xbf, REGISTERS[dst], REGISTERS[src], 0, 0);
}

/** dst += immediate */
export function add(dst: Register, immediate: number): Buffer {
  return encode(0x07, REGISTERS[dst], 0, 0, immediate);
}

/** Jumps over `offset` instructions (back if negative) if dst < immediate, unsigned. */
export function jumpIfLess(dst: Register, immediate: number, offset: number): Buffer {
  return encode(0xa5, REGISTERS[dst], 0, offset, immediate);
}

/** Jumps over `offset` instructions if the lower half of dst is the immediate: of the class JMP32 (-mcpu=v3). */
export function jumpIfEqual32(dst: Register, immediate: number, offset: number): Buffer {
  return encode(0x16, REGISTERS[dst], 0, offset, immediate);
}

/** *(u64 *)(dst + offset) = immediate */
export function store(dst: Register, offset: number, immediate: number): Buffer {
  return encode(0x7a, REGISTERS[dst], 0, offset, immediate);
}

/** dst = *(u32 *)(src + offset) */
export function load(dst: Register, src: Register, offset: number): Buffer {
  return encode(0x61, REGISTERS[dst], REGISTERS[src], offset, 0);
}

/** src = what *(u64 *)(dst + offset) was; it grows by src, in one step. */
export function fetchAdd(dst: Register, offset: number, src: Register): Buffer {
  return encode(0xdb, REGISTERS[dst], REGISTERS[src], offset, 0x01);
}

/** dst = address of an array's value 0 */
export function loadMapValue(dst: Register, mapFd: number): Buffer {
  return Buffer.concat([encode(0x18, REGISTERS[dst], PSEUDO_MAP_VALUE, 0, mapFd), encode(0, 0, 0, 0, 0)]);
}

/** r0 = helper(r1, ..., r5) */
export function call(helper: number): Buffer {
  return encode(0x85, 0, 0, 0, helper);
}

/** r0 = the kernel's function of this type id of its BTF (r1, ..., r5) */
export function callKernel(typeId: number): Buffer {
  return encode(0x85, 0, PSEUDO_KFUNC_CALL, 0, typeId);
}

/** return r0 */
export function exit(): Buffer {
  return encode(0x95, 0, 0, 0, 0);
}
