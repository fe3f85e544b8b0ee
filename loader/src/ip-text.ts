// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** IP and link-layer addresses from network-order bytes to text. */
import { LayoutError } from './errors.js';

/** Dotted quad for 4 bytes, RFC 5952 text for 16. */
export function formatIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.');
  if (bytes.length === 16) return formatIpv6(bytes);
  throw new LayoutError('read an IP address', `it has ${bytes.length} bytes, neither 4 nor 16`);
}

/** RFC 5952: lower case, no leading zeros, the longest (first of equals) run of two or more zero groups is "::". */
function formatIpv6(bytes: Uint8Array): string {
  const view = new DataView(bytes.buffer, bytes.byteOffset, 16);
  const groups = Array.from({ length: 8 }, (_, index) => view.getUint16(index * 2));
  const { start, length } = longestZeroRun(groups);
  const text = (part: number[]): string => part.map((group) => group.toString(16)).join(':');
  if (length < 2) return text(groups);
  return `${text(groups.slice(0, start))}::${text(groups.slice(start + length))}`;
}

function longestZeroRun(groups: readonly number[]): { start: number; length: number } {
  let best = { start: 0, length: 0 };
  let length = 0;
  groups.forEach((group, index) => {
    length = group === 0 ? length + 1 : 0;
    if (length > best.length) best = { start: index - length + 1, length };
  });
  return best;
}

/** Colon-separated hexadecimal, as ip(8) prints link-layer addresses. */
export function formatLinkAddress(bytes: Uint8Array): string {
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
