// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Netlink messages as bytes: building requests, walking answers. Pure: no socket, no kernel.
 * Layout: include/uapi/linux/netlink.h. Integers are in host order, and every platform that the native seam
 * supports is little-endian. A length that runs over the end is a LayoutError.
 */
import { LayoutError } from './errors.js';

export const NLM_F_REQUEST = 0x1;
export const NLM_F_ACK = 0x4;
/** The table changed while the kernel walked it: the dump is to be repeated. Since 3.10. */
export const NLM_F_DUMP_INTR = 0x10;
export const NLM_F_DUMP = 0x300;

export const NLMSG_NOOP = 1;
export const NLMSG_ERROR = 2;
export const NLMSG_DONE = 3;

const HEADER_BYTES = 16;
const ATTRIBUTE_HEADER_BYTES = 4;
/** NLA_F_NESTED and NLA_F_NET_BYTEORDER stand in the type's two highest bits. */
const ATTRIBUTE_TYPE_MASK = 0x3fff;

export interface NetlinkMessage {
  type: number;
  flags: number;
  sequence: number;
  /** What follows the header; a view of the buffer it was read from. */
  body: Buffer;
}

function malformed(reason: string): LayoutError {
  return new LayoutError('read a netlink message', reason);
}

function align(length: number): number {
  return (length + 3) & ~3;
}

/** One message, header included, padded to four bytes. */
export function buildMessage(type: number, flags: number, sequence: number, ...parts: Buffer[]): Buffer {
  const header = Buffer.alloc(HEADER_BYTES);
  const body = Buffer.concat(parts);
  header.writeUInt32LE(HEADER_BYTES + body.length, 0);
  header.writeUInt16LE(type, 4);
  header.writeUInt16LE(flags, 6);
  header.writeUInt32LE(sequence, 8);
  return Buffer.concat([header, body], align(HEADER_BYTES + body.length));
}

/** One attribute, padded to four bytes. */
export function buildAttribute(type: number, payload: Buffer): Buffer {
  const header = Buffer.alloc(ATTRIBUTE_HEADER_BYTES);
  header.writeUInt16LE(ATTRIBUTE_HEADER_BYTES + payload.length, 0);
  header.writeUInt16LE(type, 2);
  return Buffer.concat([header, payload], align(ATTRIBUTE_HEADER_BYTES + payload.length));
}

export function buildU32Attribute(type: number, value: number): Buffer {
  const payload = Buffer.alloc(4);
  payload.writeUInt32LE(value, 0);
  return buildAttribute(type, payload);
}

/** Every message of a datagram in order. */
export function* readMessages(datagram: Buffer): Generator<NetlinkMessage> {
  let offset = 0;
  while (offset < datagram.length) {
    const rest = datagram.length - offset;
    if (rest < HEADER_BYTES) throw malformed(`${rest} bytes left for a header`);
    const length = datagram.readUInt32LE(offset);
    if (length < HEADER_BYTES || length > rest) {
      throw malformed(`length ${length} with ${rest} bytes left`);
    }
    yield {
      type: datagram.readUInt16LE(offset + 4),
      flags: datagram.readUInt16LE(offset + 6),
      sequence: datagram.readUInt32LE(offset + 8),
      body: datagram.subarray(offset + HEADER_BYTES, offset + length),
    };
    offset += align(length);
  }
}

/** The attributes from `offset` of a body on, by type; the last of one type wins, as in the kernel. */
export function readAttributes(body: Buffer, offset = 0): Map<number, Buffer> {
  const attributes = new Map<number, Buffer>();
  while (body.length - offset >= ATTRIBUTE_HEADER_BYTES) {
    const length = body.readUInt16LE(offset);
    if (length < ATTRIBUTE_HEADER_BYTES || length > body.length - offset) {
      throw malformed(`attribute length ${length} with ${body.length - offset} bytes left`);
    }
    const type = body.readUInt16LE(offset + 2) & ATTRIBUTE_TYPE_MASK;
    attributes.set(type, body.subarray(offset + ATTRIBUTE_HEADER_BYTES, offset + length));
    offset += align(length);
  }
  return attributes;
}

/** A NUL-terminated string attribute. */
export function readText(attribute: Buffer | undefined): string | undefined {
  if (!attribute) return undefined;
  const end = attribute.indexOf(0);
  return attribute.toString('utf8', 0, end < 0 ? attribute.length : end);
}

/** A u32 attribute; one that is too short counts as absent. */
export function readU32(attribute: Buffer | undefined): number | undefined {
  return attribute && attribute.length >= 4 ? attribute.readUInt32LE(0) : undefined;
}
