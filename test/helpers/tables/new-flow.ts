// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Flows to be made from userspace, by a number or by their ends.
import { parseAddress } from '../../../src/address.js';
import type { NewFlow } from '../../../src/flow-editor.js';

type Changes = Partial<Omit<NewFlow, 'original' | 'reply'>> & {
  original?: Partial<NewFlow['original']>;
  reply?: Partial<NewFlow['reply']>;
};

/** A UDP flow of its own client for each number, untranslated unless the changes say otherwise. */
export function newFlow(i: number, { original: from = {}, reply: to = {}, ...more }: Changes = {}): NewFlow {
  const original = {
    src: parseAddress(`10.${(i >> 16) & 255}.${(i >> 8) & 255}.${i & 255}`),
    dst: parseAddress('192.0.2.9'),
    protonum: 17,
    sport: 40_000,
    dport: 53,
    zone: 0,
    ...from,
  };
  return {
    original,
    reply: { src: original.dst, dst: original.src, sport: original.dport, dport: original.sport, ...to },
    zone: original.zone,
    anyPort: false,
    status: 0,
    timeout: 100,
    mark: 0,
    labels: 0n,
    ...more,
  };
}
