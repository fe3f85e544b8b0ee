// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Whether Netfilter has rules in this network namespace, which packets that XDP forwards would not meet. */
import { readFileSync } from 'node:fs';
import { listNftTables } from 'libbpf-ts';

/** One of its tables, as it is called; undefined if there is none. */
export function firewallTable(): string | undefined {
  const nft = listNftTables()[0];
  if (nft !== undefined) return nft;
  for (const family of ['ip', 'ip6']) {
    const [name] = legacyTables(family);
    if (name) return `${family}tables ${name}`;
  }
  return undefined;
}

function legacyTables(family: string): string[] {
  try {
    return readFileSync(`/proc/net/${family}_tables_names`, 'utf8').split('\n').filter(Boolean);
  } catch {
    return []; // not loaded
  }
}
