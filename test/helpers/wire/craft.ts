// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Builds the packets that no socket would send: out-of-state segments, unusual headers. Checksums are right
// unless a test overwrites them.

import { addressBytes, pseudoHeaderSum, sum } from './checksum.js';
import { ETH_IPV4, TCP, UDP } from './packet.js';

/** IPv6's next header. */
const DESTINATION_OPTIONS = 60;

export interface Ends {
  src: string;
  dst: string;
  sport: number;
  dport: number;
}

/** An Ethernet frame; hardware addresses as text with colons. */
export function frame(from: string, to: string, etherType: number, payload: Buffer): Buffer {
  const hardware = (mac: string): Buffer => Buffer.from(mac.replaceAll(':', ''), 'hex');
  const type = Buffer.alloc(2);
  type.writeUInt16BE(etherType);
  return Buffer.concat([hardware(to), hardware(from), type, payload]);
}

/** An IPv4 packet in an Ethernet frame. */
export function ipv4Frame(from: string, to: string, packet: Buffer): Buffer {
  return frame(from, to, ETH_IPV4, packet);
}

/** An IPv4 packet; options must be a multiple of four bytes. */
export function ipv4(
  ends: Pick<Ends, 'src' | 'dst'>,
  protocol: number,
  payload: Buffer,
  more: { ttl?: number; id?: number; fragment?: number; options?: Buffer } = {},
): Buffer {
  const options = more.options ?? Buffer.alloc(0);
  const header = Buffer.alloc(20);
  header[0] = 0x40 | (5 + options.length / 4);
  header.writeUInt16BE(20 + options.length + payload.length, 2);
  header.writeUInt16BE(more.id ?? 0, 4);
  header.writeUInt16BE(more.fragment ?? 0, 6);
  header[8] = more.ttl ?? 64;
  header[9] = protocol;
  addressBytes(ends.src).copy(header, 12);
  addressBytes(ends.dst).copy(header, 16);
  const whole = Buffer.concat([header, options]);
  whole.writeUInt16BE(~sum(whole) & 0xffff, 10);
  return Buffer.concat([whole, payload]);
}

/** A TCP segment in an IPv4 packet. */
export function tcp4(
  ends: Ends,
  flags: number,
  more: { seq?: number; ack?: number; window?: number; data?: Buffer } = {},
): Buffer {
  const segment = Buffer.concat([Buffer.alloc(20), more.data ?? Buffer.alloc(0)]);
  segment.writeUInt16BE(ends.sport, 0);
  segment.writeUInt16BE(ends.dport, 2);
  segment.writeUInt32BE(more.seq ?? 1, 4);
  segment.writeUInt32BE(more.ack ?? 0, 8);
  segment[12] = 5 << 4;
  segment[13] = flags;
  segment.writeUInt16BE(more.window ?? 0xffff, 14);
  segment.writeUInt16BE(~sum(segment, pseudo(ends, TCP, segment.length)) & 0xffff, 16);
  return ipv4(ends, TCP, segment);
}

/** A UDP datagram in an IPv4 packet; `checksum: 0` leaves it uncomputed, as RFC 768 allows. */
export function udp4(ends: Ends, data: Buffer, more: { checksum?: 0; ttl?: number } = {}): Buffer {
  const datagram = Buffer.concat([Buffer.alloc(8), data]);
  datagram.writeUInt16BE(ends.sport, 0);
  datagram.writeUInt16BE(ends.dport, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  if (more.checksum !== 0) {
    const value = ~sum(datagram, pseudo(ends, UDP, datagram.length)) & 0xffff;
    datagram.writeUInt16BE(value || 0xffff, 6);
  }
  return ipv4(ends, UDP, datagram, more.ttl === undefined ? {} : { ttl: more.ttl });
}

/**
 * A UDP datagram in an IPv6 packet; `options`: behind an empty header of destination options (RFC 8200, 4.6);
 * `checksum: 0`: uncomputed, as tunnels have it (RFC 6935).
 */
export function udp6(
  ends: Ends,
  data: Buffer,
  more: { options?: boolean; checksum?: 0; ttl?: number } = {},
): Buffer {
  const datagram = Buffer.concat([Buffer.alloc(8), data]);
  datagram.writeUInt16BE(ends.sport, 0);
  datagram.writeUInt16BE(ends.dport, 2);
  datagram.writeUInt16BE(datagram.length, 4);
  if (more.checksum !== 0)
    datagram.writeUInt16BE(~sum(datagram, pseudo(ends, UDP, datagram.length)) & 0xffff || 0xffff, 6);
  // 8 bytes, of which PadN takes what is left
  const options = more.options ? Buffer.from([UDP, 0, 1, 4, 0, 0, 0, 0]) : Buffer.alloc(0);
  const header = Buffer.alloc(40);
  header[0] = 0x60;
  header.writeUInt16BE(options.length + datagram.length, 4);
  header[6] = more.options ? DESTINATION_OPTIONS : UDP;
  header[7] = more.ttl ?? 64;
  addressBytes(ends.src).copy(header, 8);
  addressBytes(ends.dst).copy(header, 24);
  return Buffer.concat([header, options, datagram]);
}

function pseudo(ends: Ends, protocol: number, length: number): number {
  return pseudoHeaderSum(addressBytes(ends.src), addressBytes(ends.dst), protocol, length);
}
