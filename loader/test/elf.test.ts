// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import t from 'tap';
import { EM_BPF, findSection, parseElf, STT_FUNC } from '../src/elf.js';
import { FormatError } from '../src/errors.js';
import { fixtureBytes } from './helpers/objects.js';

const object = await fixtureBytes('floor/good');

t.test('parseElf reads sections, symbols and relocations of an object', async (t) => {
  const elf = parseElf(object);

  t.equal(elf.machine, EM_BPF);
  t.equal(findSection(elf, 'license')?.data.toString(), 'GPL\0');
  const functions = elf.symbols.filter((symbol) => symbol.type === STT_FUNC).map((symbol) => symbol.name);
  t.strictSame(functions.sort(), ['clamp', 'on_packet', 'on_tail', 'on_xdp']);
  const tc = findSection(elf, 'tc');
  const names = elf.relocations.get(tc?.index ?? -1)?.map((relocation) => relocation.symbol.name);
  t.ok(names?.includes('counters'), 'the relocations name the maps');
});

t.test('parseElf reads big-endian objects', async (t) => {
  const header = new Uint8Array(64 + 64 * 2 + 16);
  const view = new DataView(header.buffer);
  header.set([0x7f, 0x45, 0x4c, 0x46, 2, 2, 1]);
  view.setUint16(18, EM_BPF, false);
  view.setBigUint64(40, 64n, false);
  view.setUint16(58, 64, false);
  view.setUint16(60, 2, false);
  view.setUint16(62, 1, false);
  view.setUint32(128, 1, false);
  view.setUint32(132, 3, false);
  view.setBigUint64(152, 192n, false);
  view.setBigUint64(160, 16n, false);
  header.set(new TextEncoder().encode('\0.strtab\0'), 192);

  const elf = parseElf(header);

  t.notOk(elf.littleEndian);
  t.equal(elf.machine, EM_BPF);
  t.equal(elf.sections[1]?.name, '.strtab');
});

t.test('parseElf refuses what is no object', async (t) => {
  const changed = (at: number, value: number): Uint8Array => {
    const copy = Uint8Array.from(object);
    copy[at] = value;
    return copy;
  };

  t.throws(() => parseElf(new Uint8Array(0)), FormatError, 'nothing');
  t.throws(() => parseElf(new TextEncoder().encode('#!/bin/sh\n')), { message: /no ELF magic/ }, 'a script');
  t.throws(() => parseElf(changed(4, 1)), { message: /not a 64-bit object/ }, '32 bits');
  t.throws(() => parseElf(changed(5, 3)), { message: /byte order 3 is unknown/ }, 'no byte order');
  t.throws(() => parseElf(object.subarray(0, 40)), FormatError, 'half a header');
  t.throws(() => parseElf(object.subarray(0, object.length >> 1)), FormatError, 'half a file');
  t.throws(() => parseElf(changed(62, 0)), { message: /not the table of the section names/ }, 'no names');
});
