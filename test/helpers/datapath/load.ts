// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The object files as the build made them, loaded and linked by tail calls, attached to nothing.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BpfObject, TypedMap, u32 } from 'libbpf-ts';
import { type DatapathFlavour, FLAVOURS } from '../../../src/flavours.js';
import { Call } from '../../../src/generated/layouts.gen.js';
import { sizeTables, startIndex } from '../../../src/table-sizes.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
/** Folder of the build's object files. */
export const OBJECTS = process.env.CTNAT_BPF_OBJECTS ?? `${ROOT}/build/bpf`;

/** Every flavour that was built, or those that CTNAT_FLAVOURS names. */
export function flavours(): string[] {
  const asked = process.env.CTNAT_FLAVOURS?.split(',');
  const known = asked ?? FLAVOURS.map(({ name }) => name);
  return known.filter((flavour) => asked || existsSync(`${OBJECTS}/${flavour}/ctnat.bpf.o`));
}

/** Whether the flavour's programs are compiled with a macro; bpf/compiler.h says what each changes. */
export function isCompiledWith(flavour: string, macro: string): boolean {
  const { defines = {} }: DatapathFlavour = FLAVOURS.find(({ name }) => name === flavour)!;
  return macro in defines;
}

/** Opens an object file that the build makes. @throws if it was not built */
export function openBuilt(path: string, objects = OBJECTS): BpfObject {
  const file = `${objects}/${path}`;
  if (!existsSync(file))
    throw new Error(`Cannot test the datapath: ${file} was not built (run "make build")`);
  return BpfObject.open(file);
}

export interface DatapathOptions {
  /** Room for so many flows of IPv6, if it is another. */
  flows6?: number;
  /** Folder of the object files; left out: those of the last build. */
  objects?: string;
}

/** Loads a flavour with room for so many flows of each family, sized as attaching sizes it. The caller closes it. */
export function loadDatapath(flavour: string, flows: number, options: DatapathOptions = {}): BpfObject {
  const object = openBuilt(`${flavour}/ctnat.bpf.o`, options.objects);
  sizeTables(object, flows, options.flows6 ?? flows);
  object.load();
  startIndex(object);
  const calls = new TypedMap(object.map('calls').map, u32, u32);
  for (const [name, index] of Object.entries(Call)) {
    calls.set(index, object.program(`call_${name.toLowerCase()}4`).fd);
    calls.set(index + 1, object.program(`call_${name.toLowerCase()}6`).fd);
  }
  return object;
}
