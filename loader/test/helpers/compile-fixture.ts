// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { execFileSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { arch, tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';

const MULTIARCH: Record<string, string> = { x64: 'x86_64-linux-gnu', arm64: 'aarch64-linux-gnu' };

let directory: string | undefined;

/** Compiles loader/test/fixtures/NAME.bpf.c, once per process; the object is gone when the process ends. */
export function compileFixture(name: string): string {
  const source = fileURLToPath(new URL(`../../../test/fixtures/${name}.bpf.c`, import.meta.url));
  return compileSource(source, name);
}

/** Compiles a C file to an object of this name. */
export function compileSource(source: string, name: string): string {
  if (directory === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'libbpf-ts-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    directory = made;
  }
  const object = join(directory, `${name}.bpf.o`);
  const include = `/usr/include/${MULTIARCH[arch()]}`;
  const flags = ['-O2', '-g', '-Wall', '-Werror', '-target', 'bpf', `-I${include}`];
  execFileSync(process.env.CLANG ?? 'clang-19', [...flags, '-c', source, '-o', object], { stdio: 'inherit' });
  return object;
}
