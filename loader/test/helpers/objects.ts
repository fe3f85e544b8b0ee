// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type CompileOptions, compileBpf } from '../../src/compile.js';
import { type ElfObject, parseElf } from '../../src/elf.js';

let scratch: string | undefined;

/** A new folder that is gone when the process ends. */
export function scratchFolder(): string {
  if (scratch === undefined) {
    const made = mkdtempSync(join(tmpdir(), 'libbpf-ts-'));
    process.once('exit', () => rmSync(made, { recursive: true, force: true }));
    scratch = made;
  }
  return mkdtempSync(join(scratch, 'test-'));
}

/** The path of a file under loader/test/fixtures. */
export function fixturePath(name: string): string {
  return fileURLToPath(new URL(`../../../test/fixtures/${name}`, import.meta.url));
}

let folder: string | undefined;

/** The bytes of loader/test/fixtures/NAME.bpf.c, compiled. */
export async function fixtureBytes(
  name: string,
  cpu: CompileOptions['flavour']['cpu'] = 'v2',
): Promise<Uint8Array> {
  folder ??= scratchFolder();
  const source = fixturePath(`${name}.bpf.c`);
  const { object } = await compileBpf({ source, flavour: { name: cpu, cpu }, outDir: folder });
  return readFileSync(object);
}

/** The same, parsed. */
export async function fixtureElf(
  name: string,
  cpu: CompileOptions['flavour']['cpu'] = 'v2',
): Promise<ElfObject> {
  return parseElf(await fixtureBytes(name, cpu));
}
