// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** BPF Type Format: an object's types, indexed by type id. btf-parser.ts makes it from bytes. */
import type { ByteReader } from './byte-reader.js';
import { FormatError } from './errors.js';

export interface BtfMember {
  name: string;
  type: number;
  /** From the start of the struct, in bits. */
  bitOffset: number;
  /** 0: not a bit field. */
  bitfieldSize: number;
}

export interface BtfEnumValue {
  name: string;
  value: bigint;
}

export interface BtfParameter {
  name: string;
  type: number;
}

/** A variable (or function, in .ksyms) of a DATASEC; its name is the VAR's. */
export interface BtfSectionEntry {
  type: number;
  offset: number;
  size: number;
}

/** `type`, `target` and the like are type ids; 0 is void. */
export type BtfType =
  | { id: number; kind: 'void'; name: '' }
  | {
      id: number;
      kind: 'int';
      name: string;
      size: number;
      bits: number;
      signed: boolean;
      encoding: IntEncoding;
    }
  | { id: number; kind: 'float'; name: string; size: number }
  | { id: number; kind: BtfReferenceKind; name: string; type: number }
  | { id: number; kind: 'array'; name: ''; element: number; index: number; length: number }
  | { id: number; kind: 'struct' | 'union'; name: string; size: number; members: BtfMember[] }
  | {
      id: number;
      kind: 'enum' | 'enum64';
      name: string;
      size: number;
      signed: boolean;
      values: BtfEnumValue[];
    }
  | { id: number; kind: 'fwd'; name: string; union: boolean }
  | { id: number; kind: 'func'; name: string; type: number; linkage: BtfLinkage }
  | { id: number; kind: 'func_proto'; name: ''; returns: number; parameters: BtfParameter[] }
  | { id: number; kind: 'var'; name: string; type: number; linkage: BtfLinkage }
  | { id: number; kind: 'datasec'; name: string; size: number; entries: BtfSectionEntry[] }
  /** component: index of the member or parameter that is tagged, -1 for the type itself. */
  | { id: number; kind: 'decl_tag'; name: string; type: number; component: number };

export type BtfReferenceKind = 'ptr' | 'typedef' | 'volatile' | 'const' | 'restrict' | 'type_tag';
export type BtfLinkage = 'static' | 'global' | 'extern';
export type IntEncoding = 'number' | 'char' | 'bool';
export type BtfOf<K extends BtfType['kind']> = BtfType & { kind: K };

/** The type graph of an object. */
export class Btf {
  /** Every type; types[id].id === id, types[0] is void. */
  readonly types: readonly BtfType[];
  readonly #strings: ByteReader;

  constructor(types: readonly BtfType[], strings: ByteReader) {
    this.types = types;
    this.#strings = strings;
  }

  /** The type with that id. Ids inside types were checked when they were read. */
  type(id: number): BtfType {
    const type = this.types[id];
    if (type === undefined) throw new FormatError('BTF', 0, `type id ${id} of ${this.types.length}`);
    return type;
  }

  /** All types of a kind, in the order of their ids. */
  ofKind<K extends BtfType['kind']>(...kinds: K[]): BtfOf<K>[] {
    return this.types.filter((type): type is BtfOf<K> => (kinds as string[]).includes(type.kind));
  }

  /** The type of that kind and name. */
  find<K extends BtfType['kind']>(kind: K, name: string): BtfOf<K> | undefined {
    return this.ofKind(kind).find((type) => type.name === name);
  }

  /** Follows typedefs and const, volatile, restrict, type tags to what the value is. */
  resolve(id: number): BtfType {
    let type = this.type(id);
    for (let steps = 0; isModifier(type); steps++) {
      if (steps > MAX_CHAIN) throw new FormatError('BTF', 0, `type ${id} is defined by itself`);
      type = this.type(type.type);
    }
    return type;
  }

  /** The string at an offset into the string section, for .BTF.ext. */
  string(offset: number): string {
    return this.#strings.string(offset);
  }

  /** Texts of the btf_decl_tag attributes of a type, or of its member or parameter `component`. */
  tags(id: number, component = -1): string[] {
    return this.ofKind('decl_tag')
      .filter((tag) => tag.type === id && tag.component === component)
      .map((tag) => tag.name);
  }
}

const MAX_CHAIN = 64;
function isModifier(type: BtfType): type is BtfOf<Exclude<BtfReferenceKind, 'ptr'>> {
  return (
    type.kind === 'typedef' ||
    type.kind === 'volatile' ||
    type.kind === 'const' ||
    type.kind === 'restrict' ||
    type.kind === 'type_tag'
  );
}
