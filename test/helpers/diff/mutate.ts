// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Damages packets: wrong checksums, headers that end too early or lie about their length.
import type { Random } from '../tcp/random.js';
import type { Operation } from './sequence.js';
import { cut, l4Offset, type Packet, PROTO } from './wire.js';

/** Leaves most packets alone. */
export function damage(random: Random, operations: readonly Operation[]): Operation[] {
  return operations.map((operation) => {
    if (operation.do !== 'packet') return operation;
    const { packet, note, marks } = operation;
    // no wrong ones of SCTP: Netfilter mends the CRC of what it translates, see differences.ts
    if (CHECKSUM_AT[protocolOf(packet)] && random.chance(0.02))
      return {
        ...operation,
        packet: wrongChecksum(packet),
        note: `${note}, wrong checksum`,
        marks: [...marks, 'checksum'],
      };
    // what is behind the header of the others is not looked at
    if (CHECKSUM_AT[protocolOf(packet)] && random.chance(0.015)) {
      const to = l4Offset(packet) + random.pick([0, 1, 3, 4, 7, 8, 12, 19]);
      if (to < packet.length)
        return {
          ...operation,
          packet: cut(packet, to),
          note: `${note}, cut to ${to} bytes`,
          marks: [...marks, 'truncated'],
        };
    }
    if (random.chance(0.01) && protocolOf(packet) === PROTO.tcp) {
      const words = random.pick([0, 4, 15]);
      return { ...operation, packet: withDataOffset(packet, words), note: `${note}, data offset ${words}` };
    }
    return operation;
  });
}

export function protocolOf({ bytes }: Packet): number {
  return bytes[0]! >> 4 === 6 ? bytes[6]! : bytes[9]!;
}

const CHECKSUM_AT: Record<number, number> = {
  [PROTO.tcp]: 16,
  [PROTO.udp]: 6,
  [PROTO.udplite]: 6,
  [PROTO.icmp]: 2,
  [PROTO.icmp6]: 2,
};

function wrongChecksum(packet: Packet): Packet {
  const at = l4Offset(packet) + CHECKSUM_AT[protocolOf(packet)]!;
  const bytes = Buffer.from(packet.bytes);
  if (bytes.readUInt16BE(at) !== 0) bytes[at]! ^= bytes[at] === 0x40 ? 0x20 : 0x40;
  return { ...packet, bytes };
}

/** With a checksum that is right all the same. */
function withDataOffset(packet: Packet, words: number): Packet {
  const at = l4Offset(packet);
  const bytes = Buffer.from(packet.bytes);
  const before = bytes.readUInt16BE(at + 12);
  bytes[at + 12] = words << 4;
  let sum = (~bytes.readUInt16BE(at + 16) & 0xffff) + (~before & 0xffff) + bytes.readUInt16BE(at + 12);
  sum = (sum & 0xffff) + (sum >>> 16);
  sum = (sum & 0xffff) + (sum >>> 16);
  bytes.writeUInt16BE(~sum & 0xffff, at + 16);
  return { ...packet, bytes };
}
