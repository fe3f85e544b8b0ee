// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { readFileSync } from 'node:fs';

/** Files that the package ships stand two folders above the compiled src/. */
export function packageFile(name: string): URL {
  return new URL(`../../${name}`, import.meta.url);
}

/** ctnat's version, from its package.json. */
export function version(): string {
  const text = readFileSync(packageFile('package.json'), 'utf8');
  return (JSON.parse(text) as { version: string }).version;
}
