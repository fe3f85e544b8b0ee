// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Compiles the C programs beside this file for the machine that the test runs on.

import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { run } from '../process.js';
import type { Teardown } from '../teardown.js';

/** The repository's root; this file runs as dist/test/helpers/tcp/compile.js. */
export const ROOT = fileURLToPath(new URL('../../../../', import.meta.url));
export const SOURCES = join(ROOT, 'test/helpers/tcp');

export interface CompileOptions {
  /** Default: clang-19, gcc where that is missing. */
  compiler?: string;
  flags?: readonly string[];
  /** Folder of the source; default test/helpers/tcp. */
  sources?: string;
}

/** Compiles NAME.c for this machine. Returns the program's path; the teardown deletes it. */
export async function compile(
  name: string,
  teardown: Teardown,
  options: CompileOptions = {},
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'ctnat-tcp-'));
  teardown.defer(folder, () => rm(folder, { recursive: true }));
  const program = join(folder, name);
  const compiler = options.compiler ?? (await installedCompiler());
  await run([
    compiler,
    ...['-O2', '-g', '-Wall', '-Wextra', '-Werror', '-Wno-unknown-pragmas', '-Wno-pass-failed'],
    ...(compiler.startsWith('gcc') ? ['-Wno-unused-function'] : []),
    ...(options.flags ?? []),
    `-I${join(ROOT, 'bpf')}`,
    ...['-o', program, join(options.sources ?? SOURCES, `${name}.c`), '-lm'],
  ]);
  return program;
}

async function installedCompiler(): Promise<string> {
  try {
    await run(['clang-19', '--version']);
    return 'clang-19';
  } catch {
    return 'gcc';
  }
}
