// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Flows that were refused because no outside port was left. */
import { type Family, formatAddress } from './address.js';
import type { Datapath } from './datapath.js';
import { protocolName } from './protocol.js';
import { wordsAddress } from './words.js';

/** The flows from one outside address to one other side. */
export interface Refusal {
  readonly family: Family;
  readonly proto: string;
  /** The outside address whose ports are all in use. */
  readonly external: string;
  /** What they are all in use for; the port is 0 where the protocol has none. */
  readonly remote: { readonly address: string; readonly port: number };
  /** Refused packets: each would have begun a flow. */
  readonly packets: number;
}

/** The most frequent first; of more than 1,024 pairs those that were refused last are known. */
export function readRefusals({ maps }: Datapath): Refusal[] {
  const found: Refusal[] = [];
  for (const [key, { packets }] of maps.refusals.entries()) {
    const family = key.family === 4 ? 'ipv4' : 'ipv6';
    const text = (words: readonly number[]) => formatAddress(wordsAddress(words, family));
    found.push({
      family,
      proto: protocolName(key.proto),
      external: text(key.external),
      remote: { address: text(key.remote), port: key.port },
      packets: Number(packets),
    });
  }
  return found.sort((a, b) => b.packets - a.packets);
}
