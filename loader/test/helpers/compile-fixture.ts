// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { lacking } from './lacking.js';

const MULTIARCH: Record<string, string> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

/** The fixtures that tests load, and how each is compiled for kernels that lack something. */
const VARIANTS: readonly (readonly [name: string, ...flags: string[]])[] = [
  ['events'],
  ['hooks'],
  ['maps'],
  ['maps.old', '-DOLD_KERNEL'],
  ['refused'],
];

let directory: string | undefined;

/**
 * The object of loader/test/fixtures/NAME.bpf.c, for this kernel: from the folder LIBBPF_TS_FIXTURES, where clang is
 * slow, or else compiled, once per process; then it is gone when the process ends.
 */
export function compileFixture(name: string): string {
  const variant = name === 'maps' && lacking('global-data', 'mmap') ? 'maps.old' : name;
  const built = join(process.env.LIBBPF_TS_FIXTURES ?? '', `${variant}.bpf.o`);
  if (process.env.LIBBPF_TS_FIXTURES && existsSync(built)) return built;
  return compileVariant(variant, join(scratch(), `${variant}.bpf.o`));
}

/** Compiles every fixture into a folder. */
export function buildFixtures(folder: string): void {
  mkdirSync(folder, { recursive: true });
  for (const [name] of VARIANTS) compileVariant(name, join(folder, `${name}.bpf.o`));
}

/** Compiles a C file to an object of this name. */
export function compileSource(source: string, name: string): string {
  return compile(source, join(scratch(), `${name}.bpf.o`), []);
}

function compileVariant(variant: string, object: string): string {
  const [, ...flags] = VARIANTS.find(([name]) => name === variant) ?? [variant];
  const file = `${variant.replace('.old', '')}.bpf.c`;
  return compile(fileURLToPath(new URL(`../../../test/fixtures/${file}`, import.meta.url)), object, flags);
}

function compile(source: string, object: string, flags: readonly string[]): string {
  const include = `/usr/include/${MULTIARCH[arch()]}`;
  const all = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', `-I${include}`, ...flags];
  mkdirSync(dirname(object), { recursive: true });
  execFileSync(process.env.CLANG ?? 'clang-19', [...all, '-c', source, '-o', object], { stdio: 'inherit' });
  return object;
}

function scratch(): string {
  if (directory === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'libbpf-ts-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    directory = made;
  }
  return directory;
}
