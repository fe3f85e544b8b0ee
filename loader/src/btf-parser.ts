// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Reads the .BTF section. Layout: Documentation/bpf/btf.rst; kinds up to ENUM64 (since 6.0) are known.
 * A type id, string offset, size or count that leads nowhere is a FormatError.
 */
import { Btf, type BtfLinkage, type BtfType, type IntEncoding } from './btf.js';
import { ByteReader } from './byte-reader.js';
import { type ElfObject, findSection } from './elf.js';

const MAGIC = 0xeb9f;
/** The kind's number in the file is its index: uapi/linux/btf.h. */
const KINDS = [
  'void',
  'int',
  'ptr',
  'array',
  'struct',
  'union',
  'enum',
  'fwd',
  'typedef',
  'volatile',
  'const',
  'restrict',
  'func',
  'func_proto',
  'var',
  'datasec',
  'float',
  'decl_tag',
  'type_tag',
  'enum64',
] as const;

/**
 * The object's BTF.
 * @returns undefined if it has no .BTF section (compiled without -g)
 * @throws FormatError
 */
export function readBtf(elf: ElfObject): Btf | undefined {
  const section = findSection(elf, '.BTF');
  return section && parseBtf(section.data, elf.littleEndian);
}

/**
 * Parses the bytes of a .BTF section (or of /sys/kernel/btf/vmlinux).
 * @throws FormatError
 */
export function parseBtf(bytes: Uint8Array, littleEndian = true): Btf {
  const reader = new ByteReader(bytes, 'BTF', littleEndian);
  if (reader.u16(0) !== MAGIC) throw reader.error(0, 'no BTF magic');
  if (reader.u8(2) !== 1) throw reader.error(2, `version ${reader.u8(2)} is unknown`);
  const headerSize = reader.u32(4);
  if (headerSize < 24) throw reader.error(4, `header of ${headerSize} bytes`);
  const types = reader.slice(headerSize + reader.u32(8), reader.u32(12), 'BTF types');
  const strings = reader.slice(headerSize + reader.u32(16), reader.u32(20), 'BTF strings');
  return new Btf(readTypes(types, strings), strings);
}

function readTypes(reader: ByteReader, strings: ByteReader): BtfType[] {
  const types: BtfType[] = [{ id: 0, kind: 'void', name: '' }];
  const starts = [0];
  for (let at = 0; at < reader.size; ) {
    starts.push(at);
    const [type, next] = readType(reader, strings, at, types.length);
    types.push(type);
    at = next;
  }
  for (const type of types) {
    for (const id of references(type)) {
      if (id >= types.length)
        throw reader.error(starts[type.id] ?? 0, `type ${type.id} refers to ${id} of ${types.length}`);
    }
  }
  return types;
}

/** @returns the type and the offset of the next one */
function readType(reader: ByteReader, strings: ByteReader, at: number, id: number): [BtfType, number] {
  const name = strings.string(reader.u32(at));
  const info = reader.u32(at + 4);
  const sizeOrType = reader.u32(at + 8);
  const count = info & 0xffff;
  const flag = info >>> 31 === 1;
  const kind = KINDS[(info >>> 24) & 0x1f];
  const body = at + 12;
  /** The `count` records of `size` bytes that follow. */
  const list = <T>(size: number, read: (offset: number) => T): T[] => {
    reader.check(body, count * size);
    return Array.from({ length: count }, (_, i) => read(body + i * size));
  };
  const text = (offset: number): string => strings.string(reader.u32(offset));

  switch (kind) {
    case 'int': {
      const data = reader.u32(body);
      const bits = data & 0xff;
      const encoding = (data >>> 24) & 15;
      if (bits === 0 || bits > sizeOrType * 8)
        throw reader.error(at, `int of ${bits} bits in ${sizeOrType} bytes`);
      const as: IntEncoding = encoding & 4 ? 'bool' : encoding & 2 ? 'char' : 'number';
      return [
        { id, kind, name, size: sizeOrType, bits, signed: (encoding & 1) === 1, encoding: as },
        body + 4,
      ];
    }
    case 'float':
      return [{ id, kind, name, size: sizeOrType }, body];
    case 'ptr':
    case 'typedef':
    case 'volatile':
    case 'const':
    case 'restrict':
    case 'type_tag':
      return [{ id, kind, name, type: sizeOrType }, body];
    case 'fwd':
      return [{ id, kind, name, union: flag }, body];
    case 'array': {
      const [element, index, length] = [reader.u32(body), reader.u32(body + 4), reader.u32(body + 8)];
      return [{ id, kind, name: '', element, index, length }, body + 12];
    }
    case 'struct':
    case 'union': {
      const members = list(12, (offset) => {
        const place = reader.u32(offset + 8);
        return {
          name: text(offset),
          type: reader.u32(offset + 4),
          bitOffset: flag ? place & 0xffffff : place,
          bitfieldSize: flag ? place >>> 24 : 0,
        };
      });
      return [{ id, kind, name, size: sizeOrType, members }, body + count * 12];
    }
    case 'enum': {
      const values = list(8, (offset) => {
        const value = flag ? reader.i32(offset + 4) : reader.u32(offset + 4);
        return { name: text(offset), value: BigInt(value) };
      });
      return [{ id, kind, name, size: sizeOrType, signed: flag, values }, body + count * 8];
    }
    case 'enum64': {
      const values = list(12, (offset) => {
        const value = (BigInt(reader.u32(offset + 8)) << 32n) | BigInt(reader.u32(offset + 4));
        return { name: text(offset), value: flag ? BigInt.asIntN(64, value) : value };
      });
      return [{ id, kind, name, size: sizeOrType, signed: flag, values }, body + count * 12];
    }
    case 'func':
      return [{ id, kind, name, type: sizeOrType, linkage: linkage(reader, at, count) }, body];
    case 'func_proto': {
      const parameters = list(8, (offset) => ({ name: text(offset), type: reader.u32(offset + 4) }));
      return [{ id, kind, name: '', returns: sizeOrType, parameters }, body + count * 8];
    }
    case 'var':
      return [{ id, kind, name, type: sizeOrType, linkage: linkage(reader, at, reader.u32(body)) }, body + 4];
    case 'datasec': {
      const entries = list(12, (offset) => ({
        type: reader.u32(offset),
        offset: reader.u32(offset + 4),
        size: reader.u32(offset + 8),
      }));
      return [{ id, kind, name, size: sizeOrType, entries }, body + count * 12];
    }
    case 'decl_tag':
      return [{ id, kind, name, type: sizeOrType, component: reader.i32(body) }, body + 4];
    default:
      throw reader.error(at, `kind ${(info >>> 24) & 0x1f} is unknown`);
  }
}

function linkage(reader: ByteReader, at: number, value: number): BtfLinkage {
  const name = (['static', 'global', 'extern'] as const)[value];
  if (name === undefined) throw reader.error(at, `linkage ${value} is unknown`);
  return name;
}

function references(type: BtfType): number[] {
  switch (type.kind) {
    case 'void':
    case 'int':
    case 'float':
    case 'fwd':
    case 'enum':
    case 'enum64':
      return [];
    case 'array':
      return [type.element, type.index];
    case 'struct':
    case 'union':
      return type.members.map((member) => member.type);
    case 'func_proto':
      return [type.returns, ...type.parameters.map((parameter) => parameter.type)];
    case 'datasec':
      return type.entries.map((entry) => entry.type);
    default:
      return [type.type];
  }
}
