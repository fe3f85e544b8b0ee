// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Destinations that are never source-translated: the prefixes in the datapath's two tries. */
import { type Cidr, formatCidr } from './address.js';
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { maps as layouts } from './generated/layouts.gen.js';
import type { Undo } from './undo.js';
import { addressWords, wordsAddress } from './words.js';

/** The prefixes in force. */
export function readExempt({ maps }: Datapath): Cidr[] {
  return [
    ...[...maps.exempt4.keys()].map(({ prefix, addr }) => ({ ...wordsAddress([addr], 'ipv4'), prefix })),
    ...[...maps.exempt6.keys()].map(({ prefix, addr }) => ({ ...wordsAddress(addr, 'ipv6'), prefix })),
  ];
}

/** Puts these prefixes in force; one that stays is never missing meanwhile. */
export function settleExempt(datapath: Datapath, wanted: readonly Cidr[], undo: Undo): void {
  checkCount(wanted);
  const old = new Map(readExempt(datapath).map((cidr) => [formatCidr(cidr), cidr]));
  const next = new Map(wanted.map((cidr) => [formatCidr(cidr), cidr]));
  // Old ones that leave make room first: both sets together may be more than the trie holds.
  for (const [text, cidr] of old) {
    if (next.has(text)) continue;
    remove(datapath, cidr);
    undo.push(() => add(datapath, cidr));
  }
  for (const [text, cidr] of next) {
    if (old.has(text)) continue;
    add(datapath, cidr);
    undo.push(() => remove(datapath, cidr));
  }
}

function checkCount(wanted: readonly Cidr[]): void {
  for (const family of ['ipv4', 'ipv6'] as const) {
    const count = wanted.filter((cidr) => cidr.family === family).length;
    const limit = layouts[family === 'ipv4' ? 'exempt4' : 'exempt6'].maxEntries;
    if (count > limit) {
      throw new CtnatError(`can not exempt ${count} ${family} prefixes: ${limit} is the limit; join some`);
    }
  }
}

function add({ maps }: Datapath, { family, bytes, prefix }: Cidr): void {
  const words = addressWords(bytes);
  if (family === 'ipv4') maps.exempt4.set({ prefix, addr: words[0]! }, 1);
  else maps.exempt6.set({ prefix, addr: words }, 1);
}

function remove({ maps }: Datapath, { family, bytes, prefix }: Cidr): void {
  const words = addressWords(bytes);
  if (family === 'ipv4') maps.exempt4.delete({ prefix, addr: words[0]! });
  else maps.exempt6.delete({ prefix, addr: words });
}
