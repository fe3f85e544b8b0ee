// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * ELF64 relocatable objects, either byte order: sections, symbols and relocations as plain data.
 * It knows nothing of BPF. Every offset, size, index and name is checked; a lie is a FormatError.
 * Layouts: System V ABI, chapters 4 and 5 (gABI 4.1).
 */
import { ByteReader } from './byte-reader.js';
import { FormatError } from './errors.js';

/** e_machine of BPF objects. */
export const EM_BPF = 247;
export const SHT_PROGBITS = 1;
export const SHT_SYMTAB = 2;
export const SHT_STRTAB = 3;
export const SHT_RELA = 4;
export const SHT_NOBITS = 8;
export const SHT_REL = 9;
/** Section flag: the section holds instructions. */
export const SHF_EXECINSTR = 4;
export const STT_NOTYPE = 0;
export const STT_OBJECT = 1;
export const STT_FUNC = 2;
export const STT_SECTION = 3;
/** Section indices from here on are special (absolute, common), not sections. */
export const SHN_LORESERVE = 0xff00;

export interface ElfSection {
  index: number;
  name: string;
  type: number;
  flags: bigint;
  /** Index of the string table or symbol table that belongs to this one. */
  link: number;
  /** Of a relocation section: index of the section that it changes. */
  info: number;
  entrySize: number;
  /** Bytes that it takes in memory. */
  size: number;
  /** Its bytes in the file; empty for SHT_NOBITS (.bss). */
  data: Uint8Array;
}

export interface ElfSymbol {
  index: number;
  name: string;
  /** Offset in its section. */
  value: number;
  size: number;
  /** STT_*. */
  type: number;
  /** 0 local, 1 global, 2 weak. */
  binding: number;
  /** Section index; 0 undefined, from SHN_LORESERVE on special. */
  section: number;
}

export interface ElfRelocation {
  /** Where in the target section. */
  offset: number;
  /** R_BPF_*: 1 64_64, 2 64_ABS64, 3 64_ABS32, 4 64_NODYLD32, 10 64_32 (a call). */
  type: number;
  symbol: ElfSymbol;
  /** 0 for SHT_REL, whose addend stands in the place itself. */
  addend: number;
}

export interface ElfObject {
  littleEndian: boolean;
  machine: number;
  sections: ElfSection[];
  symbols: ElfSymbol[];
  /** Relocations by index of the section that they change, ascending by offset. */
  relocations: Map<number, ElfRelocation[]>;
}

/**
 * Parses an ELF64 object.
 * @throws FormatError if it is none, is truncated or contradicts itself
 */
export function parseElf(file: Uint8Array): ElfObject {
  const littleEndian = byteOrder(file);
  const reader = new ByteReader(file, 'ELF', littleEndian);
  reader.check(0, HEADER_SIZE);
  const sections = readSections(reader);
  const symbols = readSymbols(sections, littleEndian);
  return {
    littleEndian,
    machine: reader.u16(18),
    sections,
    symbols,
    relocations: readRelocations(sections, symbols, littleEndian),
  };
}

/** The first section of that name. */
export function findSection(elf: ElfObject, name: string): ElfSection | undefined {
  return elf.sections.find((section) => section.name === name);
}

const HEADER_SIZE = 64;
const SECTION_HEADER_SIZE = 64;
const SYMBOL_SIZE = 24;

function byteOrder(file: Uint8Array): boolean {
  const [m0, m1, m2, m3, elfClass, data] = file;
  if (m0 !== 0x7f || m1 !== 0x45 || m2 !== 0x4c || m3 !== 0x46) {
    throw new FormatError('ELF', 0, 'no ELF magic: this is not an object file');
  }
  if (elfClass !== 2) throw new FormatError('ELF', 4, 'not a 64-bit object');
  if (data !== 1 && data !== 2) throw new FormatError('ELF', 5, `byte order ${data} is unknown`);
  return data === 1;
}

function readSections(reader: ByteReader): ElfSection[] {
  const offset = reader.size64(40);
  const entrySize = reader.u16(58);
  const count = reader.u16(60);
  const namesIndex = reader.u16(62);
  if (count === 0) throw reader.error(60, 'no sections: stripped, or more than 65279');
  if (entrySize !== SECTION_HEADER_SIZE) throw reader.error(58, `section headers of ${entrySize} bytes`);
  const headers = reader.slice(offset, count * SECTION_HEADER_SIZE, 'ELF section headers');

  const sections: ElfSection[] = [];
  const nameOffsets: number[] = [];
  for (let index = 0; index < count; index++) {
    const at = index * SECTION_HEADER_SIZE;
    const type = headers.u32(at + 4);
    const size = headers.size64(at + 32);
    nameOffsets.push(headers.u32(at));
    sections.push({
      index,
      name: '',
      type,
      flags: headers.u64(at + 8),
      link: headers.u32(at + 40),
      info: headers.u32(at + 44),
      entrySize: headers.size64(at + 56),
      size,
      data: holdsBytes(type) ? reader.bytes(headers.size64(at + 24), size) : new Uint8Array(0),
    });
  }
  const names = tableAt(sections, namesIndex, SHT_STRTAB, 'the section names', reader.littleEndian);
  for (const section of sections) section.name = names.string(nameOffsets[section.index] ?? 0);
  return sections;
}

/** SHT_NULL's fields mean nothing, SHT_NOBITS has a size but no bytes. */
function holdsBytes(type: number): boolean {
  return type !== 0 && type !== SHT_NOBITS;
}

function tableAt(
  sections: ElfSection[],
  index: number,
  type: number,
  what: string,
  littleEndian: boolean,
): ByteReader {
  const section = sections[index];
  if (section?.type !== type) throw new FormatError('ELF', 0, `section ${index} is not the table of ${what}`);
  return new ByteReader(section.data, `ELF table of ${what}`, littleEndian);
}

function readSymbols(sections: ElfSection[], littleEndian: boolean): ElfSymbol[] {
  const table = sections.find((section) => section.type === SHT_SYMTAB);
  if (table === undefined) return [];
  const reader = new ByteReader(table.data, 'ELF symbol table', littleEndian);
  if (reader.size % SYMBOL_SIZE !== 0) throw reader.error(0, `${reader.size} bytes are no whole symbols`);
  const names = tableAt(sections, table.link, SHT_STRTAB, 'the symbol names', littleEndian);

  const symbols: ElfSymbol[] = [];
  for (let at = 0; at < reader.size; at += SYMBOL_SIZE) {
    const info = reader.u8(at + 4);
    const section = reader.u16(at + 6);
    const type = info & 15;
    if (section < SHN_LORESERVE && section >= sections.length) {
      throw reader.error(at, `symbol in section ${section} of ${sections.length}`);
    }
    symbols.push({
      index: symbols.length,
      name: type === STT_SECTION ? (sections[section]?.name ?? '') : names.string(reader.u32(at)),
      value: reader.size64(at + 8),
      size: reader.size64(at + 16),
      type,
      binding: info >> 4,
      section,
    });
  }
  return symbols;
}

function readRelocations(
  sections: ElfSection[],
  symbols: ElfSymbol[],
  littleEndian: boolean,
): Map<number, ElfRelocation[]> {
  const all = new Map<number, ElfRelocation[]>();
  for (const table of sections) {
    if (table.type !== SHT_REL && table.type !== SHT_RELA) continue;
    const entrySize = table.type === SHT_REL ? 16 : 24;
    const reader = new ByteReader(table.data, `ELF section ${table.name}`, littleEndian);
    const target = sections[table.info];
    if (target === undefined) throw reader.error(0, `it relocates section ${table.info}, which is not there`);
    if (reader.size % entrySize !== 0) throw reader.error(0, `${reader.size} bytes are no whole relocations`);

    const list = all.get(target.index) ?? [];
    for (let at = 0; at < reader.size; at += entrySize) {
      const offset = reader.size64(at);
      const symbol = symbols[reader.u32(at + (littleEndian ? 12 : 8))];
      if (symbol === undefined) throw reader.error(at, 'relocation against a symbol that is not there');
      if (offset >= target.size) throw reader.error(at, `relocation at ${offset}, outside ${target.name}`);
      const addend = entrySize === 24 ? Number(BigInt.asIntN(64, reader.u64(at + 16))) : 0;
      list.push({ offset, type: reader.u32(at + (littleEndian ? 8 : 12)), symbol, addend });
    }
    all.set(
      target.index,
      list.sort((a, b) => a.offset - b.offset),
    );
  }
  return all;
}
