// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The object files as the build made them, loaded and linked by tail calls, attached to nothing.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { BpfObject, TypedMap, u32 } from 'libbpf-ts';
import { Call } from '../../../src/generated/layouts.gen.js';

const ROOT = fileURLToPath(new URL('../../../..', import.meta.url));
/** Folder of the build's object files. */
export const OBJECTS = process.env.CTNAT_BPF_OBJECTS ?? `${ROOT}/build/bpf`;

/** Every flavour that was built, or those that CTNAT_FLAVOURS names. */
export function flavours(): string[] {
  const asked = process.env.CTNAT_FLAVOURS?.split(',');
  const known = asked ?? ['floor', 'v5_3', 'v5_8', 'v5_13'];
  return known.filter((flavour) => asked || existsSync(`${OBJECTS}/${flavour}/ctnat.bpf.o`));
}

/** Opens an object file that the build makes. @throws if it was not built */
export function openBuilt(path: string, objects = OBJECTS): BpfObject {
  const file = `${objects}/${path}`;
  if (!existsSync(file))
    throw new Error(`Cannot test the datapath: ${file} was not built (run "make build")`);
  return BpfObject.open(file);
}

export interface DatapathSize {
  /** Room for so many flows of each family. */
  flows4: number;
  flows6: number;
  objects?: string;
}

/** Loads a flavour, sized as attaching sizes it. The caller closes it. */
export function loadDatapath(flavour: string, { flows4, flows6, objects }: DatapathSize): BpfObject {
  const object = openBuilt(`${flavour}/ctnat.bpf.o`, objects);
  object.map('flows4').setMaxEntries(flows4);
  object.map('flows6').setMaxEntries(flows6);
  object.map('tuples4').setMaxEntries(flows4 * 2);
  object.map('tuples6').setMaxEntries(flows6 * 2);
  object.load();
  const calls = new TypedMap(object.map('calls').map, u32, u32);
  for (const [name, index] of Object.entries(Call)) {
    calls.set(index, object.program(`call_${name.toLowerCase()}4`).fd);
    calls.set(index + 1, object.program(`call_${name.toLowerCase()}6`).fd);
  }
  return object;
}
