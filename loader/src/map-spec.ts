// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Maps as an object's .maps section defines them (BTF-defined maps, libbpf's __uint and __type macros). */
import type { Btf, BtfMember } from './btf.js';
import { FormatError } from './errors.js';
import { type MapType, mapTypeName } from './kernel-types.js';

export interface MapSpec {
  name: string;
  /** enum bpf_map_type. */
  type: number;
  /** "unspec" if it has no name yet. */
  typeName: MapType;
  /** BTF type ids, where the object gives types and not just sizes. */
  key?: number;
  value?: number;
  keySize?: number;
  valueSize?: number;
  maxEntries: number;
  flags: number;
  /** LIBBPF_PIN_*: 0 none, 1 by name. */
  pinning: number;
  /** Offset in the .maps section. */
  offset: number;
}

/**
 * The maps of an object, by name.
 * @throws FormatError if the definitions are not of the form that libbpf reads
 */
export function readMapSpecs(btf: Btf): MapSpec[] {
  const section = btf.find('datasec', '.maps');
  const specs = section?.entries.map((entry) => {
    const variable = btf.type(entry.type);
    if (variable.kind !== 'var')
      throw new FormatError('BTF', 0, `.maps holds a ${variable.kind}, no variable`);
    return readMap(btf, variable.name, variable.type, entry.offset);
  });
  return (specs ?? []).sort((a, b) => (a.name < b.name ? -1 : 1));
}

function readMap(btf: Btf, name: string, id: number, offset: number): MapSpec {
  const definition = btf.resolve(id);
  if (definition.kind !== 'struct') throw new FormatError('BTF', 0, `map ${name} is defined by no struct`);
  const members = new Map(definition.members.map((member) => [member.name, member]));
  const number = (key: string): number | undefined => {
    const member = members.get(key);
    return member && readUint(btf, name, member);
  };
  const type = number('type') ?? 0;
  const spec: MapSpec = {
    name,
    type,
    typeName: mapTypeName(type),
    maxEntries: number('max_entries') ?? 0,
    flags: number('map_flags') ?? 0,
    pinning: number('pinning') ?? 0,
    offset,
  };
  for (const key of ['key', 'value'] as const) {
    const member = members.get(key);
    if (member !== undefined) spec[key] = pointee(btf, name, member);
    const size = number(`${key}_size`);
    if (size !== undefined) spec[`${key}Size`] = size;
  }
  return spec;
}

/** __uint(name, n) is `int (*name)[n]`. */
function readUint(btf: Btf, map: string, member: BtfMember): number {
  const array = btf.resolve(pointee(btf, map, member));
  if (array.kind !== 'array')
    throw new FormatError('BTF', 0, `map ${map}: ${member.name} is written without __uint`);
  return array.length;
}

/** __type(name, t) is `t *name`. */
function pointee(btf: Btf, map: string, member: BtfMember): number {
  const pointer = btf.resolve(member.type);
  if (pointer.kind !== 'ptr') throw new FormatError('BTF', 0, `map ${map}: ${member.name} is no pointer`);
  return pointer.type;
}
