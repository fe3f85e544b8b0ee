// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Compiles the BPF sources: bpf/ctnat.bpf.c in every flavour, to build/bpf/FLAVOUR/ctnat.bpf.o, bpf/xdp.bpf.c in
// those that have XDP mode, and what the packet tables and the bench run it with, to build/bpf/test/. What is compiled already from the same source with the same
// compiler is left alone.
import { dirname, join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileBpf } from 'libbpf-ts';
import { FLAVOURS } from '../dist/src/flavours.js';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

/** Runs on every kernel that the floor runs on. */
const TEST = { name: 'test', cpu: 'v2' };

const TESTS = ['harness', 'wire', 'long_way', 'bench', 'flood', 'load'];

const builds = [
  ...FLAVOURS.map((flavour) => ['bpf/ctnat.bpf.c', flavour]),
  ...FLAVOURS.filter(({ xdp }) => xdp).map((flavour) => ['bpf/xdp.bpf.c', flavour]),
  ...TESTS.map((name) => [`bpf/test/${name}.bpf.c`, TEST]),
];

for (const [source, flavour] of builds) {
  try {
    const { object, cached, instructions } = await compileBpf({ source, flavour, includes: ['bpf'], outDir: resolve('build/bpf') });
    const largest = Object.entries(instructions).sort(([, a], [, b]) => b - a)[0];
    if (!cached) console.log(`${relative('.', object)}: ${Object.keys(instructions).length} programs, the largest ${largest?.join(' ')} instructions`);
  } catch (error) {
    console.error(`build-bpf: ${error.message}`);
    process.exitCode = 1;
  }
}
