// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Cuts a filter in two: what the kernel tests (struct event_reader), and what is left for the reader. */
import { type Cidr, prefixMask } from '../address.js';
import type { Filter } from '../filter.js';
import type { EventReader } from '../generated/layouts.gen.js';
import { filterFamilies } from '../raw-filter.js';
import { fourWords } from '../words.js';

/** Of a filter that nothing can match: no event has this family. */
const NO_FAMILY = 255;
const ANY = [0, 0, 0, 0];

/** What the kernel tests before it makes an event. */
export function kernelFilter(filter: Filter): EventReader {
  const families = filterFamilies(filter);
  const { proto = 0, src, dst } = filter;
  return {
    family: families.length === 2 ? 0 : (families[0] ?? NO_FAMILY),
    proto,
    saddr: addressWords(src),
    smask: maskWords(src),
    daddr: addressWords(dst),
    dmask: maskWords(dst),
  };
}

/** What it leaves untested. Protocol 0 means any there. */
export function remainingFilter({ family: _family, proto, src: _src, dst: _dst, ...rest }: Filter): Filter {
  return proto === 0 ? { ...rest, proto } : rest;
}

function addressWords(cidr: Cidr | undefined): number[] {
  return cidr ? fourWords(cidr.bytes) : ANY;
}

function maskWords(cidr: Cidr | undefined): number[] {
  return cidr ? fourWords(prefixMask(cidr)) : ANY;
}
