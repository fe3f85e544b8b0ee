// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * From BTF types to layouts: where each field of a struct is, how large, in which byte order.
 * The result is pure data (struct-layout.ts).
 *
 * Decided here: typedefs __be16/32/64 (and __le16/32/64) fix the byte order, everything else is the host's;
 * char[N] is text; a pointer is a u64; a union is bytes; an unnamed struct's fields are its parent's;
 * fields named pad or reserved are padding. Bit fields and unnamed unions have no layout.
 */
import type { Btf, BtfMember, BtfOf, BtfType } from './btf.js';
import { LayoutError } from './errors.js';
import {
  type EnumLayout,
  type Field,
  type ScalarName,
  type StructLayout,
  typeText,
  type ValueType,
} from './struct-layout.js';

/** Types inside types, no more: deeper ones are an attack on the stack. */
const MAX_DEPTH = 16;

/** Layouts of one object's types. Structs and enums are collected as they are met. */
export class Layouts {
  readonly structs = new Map<string, StructLayout>();
  readonly enums = new Map<string, EnumLayout>();
  readonly #btf: Btf;
  readonly #open = new Set<number>();

  constructor(btf: Btf) {
    this.#btf = btf;
  }

  /**
   * How values of a type lie in memory. What it consists of is then in `structs` and `enums`.
   * @param name for a struct that has none of its own
   * @throws LayoutError for what has no size or cannot be decoded: void, functions, bit fields
   */
  of(id: number, name = ''): ValueType {
    if (this.#open.has(id)) throw new LayoutError(`Cannot lay out type ${name || id}: it contains itself`);
    if (this.#open.size > MAX_DEPTH)
      throw new LayoutError(`Cannot lay out type ${name || id}: nested too deeply`);
    this.#open.add(id);
    try {
      return this.#lay(id, name);
    } finally {
      this.#open.delete(id);
    }
  }

  /**
   * The struct of that tag.
   * @throws LayoutError if there is none
   */
  struct(name: string): StructLayout {
    const known = this.structs.get(name);
    if (known !== undefined) return known;
    const type = this.#btf.find('struct', name);
    if (type !== undefined) this.of(type.id);
    const layout = this.structs.get(name);
    if (layout === undefined)
      throw new LayoutError(`Cannot lay out struct ${name}: the object's BTF has none`);
    return layout;
  }

  #lay(id: number, name: string): ValueType {
    const ordered = this.#byteOrderTypedef(id);
    if (ordered !== undefined) return ordered;
    const type = this.#btf.resolve(id);
    switch (type.kind) {
      case 'int':
        return intType(type, name);
      case 'float':
        if (type.size !== 4 && type.size !== 8) break;
        return { kind: 'scalar', size: type.size, scalar: type.size === 4 ? 'f32' : 'f64' };
      case 'ptr':
        return { kind: 'scalar', size: 8, scalar: 'u64' };
      case 'enum':
      case 'enum64':
        return this.#enum(type, this.#nameOf(id, type.name));
      case 'union':
        return { kind: 'bytes', size: type.size };
      case 'struct':
        return this.#struct(type, this.#nameOf(id, type.name) || name);
      case 'array': {
        const item = this.#btf.resolve(type.element);
        if (item.kind === 'int' && item.name === 'char') return { kind: 'text', size: type.length };
        const element = this.of(type.element, name);
        return { kind: 'array', size: element.size * type.length, element, length: type.length };
      }
    }
    throw new LayoutError(
      `Cannot lay out ${name || type.name || 'a type'}: ${type.kind} holds no value of known size`,
    );
  }

  /** An unnamed struct or enum takes the name of the nearest typedef. */
  #nameOf(id: number, own: string): string {
    let name = own;
    for (let type = this.#btf.type(id); name === '' && 'type' in type; type = this.#btf.type(type.type)) {
      if (type.kind === 'typedef') name = type.name;
    }
    return name;
  }

  #byteOrderTypedef(id: number): ValueType | undefined {
    let type: BtfType = this.#btf.type(id);
    for (let steps = 0; 'type' in type && type.kind !== 'ptr' && steps < 64; steps++) {
      const match = /^__([bl]e)(16|32|64)$/.exec(type.kind === 'typedef' ? type.name : '');
      if (match !== null) {
        const scalar = `${match[1]}${match[2]}` as ScalarName;
        return { kind: 'scalar', size: Number(match[2]) / 8, scalar };
      }
      type = this.#btf.type(type.type);
    }
    return undefined;
  }

  #enum(type: BtfOf<'enum' | 'enum64'>, name: string): ValueType {
    if (![1, 2, 4, 8].includes(type.size)) {
      throw new LayoutError(`Cannot lay out enum ${name}: ${type.size} bytes`);
    }
    const scalar = `${type.signed ? 'i' : 'u'}${type.size * 8}` as ScalarName;
    if (name === '') return { kind: 'scalar', size: type.size, scalar };
    this.enums.set(name, { name, size: type.size, values: type.values, tags: this.#btf.tags(type.id) });
    return { kind: 'scalar', size: type.size, scalar, enumName: name };
  }

  #struct(type: BtfOf<'struct' | 'union'>, name: string): ValueType {
    if (name === '') throw new LayoutError('Cannot lay out a struct that has no name: give it a tag');
    const value: ValueType = { kind: 'struct', size: type.size, name };
    const known = this.structs.get(name);
    const fields = this.#fields(type, name, 0).sort((a, b) => a.offset - b.offset);
    const layout = {
      name,
      size: type.size,
      fields,
      gaps: findGaps(name, type.size, fields),
      tags: this.#btf.tags(type.id),
    };
    if (known !== undefined && !sameLayout(known, layout)) {
      throw new LayoutError(`Cannot lay out struct ${name}: the object has two different ones`);
    }
    this.structs.set(name, layout);
    return value;
  }

  #fields(type: BtfOf<'struct' | 'union'>, name: string, base: number): Field[] {
    return type.members.flatMap((member, index) => {
      const offset = base + byteOffset(member, name);
      const inner = this.#btf.resolve(member.type);
      if (member.name === '' && inner.kind === 'struct')
        return this.#unnamed(member.type, inner, name, offset);
      if (member.name === '') {
        throw new LayoutError(
          `Cannot lay out struct ${name}: its ${inner.kind} at byte ${offset} has no name`,
        );
      }
      const fieldType = this.of(member.type, `${name}_${member.name}`);
      const padding = fieldType.size === 0 || /^_*(pad|padding|reserved)\d*$/.test(member.name);
      return [{ name: member.name, offset, type: fieldType, padding, tags: this.#btf.tags(type.id, index) }];
    });
  }

  #unnamed(id: number, inner: BtfOf<'struct' | 'union'>, name: string, offset: number): Field[] {
    if (this.#open.has(id)) throw new LayoutError(`Cannot lay out struct ${name}: it contains itself`);
    this.#open.add(id);
    try {
      return this.#fields(inner, name, offset);
    } finally {
      this.#open.delete(id);
    }
  }
}

function sameLayout(a: StructLayout, b: StructLayout): boolean {
  const text = (layout: StructLayout): string =>
    `${layout.size} ${layout.fields.map((f) => `${f.name} ${f.offset} ${typeText(f.type)}`).join()}`;
  return text(a) === text(b);
}

function intType(type: BtfOf<'int'>, name: string): ValueType {
  if (type.bits !== type.size * 8) {
    throw new LayoutError(`Cannot lay out ${name || type.name}: ${type.bits} bits in ${type.size} bytes`);
  }
  if (type.encoding === 'bool' && type.size === 1) return { kind: 'scalar', size: 1, scalar: 'bool' };
  if (![1, 2, 4, 8].includes(type.size)) return { kind: 'bytes', size: type.size };
  return { kind: 'scalar', size: type.size, scalar: `${type.signed ? 'i' : 'u'}${type.bits}` as ScalarName };
}

function byteOffset(member: BtfMember, struct: string): number {
  if (member.bitfieldSize !== 0 || member.bitOffset % 8 !== 0) {
    throw new LayoutError(
      `Cannot lay out struct ${struct}: ${member.name} is a bit field; use a flags field`,
    );
  }
  return member.bitOffset / 8;
}

function findGaps(name: string, size: number, fields: Field[]): { offset: number; size: number }[] {
  const gaps: { offset: number; size: number }[] = [];
  let end = 0;
  for (const field of fields) {
    if (field.offset < end)
      throw new LayoutError(`Cannot lay out struct ${name}: ${field.name} overlaps its neighbour`);
    if (field.offset > end) gaps.push({ offset: end, size: field.offset - end });
    end = field.offset + field.type.size;
    if (end > size)
      throw new LayoutError(`Cannot lay out struct ${name}: ${field.name} ends beyond its ${size} bytes`);
  }
  if (end < size) gaps.push({ offset: end, size: size - end });
  return gaps;
}
