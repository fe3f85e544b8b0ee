// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Exits 0 if node_modules holds what package-lock.json asks for, 1 if `npm ci` has to run.
// Contents are compared, not times: a checkout or a restored cache changes times without changing anything.
import { existsSync, readFileSync } from 'node:fs';

/** The packages of a lock file by their folder, {} if it is missing or unreadable. */
function packagesOf(path) {
  try {
    return JSON.parse(readFileSync(path, 'utf8')).packages ?? {};
  } catch {
    return {};
  }
}

/** What a locked package is installed as: the same text means the same package. */
function identity(entry) {
  return entry.link ? `link:${entry.resolved}` : `${entry.version} ${entry.integrity ?? ''}`;
}

const wanted = packagesOf('package-lock.json');
const installed = packagesOf('node_modules/.package-lock.json');

const stale = Object.entries(wanted).some(([folder, entry]) => {
  if (!folder.startsWith('node_modules/') && !folder.includes('/node_modules/')) return false; // the workspaces themselves
  const found = installed[folder];
  if (!found) return !entry.optional && !entry.peer; // packages for other platforms are left out
  return identity(found) !== identity(entry);
});

process.exitCode = stale || !existsSync('node_modules/libbpf-ts') ? 1 : 0;
