// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Internet checksums (RFC 1071), computed here and compared with what a packet carries. Nothing of the
// product is used: it is what these are meant to catch.

import { ICMP, ICMPV6, type IpPacket, isIcmpError, quotedPacket, TCP, UDP } from './packet.js';

/** One's complement sum of 16-bit words, not yet inverted. */
export function sum(data: Buffer, start = 0): number {
  let total = start;
  for (let i = 0; i + 1 < data.length; i += 2) total += data.readUInt16BE(i);
  if (data.length % 2) total += data[data.length - 1]! << 8;
  while (total > 0xffff) total = (total & 0xffff) + Math.floor(total / 0x10000);
  return total;
}

/** Sum of the pseudo header (RFC 9293 section 3.1, RFC 8200 section 8.1) for a payload of `length` bytes. */
export function pseudoHeaderSum(src: Buffer, dst: Buffer, protocol: number, length: number): number {
  return sum(dst, sum(src, protocol + (length >>> 16) + (length & 0xffff)));
}

/**
 * What is wrong with a packet's checksums, [] if all are right. Fragments are judged by their IP header only;
 * of an ICMP error, the quoted packet's checksums are judged too, as far as it is quoted in full.
 */
export function checksumFaults(packet: IpPacket, where = ''): string[] {
  const label = `${where}${packet.version === 4 ? 'IPv4' : 'IPv6'} ${packet.src} > ${packet.dst}`;
  const faults: string[] = [];
  if (packet.version === 4 && sum(packet.header) !== 0xffff) faults.push(`${label}: IP header checksum`);
  const whole = packet.fragmentOffset === 0 && !packet.moreFragments && !packet.truncated;
  if (whole && !transportIsRight(packet)) {
    const ports = packet.sport === undefined ? '' : ` ${packet.sport} > ${packet.dport}`;
    faults.push(`${label}: checksum of protocol ${packet.protocol}${ports}`);
  }
  if (whole && isIcmpError(packet)) faults.push(...checksumFaults(quotedPacket(packet)!, `${label} quotes `));
  return faults;
}

function transportIsRight(packet: IpPacket): boolean {
  const { protocol, payload } = packet;
  switch (protocol) {
    case ICMP:
      return sum(payload) === 0xffff;
    case UDP:
      if (payload.readUInt16BE(6) === 0) return packet.version === 4; // not computed: allowed by RFC 768 only
      return sum(payload, pseudoHeader(packet)) === 0xffff;
    case TCP:
    case ICMPV6:
      return sum(payload, pseudoHeader(packet)) === 0xffff;
    default:
      return true;
  }
}

function pseudoHeader(packet: IpPacket): number {
  return pseudoHeaderSum(
    addressBytes(packet.src),
    addressBytes(packet.dst),
    packet.protocol,
    packet.payload.length,
  );
}

/** An address's bytes, from the text that packet.ts or `ip` writes. */
export function addressBytes(text: string): Buffer {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number));
  const [head = '', tail] = text.split('::');
  const groups = (part: string): number[] => (part ? part.split(':').map((g) => Number.parseInt(g, 16)) : []);
  const before = groups(head);
  const after = tail === undefined ? [] : groups(tail);
  const all = [...before, ...new Array<number>(8 - before.length - after.length).fill(0), ...after];
  const bytes = Buffer.alloc(16);
  all.forEach((group, i) => {
    bytes.writeUInt16BE(group, 2 * i);
  });
  return bytes;
}
