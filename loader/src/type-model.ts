// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Gathers what bpf2ts writes: structs, enums, constants and maps of one or several objects, with their docs. */
import type { Btf } from './btf.js';
import { readBtf } from './btf-parser.js';
import { type CDocs, readCDocs } from './c-docs.js';
import { parseElf } from './elf.js';
import { LayoutError } from './errors.js';
import { Layouts } from './layout.js';
import { type MapSpec, readMapSpecs } from './map-spec.js';
import { type EnumLayout, type StructLayout, typeText, type ValueType } from './struct-layout.js';

export interface ObjectFile {
  /** For errors. */
  name: string;
  bytes: Uint8Array;
}

export interface MapModel {
  spec: MapSpec;
  key: ValueType;
  value: ValueType;
}

export interface TypeModel {
  /** Each sorted by name. */
  structs: StructLayout[];
  enums: EnumLayout[];
  constants: { name: string; value: bigint }[];
  maps: MapModel[];
  /** Comment of "struct flow", "flow.deadline", "ct_dir.CT_DIR_REPLY", a map or a constant; decl tags come first. */
  doc(key: string, tags?: string[]): string | undefined;
}

/** An enum of this name carries one constant out to TypeScript: what follows the prefix. */
const CONSTANT_PREFIX = 'export_const_';

/**
 * Every struct and enum that a map or a global variable of the objects holds or points to.
 * @param headers texts of C headers, for the comments
 * @throws FormatError, LayoutError (also if two objects disagree on a type)
 */
export function readTypeModel(objects: ObjectFile[], headers: string[] = []): TypeModel {
  const structs = new Map<string, StructLayout>();
  const enums = new Map<string, EnumLayout>();
  const maps = new Map<string, MapModel>();
  for (const object of objects) {
    const btf = readBtf(parseElf(object.bytes));
    if (btf === undefined)
      throw new LayoutError(`Cannot read layouts of ${object.name}: no BTF, compile with -g`);
    const layouts = new Layouts(btf);
    for (const id of roots(btf)) layouts.of(id);
    for (const spec of readMapSpecs(btf))
      add(maps, spec.name, readMapModel(spec, layouts), mapText, object.name);
    for (const struct of layouts.structs.values()) add(structs, struct.name, struct, structText, object.name);
    for (const each of layouts.enums.values()) add(enums, each.name, each, enumText, object.name);
  }
  const docs: CDocs = new Map(headers.flatMap((text) => [...readCDocs(text)]).reverse());
  const isConstant = (each: EnumLayout): boolean => each.name.startsWith(CONSTANT_PREFIX);
  return {
    structs: sorted(structs),
    enums: sorted(enums).filter((each) => !isConstant(each)),
    constants: sorted(enums)
      .filter(isConstant)
      .map((each) => ({ name: each.name.slice(CONSTANT_PREFIX.length), value: each.values[0]?.value ?? 0n })),
    maps: sorted(maps),
    doc: (key, tags = []) => tags.find((tag) => tag.startsWith('doc:'))?.slice(4) ?? docs.get(key),
  };
}

/** Types of the global variables: structs and enums, themselves, in arrays or behind one pointer. */
function roots(btf: Btf): number[] {
  const ids: number[] = [];
  for (const section of btf.ofKind('datasec')) {
    if (section.name === '.maps') continue;
    for (const entry of section.entries) {
      const variable = btf.type(entry.type);
      if (variable.kind !== 'var') continue;
      const outer = btf.resolve(variable.type);
      const id = outer.kind === 'ptr' ? outer.type : outer.kind === 'array' ? outer.element : variable.type;
      if (['struct', 'enum', 'enum64'].includes(btf.resolve(id).kind)) ids.push(id);
    }
  }
  return ids;
}

function readMapModel(spec: MapSpec, layouts: Layouts): MapModel {
  const side = (id: number | undefined, size = 0): ValueType => {
    if (id !== undefined) return layouts.of(id, spec.name);
    return size === 4 ? { kind: 'scalar', size, scalar: 'u32' } : { kind: 'bytes', size };
  };
  const inner = spec.typeName.endsWith('_of_maps');
  return {
    spec,
    key: side(spec.key, spec.keySize),
    value: inner ? side(undefined, 4) : side(spec.value, spec.valueSize),
  };
}

function add<T>(all: Map<string, T>, name: string, item: T, text: (item: T) => string, object: string): void {
  const known = all.get(name);
  if (known !== undefined && text(known) !== text(item)) {
    throw new LayoutError(
      `Cannot merge layouts: ${name} in ${object} differs from the one in an earlier object`,
    );
  }
  all.set(name, known ?? item);
}

function structText({ size, fields }: StructLayout): string {
  return [size, ...fields.map((field) => `${field.name} ${field.offset} ${typeText(field.type)}`)].join();
}

function enumText({ size, values }: EnumLayout): string {
  return [size, ...values.map((each) => `${each.name} ${each.value}`)].join();
}

function mapText({ spec, key, value }: MapModel): string {
  return [spec.type, spec.maxEntries, spec.flags, typeText(key), typeText(value)].join();
}

function sorted<T>(items: Map<string, T>): T[] {
  return [...items].sort(([a], [b]) => (a < b ? -1 : 1)).map(([, item]) => item);
}
