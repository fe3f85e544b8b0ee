// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Puts a built ctnat below a prefix: PREFIX/bin/ctnat, a wrapper, and PREFIX/lib/ctnat, everything it needs.
// The new folder is filled beside the old one and then takes its place: a ctnat that runs keeps its files.
//
//   scripts/install.mjs DESTDIR PREFIX
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';

process.chdir(join(dirname(fileURLToPath(import.meta.url)), '..'));

const [destination = '', prefix = '/usr/local'] = process.argv.slice(2);
const root = destination ? join(destination, prefix) : resolve(prefix);
const target = join(root, 'lib/ctnat');
const fresh = `${target}.new-${process.pid}`;
const old = `${target}.old-${process.pid}`;

/** Copies a file or folder of this tree to the same place below the new folder. */
function copy(path, to = path) {
  mkdirSync(dirname(join(fresh, to)), { recursive: true });
  cpSync(path, join(fresh, to), { recursive: true, dereference: true });
}

/** Folders of the packages that the product needs at run time, as the lock file marks them. */
function runtimePackages() {
  const { packages } = JSON.parse(readFileSync('package-lock.json', 'utf8'));
  return Object.entries(packages)
    .filter(([folder, entry]) => folder.startsWith('node_modules/') && !entry.dev && !entry.link)
    .map(([folder]) => folder)
    .filter(existsSync); // packages for other platforms are not there
}

/** The wrapper finds its folder from where it lies, so that a prefix can be moved as a whole. */
const wrapper = `#!/bin/sh
exec node "$(dirname "$(readlink -f "$0")")/../lib/ctnat/dist/src/cli/main.js" "$@"
`;

try {
  rmSync(fresh, { recursive: true, force: true });
  for (const path of ['package.json', 'config.schema.json', 'proto', 'dist/src', 'build/bpf']) copy(path);
  for (const folder of runtimePackages()) copy(folder);
  copy('loader/dist/src', 'node_modules/libbpf-ts/dist/src');
  copy('loader/package.json', 'node_modules/libbpf-ts/package.json');
  // The sources: a kernel may need a flavour that was not built.
  copy('bpf');
  rmSync(join(fresh, 'bpf/test'), { recursive: true, force: true });

  if (existsSync(target)) renameSync(target, old);
  renameSync(fresh, target);
  const program = join(root, 'bin/ctnat');
  mkdirSync(dirname(program), { recursive: true });
  rmSync(program, { force: true });
  writeFileSync(program, wrapper);
  chmodSync(program, 0o755);
  console.log(`installed ${program}`);
} catch (error) {
  if (existsSync(old) && !existsSync(target)) renameSync(old, target);
  console.error(`install: ${error.message}`);
  process.exitCode = 1;
} finally {
  rmSync(fresh, { recursive: true, force: true });
  rmSync(old, { recursive: true, force: true });
}
