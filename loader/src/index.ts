// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The public surface of libbpf-ts. */

// Object files: ELF, BTF, layouts, generated TypeScript. Needs neither root nor libbpf.
export * from './btf.js';
export * from './btf-ext.js';
export { type Clang, findClang } from './clang.js';
export * from './codec.js';
export { type CompileOptions, type CompileResult, compileBpf, type Flavour } from './compile.js';
// The kernel: objects, maps, programs, pins. Needs libbpf and, for most of it, root.
export { possibleCpus } from './cpus.js';
export * from './elf.js';
export * from './errors.js';
export type { BpfKind } from './fd.js';
export { checkFloor, type FloorRule, programSizes, type Violation } from './floor.js';
export { countInstructions, type FunctionSpec, readFunctions } from './function-spec.js';
export { type GenerateOptions, generateLayouts } from './generate.js';
export type { MapInfo, ProgramInfo } from './info.js';
export { isPerCpu, MapFlag, type MapType, type ProgramType } from './kernel-types.js';
export * from './layout.js';
export { type Batch, BpfMap, type FromFdOptions, type MapOptions, type SetMode } from './map.js';
export { batchSupported } from './map-batch.js';
export * from './map-spec.js';
export { MemoryMap } from './memory-map.js';
export { BpfObject, type ObjectOptions } from './object.js';
export { ObjectMap } from './object-map.js';
export {
  BPFFS_PATH,
  ensurePinDirectory,
  isBpffs,
  listPins,
  mountBpffs,
  type Pin,
  pinKind,
  removePin,
  removePinDirectory,
} from './pin.js';
export { BpfProgram } from './program.js';
export * from './shape.js';
export type { TestRunOptions, TestRunResult } from './test-run.js';
export { be16, be32, bytes, TypedMap, u32, u64 } from './typed-map.js';
