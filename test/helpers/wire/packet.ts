// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Reads a captured Ethernet frame. Only what the tests look at; what is shorter than its headers say is an error.

export const ETH_IPV4 = 0x0800;
export const ETH_IPV6 = 0x86dd;
export const ICMP = 1;
export const TCP = 6;
export const UDP = 17;
export const ICMPV6 = 58;

export const FIN = 0x01;
export const SYN = 0x02;
export const RST = 0x04;
export const PSH = 0x08;
export const ACK = 0x10;

export interface IpPacket {
  version: 4 | 6;
  /** Dotted or colon form as `ip` prints it. */
  src: string;
  dst: string;
  protocol: number;
  ttl: number;
  /** IPv4's identification, 0 for IPv6 without a fragment header. */
  id: number;
  /** In bytes; 0 with moreFragments false for a whole datagram. */
  fragmentOffset: number;
  moreFragments: boolean;
  /** Header with options; IPv4 only, empty for IPv6. */
  header: Buffer;
  /** After the IP header and its extensions, as long as the IP length says, or as much as was captured. */
  payload: Buffer;
  /** The payload is shorter than the IP length says: a quoted packet in an ICMP error. */
  truncated: boolean;
  /** TCP and UDP ports, for first fragments. */
  sport?: number;
  dport?: number;
  /** TCP flags. */
  flags?: number;
  /** ICMP. */
  type?: number;
  code?: number;
  icmpId?: number;
}

export interface Frame {
  /** Microseconds since the epoch. */
  timeUs: number;
  etherType: number;
  ip?: IpPacket;
  data: Buffer;
}

/** Reads an Ethernet frame; `ip` is absent for anything but IPv4 and IPv6. */
export function readFrame(data: Buffer, timeUs = 0): Frame {
  const etherType = data.readUInt16BE(12);
  const frame: Frame = { timeUs, etherType, data };
  if (etherType === ETH_IPV4 || etherType === ETH_IPV6) frame.ip = readIp(data.subarray(14));
  return frame;
}

/** Reads an IP packet, also a quoted one that is cut short. */
export function readIp(data: Buffer): IpPacket {
  const packet = data[0]! >> 4 === 4 ? readIpv4(data) : readIpv6(data);
  if (packet.fragmentOffset === 0) readTransport(packet);
  return packet;
}

function readIpv4(data: Buffer): IpPacket {
  const headerLength = (data[0]! & 0xf) * 4;
  const total = data.readUInt16BE(2);
  const fragment = data.readUInt16BE(6);
  return {
    version: 4,
    src: ipv4Text(data, 12),
    dst: ipv4Text(data, 16),
    protocol: data[9]!,
    ttl: data[8]!,
    id: data.readUInt16BE(4),
    fragmentOffset: (fragment & 0x1fff) * 8,
    moreFragments: (fragment & 0x2000) !== 0,
    header: data.subarray(0, headerLength),
    payload: data.subarray(headerLength, total),
    truncated: data.length < total,
  };
}

function readIpv6(data: Buffer): IpPacket {
  const end = 40 + data.readUInt16BE(4);
  const packet: IpPacket = {
    version: 6,
    src: ipv6Text(data, 8),
    dst: ipv6Text(data, 24),
    protocol: data[6]!,
    ttl: data[7]!,
    id: 0,
    fragmentOffset: 0,
    moreFragments: false,
    header: Buffer.alloc(0),
    payload: data.subarray(40, end),
    truncated: data.length < end,
  };
  if (packet.protocol === 44) {
    const fragment = packet.payload.readUInt16BE(2);
    packet.protocol = packet.payload[0]!;
    packet.fragmentOffset = fragment & 0xfff8;
    packet.moreFragments = (fragment & 1) !== 0;
    packet.id = packet.payload.readUInt32BE(4);
    packet.payload = packet.payload.subarray(8);
  }
  return packet;
}

function readTransport(packet: IpPacket): void {
  const { protocol, payload } = packet;
  if ((protocol === TCP || protocol === UDP) && payload.length >= 8) {
    packet.sport = payload.readUInt16BE(0);
    packet.dport = payload.readUInt16BE(2);
    if (protocol === TCP && payload.length >= 14) packet.flags = payload[13]!;
  } else if ((protocol === ICMP || protocol === ICMPV6) && payload.length >= 8) {
    packet.type = payload[0]!;
    packet.code = payload[1]!;
    packet.icmpId = payload.readUInt16BE(4);
  }
}

/** Whether it is an ICMP error, which quotes the packet that caused it from byte 8 on. */
export function isIcmpError(packet: IpPacket): boolean {
  if (packet.type === undefined) return false;
  return packet.protocol === ICMP ? [3, 4, 5, 11, 12].includes(packet.type) : packet.type < 128;
}

/** The packet that an ICMP error quotes. */
export function quotedPacket(packet: IpPacket): IpPacket | undefined {
  return isIcmpError(packet) && packet.fragmentOffset === 0 ? readIp(packet.payload.subarray(8)) : undefined;
}

export function ipv4Text(data: Buffer, at: number): string {
  return `${data[at]}.${data[at + 1]}.${data[at + 2]}.${data[at + 3]}`;
}

/** RFC 5952's form: the longest run of zero groups shortened. */
export function ipv6Text(data: Buffer, at: number): string {
  const groups = Array.from({ length: 8 }, (_, i) => data.readUInt16BE(at + 2 * i).toString(16));
  const runs = [...` ${groups.join(' ')} `.matchAll(/(?: 0)+(?= )/g)].map((match) => match[0].length / 2);
  const longest = Math.max(0, ...runs);
  if (longest < 2) return groups.join(':');
  const zeros = Array.from({ length: longest }, () => '0').join(' ');
  const [head = '', tail = ''] = splitOnce(` ${groups.join(' ')} `, ` ${zeros} `);
  return `${head.trim().replaceAll(' ', ':')}::${tail.trim().replaceAll(' ', ':')}`;
}

function splitOnce(text: string, separator: string): [string, string] {
  const at = text.indexOf(separator);
  return [text.slice(0, at), text.slice(at + separator.length)];
}
