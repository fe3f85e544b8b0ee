// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The packet tables of test/prog, in one process with the datapath loaded once: on an emulated machine a load takes
// longer than most files. With compiled programs where the kernel starts out by interpreting them: the gateway's test
// has them as the kernel starts out.
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t from 'tap';
import { stepperKind } from '../helpers/datapath/stepper.js';
import { entitle } from '../helpers/datapath/table.js';

const COMPILED = new URL('../prog/', import.meta.url);
const SOURCES = new URL('../../../test/prog/', import.meta.url);
const JIT = '/proc/sys/net/core/bpf_jit_enable';
/** These load the tables or enter a network of their own, and run by themselves (suite.mjs). */
const APART = ['tables', 'editor', 'redirect'];
/** Of every flavour, each loaded once more. */
const LOADING = ['verifier'];
/** Random sequences, many rounds: the same on every kernel, and minutes to hours in an emulated machine. */
const LONG = ['allocator', 'fast', 'flood', 'fuzz', 'race'];
/** Minutes each; `test/vm/run --more` has them. */
const MORE = ['checksums', 'sweep'];
/** What `test/vm/run --ci` leaves out besides. */
const NOT_CORE = ['events', 'lifetime', 'packetdrill', 'protocols'];

/** Those whose source is gone are leftovers of an earlier build. */
function files(): string[] {
  return readdirSync(fileURLToPath(COMPILED))
    .filter((name) => name.endsWith('.test.js'))
    .map((name) => name.replace('.test.js', ''))
    .filter((name) => ![...APART, ...LOADING, ...LONG].includes(name))
    .filter((name) => process.env.VM_MORE || !MORE.includes(name))
    .filter((name) => !process.env.VM_CORE || !NOT_CORE.includes(name))
    .filter((name) => existsSync(new URL(`${name}.test.ts`, SOURCES)))
    .sort();
}

// only in a machine that is ours to change
if (process.env.VM_SNAPSHOT && readFileSync(JIT, 'utf8').trim() === '0') {
  writeFileSync(JIT, '1');
  t.comment('programs are compiled from here on');
}
t.comment(`packets are put to the hooks by ${stepperKind()}`);
// The files' tests wait behind this one: between two imports nothing runs and nothing waits, which tap takes for the end,
// and where the disk is slow and a file's tests are quick it then refuses the next file's.
t.test('every file is read', { timeout: 0 }, async (t) => {
  for (const name of files()) {
    entitle(name);
    await import(new URL(`${name}.test.js`, COMPILED).href);
  }
  t.comment(files().join(' '));
});
