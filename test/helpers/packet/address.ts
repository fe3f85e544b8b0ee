// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Addresses between text and the bytes on the wire. Strict: a test that mistypes an address fails.

/** The four bytes of an IPv4 address in network order. */
export function ip4Bytes(text: string): Buffer {
  const parts = text.split('.');
  const numbers = parts.map(Number);
  if (parts.length !== 4 || parts.some((part, i) => !/^\d{1,3}$/.test(part) || numbers[i]! > 255)) {
    throw new TypeError(`Not an IPv4 address: "${text}"`);
  }
  return Buffer.from(numbers);
}

export function ip4Text(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 4)).join('.');
}

/** The sixteen bytes of an IPv6 address in network order; no zone, no embedded IPv4. */
export function ip6Bytes(text: string): Buffer {
  const halves = text.split('::');
  const groups = halves.map((half) => (half === '' ? [] : half.split(':')));
  const given = groups.flat();
  const missing = 8 - given.length;
  const wrong =
    halves.length > 2 ||
    given.some((group) => !/^[0-9a-f]{1,4}$/i.test(group)) ||
    (halves.length === 2 ? missing < 1 : missing !== 0);
  if (wrong) throw new TypeError(`Not an IPv6 address: "${text}"`);
  const [head = [], tail = []] = groups;
  const all = [...head, ...Array<string>(missing).fill('0'), ...tail];
  return Buffer.from(
    all.flatMap((group) => [Number.parseInt(group, 16) >> 8, Number.parseInt(group, 16) & 0xff]),
  );
}

/** The canonical text of RFC 5952: lower case, the first longest run of zero groups shortened. */
export function ip6Text(bytes: Uint8Array): string {
  const groups = Array.from({ length: 8 }, (_, i) => ((bytes[2 * i]! << 8) | bytes[2 * i + 1]!).toString(16));
  let best = { at: 0, length: 1 };
  for (let at = 0; at < 8; at++) {
    let length = 0;
    while (at + length < 8 && groups[at + length] === '0') length++;
    if (length > best.length) best = { at, length };
  }
  if (best.length < 2) return groups.join(':');
  return `${groups.slice(0, best.at).join(':')}::${groups.slice(best.at + best.length).join(':')}`;
}

/** The six bytes of a MAC address. */
export function macBytes(text: string): Buffer {
  if (!/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/i.test(text)) throw new TypeError(`Not a MAC address: "${text}"`);
  return Buffer.from(text.replaceAll(':', ''), 'hex');
}

export function macText(bytes: Uint8Array): string {
  return Array.from(bytes.subarray(0, 6), (byte) => byte.toString(16).padStart(2, '0')).join(':');
}
