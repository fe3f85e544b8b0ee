// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The .BTF.ext section: which C line and which function an instruction belongs to, and CO-RE relocations. */
import { posix } from 'node:path';
import type { Btf } from './btf.js';
import { ByteReader } from './byte-reader.js';
import { type ElfObject, findSection } from './elf.js';

export interface LineInfo {
  /** Of the first instruction of that line, in bytes from the section's start. */
  offset: number;
  /** As the compiler was given it. */
  file: string;
  /** From 1. */
  line: number;
  /** From 1; 0 if the compiler does not know. */
  column: number;
  /** The line's text. */
  text: string;
}

export interface FunctionInfo {
  offset: number;
  /** Type id of the FUNC. */
  type: number;
}

/** All by name of the section that holds the instructions, ascending by offset. */
export interface BtfExt {
  lines: Map<string, LineInfo[]>;
  functions: Map<string, FunctionInfo[]>;
  /** Offsets of the instructions that libbpf patches with the running kernel's layouts. */
  coreRelocations: Map<string, number[]>;
}

/**
 * The object's .BTF.ext.
 * @returns undefined if it has none
 * @throws FormatError
 */
export function readBtfExt(elf: ElfObject, btf: Btf): BtfExt | undefined {
  const section = findSection(elf, '.BTF.ext');
  return section && parseBtfExt(section.data, btf, elf.littleEndian);
}

/** The line of the instruction at `offset` bytes in a section: the last one that begins at or before it. */
export function lineAt(ext: BtfExt | undefined, section: string, offset: number): LineInfo | undefined {
  return ext?.lines.get(section)?.findLast((line) => line.offset <= offset);
}

/** Parses the bytes of a .BTF.ext section. @throws FormatError */
export function parseBtfExt(bytes: Uint8Array, btf: Btf, littleEndian = true): BtfExt {
  const reader = new ByteReader(bytes, 'BTF.ext', littleEndian);
  if (reader.u16(0) !== 0xeb9f) throw reader.error(0, 'no BTF magic');
  if (reader.u8(2) !== 1) throw reader.error(2, `version ${reader.u8(2)} is unknown`);
  const headerSize = reader.u32(4);
  if (headerSize < 24) throw reader.error(4, `header of ${headerSize} bytes`);
  const part = (field: number, what: string): ByteReader =>
    reader.slice(headerSize + reader.u32(field), reader.u32(field + 4), `BTF.ext ${what}`);

  const functions = readRecords(part(8, 'functions'), btf, 8, (part, at) => ({
    offset: part.u32(at),
    type: part.u32(at + 4),
  }));
  const lines = readRecords(part(16, 'lines'), btf, 16, (part, at) => {
    const place = part.u32(at + 12);
    return {
      offset: part.u32(at),
      file: posix.normalize(btf.string(part.u32(at + 4))),
      text: btf.string(part.u32(at + 8)),
      line: place >>> 10,
      column: place & 0x3ff,
    };
  });
  const core = headerSize >= 32 ? part(24, 'CO-RE relocations') : reader.slice(0, 0, 'BTF.ext');
  return { lines, functions, coreRelocations: readRecords(core, btf, 16, (part, at) => part.u32(at)) };
}

/** A size of record, then for each section its name, a count and the records; what a record has more is skipped. */
function readRecords<T extends number | { offset: number }>(
  reader: ByteReader,
  btf: Btf,
  atLeast: number,
  read: (reader: ByteReader, at: number) => T,
): Map<string, T[]> {
  const all = new Map<string, T[]>();
  if (reader.size === 0) return all;
  const size = reader.u32(0);
  if (size < atLeast) throw reader.error(0, `records of ${size} bytes, at least ${atLeast} are needed`);
  for (let at = 4; at < reader.size; ) {
    const section = btf.string(reader.u32(at));
    const count = reader.u32(at + 4);
    at += 8;
    reader.check(at, count * size);
    const list = all.get(section) ?? [];
    for (let i = 0; i < count; i++) list.push(read(reader, at + i * size));
    all.set(section, list);
    at += count * size;
  }
  const offset = (record: T): number => (typeof record === 'number' ? record : record.offset);
  for (const list of all.values()) list.sort((a, b) => offset(a) - offset(b));
  return all;
}
