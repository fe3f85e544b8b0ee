// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Writes src/generated/layouts.gen.ts from the BTF of bpf/export.bpf.c; with --check, says whether it is what
// that would write. Exit 0 written or equal, 1 different or impossible.
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { compileBpf, generateLayouts } from 'libbpf-ts';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const SOURCE = 'bpf/export.bpf.c';
const TARGET = 'src/generated/layouts.gen.ts';

async function generate() {
  // Layouts are the same in every flavour: types.h knows none. The oldest is as good as any.
  const flavour = { name: 'floor', cpu: 'v2' };
  const { object } = await compileBpf({ source: SOURCE, flavour, outDir: resolve('build/bpf') });
  const headers = readdirSync('bpf').filter((name) => name.endsWith('.h')).sort();
  return generateLayouts({
    objects: [{ name: SOURCE, bytes: readFileSync(object) }],
    headers: headers.map((name) => readFileSync(join('bpf', name), 'utf8')),
    source: SOURCE,
  });
}

function present() {
  return existsSync(TARGET) ? readFileSync(TARGET, 'utf8') : undefined;
}

try {
  const text = await generate();
  if (present() !== text && process.argv.includes('--check')) {
    throw new Error(`${TARGET} is not what ${SOURCE} makes it: run "make layouts" and commit the result`);
  }
  if (present() !== text) {
    mkdirSync(dirname(TARGET), { recursive: true });
    writeFileSync(TARGET, text);
    console.log(`wrote ${TARGET}`);
  }
} catch (error) {
  console.error(`layouts: ${error.message}`);
  process.exitCode = 1;
}
