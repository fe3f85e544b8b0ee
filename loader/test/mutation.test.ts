// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Damaged object files end in an error of this package, never in a crash or a hang. */
import t from 'tap';
import { readBtfExt } from '../src/btf-ext.js';
import { readBtf } from '../src/btf-parser.js';
import { findSection, parseElf } from '../src/elf.js';
import { BpfError } from '../src/errors.js';
import { checkFloor, programSizes } from '../src/floor.js';
import { generateLayouts } from '../src/generate.js';
import { fixtureBytes } from './helpers/objects.js';
import { Random } from './helpers/random.js';

const ROUNDS = 1000;
const INTERESTING = [0, 1, 4, 0x7f, 0x80, 0xff];

/** A copy with one to eight bytes changed, cut, or with a word of all ones. */
function mutate(original: Uint8Array, random: Random, from: number, length: number): Uint8Array {
  const copy = Uint8Array.from(original);
  const kind = random.below(10);
  if (kind === 0) return copy.subarray(0, random.below(copy.length));
  if (kind === 1) copy.fill(0xff, from + random.below(length), from + random.below(length) + 4);
  for (let i = random.below(8); i >= 0; i--) {
    const at = from + random.below(length);
    copy[at] =
      random.below(2) === 0 ? random.below(256) : (INTERESTING[random.below(INTERESTING.length)] ?? 0);
  }
  return copy;
}

/** Everything that reads an object. @returns the error that it ends in */
function readAll(bytes: Uint8Array): unknown {
  let first: unknown;
  const attempt = (action: () => unknown): void => {
    try {
      action();
    } catch (error) {
      first ??= error;
      if (!(error instanceof BpfError)) throw error;
    }
  };
  attempt(() => {
    const elf = parseElf(bytes);
    const btf = readBtf(elf);
    if (btf !== undefined) readBtfExt(elf, btf);
  });
  attempt(() => programSizes(parseElf(bytes)));
  attempt(() => checkFloor(parseElf(bytes)));
  attempt(() => generateLayouts({ objects: [{ name: 'damaged', bytes }], source: 'damaged' }));
  return first;
}

for (const name of ['layouts', 'floor/good']) {
  t.test(
    `${ROUNDS} damaged copies of ${name} are refused or read, nothing else`,
    { timeout: 120_000 },
    async (t) => {
      const original = await fixtureBytes(name);
      const elf = parseElf(original);
      // half of the damage goes where most of the meaning is
      const parts = ['.BTF', '.BTF.ext', '.symtab'].map((section) => findSection(elf, section)?.data);
      const random = new Random(name.length);
      let refused = 0;
      for (let round = 0; round < ROUNDS; round++) {
        const part = round % 2 === 0 ? undefined : parts[random.below(parts.length)];
        const from = part === undefined ? 0 : part.byteOffset - original.byteOffset;
        const damaged = mutate(original, random, from, part?.length ?? original.length);
        try {
          if (readAll(damaged) !== undefined) refused++;
        } catch (error) {
          t.fail(`round ${round}: ${(error as Error).stack}`);
        }
      }
      t.ok(refused > ROUNDS / 10, `${refused} were refused`);
      t.ok(refused < ROUNDS, 'and some damage goes unnoticed');
    },
  );
}

t.test('a whole object is read', async (t) => {
  t.equal(readAll(await fixtureBytes('floor/good')), undefined);
  t.equal(readAll(await fixtureBytes('layouts')), undefined);
});
