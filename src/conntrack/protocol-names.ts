// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The host's own names of IP protocols, as protocols(5) lists them. */
import { readFileSync } from 'node:fs';

export const PROTOCOLS_FILE = '/etc/protocols';

const tables = new Map<string, ReadonlyMap<string, number>>();

/**
 * The number that a host's file has for a name or one of its other names, in the letters that it has there, as
 * getprotobyname(3) finds it; undefined: none, or there is no such file.
 */
export function protocolByName(name: string, file = PROTOCOLS_FILE): number | undefined {
  let table = tables.get(file);
  if (!table) {
    table = readTable(file);
    tables.set(file, table);
  }
  return table.get(name);
}

function readTable(file: string): ReadonlyMap<string, number> {
  const names = new Map<string, number>();
  for (const line of readText(file).split('\n')) {
    const [name, number, ...more] = line.replace(/#.*/, '').trim().split(/\s+/);
    if (!name || !number || !/^[0-9]+$/.test(number) || Number(number) > 255) continue;
    for (const each of [name, ...more]) if (!names.has(each)) names.set(each, Number(number));
  }
  return names;
}

/** A minimal system has no such file, and nothing to say. */
function readText(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}
