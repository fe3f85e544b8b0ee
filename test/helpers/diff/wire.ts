// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// IP packets as bytes, for hundreds of thousands of them: payloads are zeros and stay off the page. What the
// packet tables write down field by field (test/helpers/packet) would take ten times as long here.
import { onesSum } from '../packet/checksum.js';

/** One end as a packet names it. Addresses are 4 or 16 bytes. */
export interface Endpoint {
  address: Buffer;
  port: number;
}

/** An IP packet; what `bytes` lacks of `length` is 0. */
export interface Packet {
  bytes: Buffer;
  length: number;
}

export const PROTO = {
  icmp: 1,
  tcp: 6,
  udp: 17,
  gre: 47,
  esp: 50,
  icmp6: 58,
  sctp: 132,
  udplite: 136,
} as const;

export interface TcpFields {
  flags: number;
  seq: number;
  ack: number;
  window: number;
  /** Hex. */
  options: string;
  /** Bytes of payload. */
  payload: number;
}

const TTL = 64;

export function familyOf(address: Buffer): 4 | 6 {
  return address.length === 4 ? 4 : 6;
}

/** Puts an IP header before a message whose last `zeros` bytes are not there. */
export function ip(from: Buffer, to: Buffer, proto: number, message: Buffer, zeros = 0): Packet {
  const six = from.length === 16;
  const header = Buffer.alloc(six ? 40 : 20);
  const length = header.length + message.length + zeros;
  if (six) {
    header[0] = 0x60;
    header.writeUInt16BE(message.length + zeros, 4);
    header[6] = proto;
    header[7] = TTL;
    from.copy(header, 8);
    to.copy(header, 24);
  } else {
    header[0] = 0x45;
    header.writeUInt16BE(length, 2);
    header[6] = 0x40; // don't fragment
    header[8] = TTL;
    header[9] = proto;
    from.copy(header, 12);
    to.copy(header, 16);
    header.writeUInt16BE(~onesSum(header) & 0xffff, 10);
  }
  return { bytes: Buffer.concat([header, message]), length };
}

/** The sum over a message and its pseudo-header, for a checksum field that is still 0. */
function checksum(from: Buffer, to: Buffer, proto: number, message: Buffer, zeros: number): number {
  const length = message.length + zeros;
  const pseudo = onesSum(to, onesSum(from, proto + (length & 0xffff) + (length >>> 16)));
  return ~onesSum(message, pseudo) & 0xffff;
}

export function tcp(from: Endpoint, to: Endpoint, fields: TcpFields): Packet {
  const header = Buffer.alloc(20 + fields.options.length / 2);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt32BE(fields.seq, 4);
  header.writeUInt32BE(fields.ack, 8);
  header[12] = (header.length / 4) << 4;
  header[13] = fields.flags;
  header.writeUInt16BE(fields.window, 14);
  header.write(fields.options, 20, 'hex');
  header.writeUInt16BE(checksum(from.address, to.address, PROTO.tcp, header, fields.payload), 16);
  return ip(from.address, to.address, PROTO.tcp, header, fields.payload);
}

export interface UdpFields {
  /** Bytes of payload. */
  payload: number;
  /** 'none': the field is 0. */
  checksum?: 'none';
  /** What the header says its length is, if not the truth. */
  length?: number;
  /** UDP-Lite's coverage instead of a length. */
  lite?: boolean;
}

export function udp(from: Endpoint, to: Endpoint, fields: UdpFields): Packet {
  const proto = fields.lite ? PROTO.udplite : PROTO.udp;
  const header = Buffer.alloc(8);
  header.writeUInt16BE(from.port, 0);
  header.writeUInt16BE(to.port, 2);
  header.writeUInt16BE(fields.length ?? (fields.lite ? 0 : 8 + fields.payload), 4);
  if (fields.checksum !== 'none')
    header.writeUInt16BE(checksum(from.address, to.address, proto, header, fields.payload) || 0xffff, 6);
  return ip(from.address, to.address, proto, header, fields.payload);
}

export interface IcmpFields {
  type: number;
  code: number;
  /** The second word: identifier and sequence, MTU, pointer. */
  rest: number;
  /** What follows. */
  body: Buffer;
}

/** ICMP or ICMPv6, by the addresses' family. */
export function icmp(from: Buffer, to: Buffer, fields: IcmpFields): Packet {
  const message = Buffer.concat([Buffer.alloc(8), fields.body]);
  message[0] = fields.type;
  message[1] = fields.code;
  message.writeUInt32BE(fields.rest >>> 0, 4);
  const six = from.length === 16;
  const sum = six ? checksum(from, to, PROTO.icmp6, message, 0) : ~onesSum(message) & 0xffff;
  message.writeUInt16BE(sum, 2);
  return ip(from, to, six ? PROTO.icmp6 : PROTO.icmp, message);
}

/** The packet without its last bytes: its IP header says so, its L4 header does not. */
export function cut({ bytes, length }: Packet, to: number): Packet {
  const shorter = Buffer.from(bytes.subarray(0, to));
  const size = Math.min(length, to);
  if (shorter[0]! >> 4 === 6) {
    shorter.writeUInt16BE(size - 40, 4);
  } else {
    shorter.writeUInt16BE(size, 2);
    shorter.writeUInt16BE(0, 10);
    shorter.writeUInt16BE(~onesSum(shorter.subarray(0, (shorter[0]! & 15) * 4)) & 0xffff, 10);
  }
  return { bytes: shorter, length: size };
}

/** Where the packet's L4 header begins, if it has neither options nor extensions. */
export function l4Offset({ bytes }: Packet): number {
  return bytes[0]! >> 4 === 6 ? 40 : 20;
}
