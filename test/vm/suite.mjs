// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which compiled test files run in every virtual machine. The host asks to be sure that there are some before it
// boots anything, the guest to run them.
import { existsSync, readdirSync } from 'node:fs';
import { basename, join } from 'node:path';

/**
 * What runs on every kernel. Of the folder its smoke.test.js says whether anything can work, gateway.test.js stands for
 * test/e2e, where every test loads the datapath anew, which takes an emulated machine most of a minute, and
 * packets.test.js runs the packet tables of test/prog (with VM_CORE, of --ci, the core of them), but for
 * TC with redirect's, which has a network of its own.
 */
const PLACES = ['dist/test/vm', 'dist/test/prog/redirect.test.js'];

/** And with --more (VM_MORE): the tables' listing, sweep and repair, the editor of flows, and the loader's own tests. */
const MORE = ['dist/test/prog/tables.test.js', 'dist/test/prog/editor.test.js', 'loader/dist/test'];

/** Tests of files, text and the compiler: another kernel changes nothing, and clang is slow under emulation. */
const KERNEL_INDEPENDENT = [
  'bpf2ts',
  'btf',
  'c-docs',
  'codec',
  'compile',
  'control-flow',
  'elf',
  'errors',
  'floor',
  'layout',
  'mutation',
  'netlink-message',
  'readme',
];

/**
 * The test files, as paths below the repository's root, which is the current folder.
 *
 * @param {RegExp} [match] only those whose path matches
 * @returns {string[]}
 */
export function testFiles(match) {
  const places = [...PLACES, ...(process.env.VM_MORE ? MORE : [])];
  const files = places.flatMap((place) => (place.endsWith('.js') ? [place] : testsIn(place)));
  return files.filter((file) => isCurrent(file) && (!match || match.test(file)));
}

function testsIn(folder) {
  if (!existsSync(folder)) return [];
  return readdirSync(folder)
    .filter((name) => name.endsWith('.test.js'))
    .sort((left, right) => Number(right.startsWith('smoke')) - Number(left.startsWith('smoke')) || (left < right ? -1 : 1))
    .map((name) => join(folder, name))
    .filter((file) => folder !== 'loader/dist/test' || !KERNEL_INDEPENDENT.includes(basename(file, '.test.js')));
}

/** A compiled test whose source is gone is a leftover of an earlier build, not a test. */
function isCurrent(file) {
  return existsSync(file) && existsSync(file.replace(/(^|\/)dist\/test\//, '$1test/').replace(/\.js$/, '.ts'));
}
