// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Where the fields of a struct are: what codec.ts reads and writes by, and generate.ts writes TypeScript from. */

/** be/le: that byte order whatever the host's. */
export type ScalarName =
  | `${'u' | 'i'}${8 | 16 | 32 | 64}`
  | `${'be' | 'le'}${16 | 32 | 64}`
  | 'f32'
  | 'f64'
  | 'bool';

export type ValueType =
  /** enumName: the enum of which it is a value. */
  | { kind: 'scalar'; size: number; scalar: ScalarName; enumName?: string }
  | { kind: 'text'; size: number }
  | { kind: 'bytes'; size: number }
  | { kind: 'array'; size: number; element: ValueType; length: number }
  | { kind: 'struct'; size: number; name: string };

export interface Field {
  /** As in C. */
  name: string;
  /** Bytes from the struct's start. */
  offset: number;
  type: ValueType;
  /** Written as zero, never read. */
  padding: boolean;
  /** Texts of its btf_decl_tag attributes. */
  tags: string[];
}

export interface StructLayout {
  /** The C tag; of an unnamed struct its typedef's name or PARENT_FIELD. */
  name: string;
  size: number;
  /** Ascending by offset. */
  fields: Field[];
  /** Bytes that no named field holds: written as zero. */
  gaps: { offset: number; size: number }[];
  tags: string[];
}

export interface EnumLayout {
  name: string;
  size: number;
  values: { name: string; value: bigint }[];
  tags: string[];
}

/** "u32", "be32[4]", "char[16]", "struct tuple4[2]": equal texts are equal layouts of equal meaning. */
export function typeText(type: ValueType): string {
  switch (type.kind) {
    case 'scalar':
      return type.scalar;
    case 'text':
      return `char[${type.size}]`;
    case 'bytes':
      return `union(${type.size})`;
    case 'struct':
      return `struct ${type.name}`;
    case 'array': {
      const lengths: number[] = [];
      let element: ValueType = type;
      for (; element.kind === 'array'; element = element.element) lengths.push(element.length);
      const inner = typeText(element);
      const bracket = inner.indexOf('[') < 0 ? inner.length : inner.indexOf('[');
      return inner.slice(0, bracket) + lengths.map((n) => `[${n}]`).join('') + inner.slice(bracket);
    }
  }
}
