// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The public surface of libbpf-ts. */

// Object files: ELF, BTF, layouts, generated TypeScript. Needs neither root nor libbpf.
export * from './btf.js';
export * from './codec.js';
export * from './elf.js';
export { generateLayouts, type GenerateOptions } from './generate.js';
export * from './layout.js';
export * from './map-spec.js';
export * from './shape.js';
