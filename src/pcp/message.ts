// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Messages of PCP, version 2 (RFC 6887 sections 7, 11 and 13): requests are read and judged, responses written.
 * All numbers on the wire are in network order, all addresses have 16 bytes, IPv4's as ::ffff:a.b.c.d (section 5).
 */
import { type Address, compareAddresses } from '../address.js';
import { errorLifetime, PcpResult } from './result.js';

export const PCP_VERSION = 2;
export const PCP_SERVER_PORT = 5351;
/** Where clients listen to announcements (section 14.1). */
export const PCP_CLIENT_PORT = 5350;

export const PcpOpcode = { ANNOUNCE: 0, MAP: 1 } as const;

const RESPONSE_BIT = 0x80;
const HEADER_BYTES = 24;
const MAP_BYTES = 36;
const NONCE_BYTES = 12;
const ADDRESS_BYTES = 16;
/** Of a whole message (section 7). */
const MAX_BYTES = 1100;

const OPTION_THIRD_PARTY = 1;
const OPTION_PREFER_FAILURE = 2;
/** Options from here on may be ignored by who does not know them (section 7.3). */
const OPTION_OPTIONAL = 128;

/** What a MAP request asks for; ports and protocol in host order. */
export interface MapData {
  /** 12 bytes. */
  readonly nonce: Uint8Array;
  /** 0: all. */
  readonly protocol: number;
  /** 0: all. */
  readonly port: number;
  /** 0: any. */
  readonly externalPort: number;
  /** Absent: any. */
  readonly externalAddress?: Address;
}

export interface PcpRequest {
  readonly opcode: number;
  /** Seconds; 0 of MAP: the mapping is to go. */
  readonly lifetime: number;
  readonly map?: MapData;
  /** The client wants the external port and address that it names, or none (section 13.2). */
  readonly preferFailure: boolean;
}

/** undefined: nobody is to be answered. */
export type PcpReading = { readonly request: PcpRequest } | { readonly error: PcpResult } | undefined;

/** What comes first is judged first: version, length, opcode, address, the opcode's own data, options. */
export function readPcp(bytes: Uint8Array, source: Address): PcpReading {
  if (bytes.length < 2 || bytes[1]! & RESPONSE_BIT) return undefined;
  if (bytes[0] !== PCP_VERSION) return { error: PcpResult.UNSUPP_VERSION };
  if (bytes.length < HEADER_BYTES || bytes.length > MAX_BYTES || bytes.length % 4 !== 0) {
    return { error: PcpResult.MALFORMED_REQUEST };
  }
  const opcode = bytes[1]!;
  if (opcode !== PcpOpcode.ANNOUNCE && opcode !== PcpOpcode.MAP) return { error: PcpResult.UNSUPP_OPCODE };
  if (!isSame(readAddress(bytes, 8), source)) return { error: PcpResult.ADDRESS_MISMATCH };
  const isMap = opcode === PcpOpcode.MAP;
  const optionsAt = HEADER_BYTES + (isMap ? MAP_BYTES : 0);
  if (bytes.length < optionsAt) return { error: PcpResult.MALFORMED_REQUEST };
  const view = viewOf(bytes);
  const map = isMap ? readMap(bytes, view) : undefined;
  if (map && map.protocol === 0 && map.port !== 0) return { error: PcpResult.MALFORMED_REQUEST };
  const options = readOptions(view, optionsAt, isMap);
  if ('error' in options) return options;
  return { request: { opcode, lifetime: view.getUint32(4), ...(map && { map }), ...options } };
}

function readMap(bytes: Uint8Array, view: DataView): MapData {
  const at = HEADER_BYTES;
  const externalAddress = readAddress(bytes, at + 20);
  return {
    nonce: bytes.slice(at, at + NONCE_BYTES),
    protocol: bytes[at + 12]!,
    port: view.getUint16(at + 16),
    externalPort: view.getUint16(at + 18),
    ...(!externalAddress.bytes.every((byte) => byte === 0) && { externalAddress }),
  };
}

type Options = Pick<PcpRequest, 'preferFailure'>;

function readOptions(view: DataView, start: number, isMap: boolean): Options | { error: PcpResult } {
  let preferFailure = false;
  for (let at = start; at < view.byteLength; ) {
    const code = view.getUint8(at);
    const length = view.getUint16(at + 2);
    const next = at + 4 + ((length + 3) & ~3);
    if (next > view.byteLength) return { error: PcpResult.MALFORMED_OPTION };
    at = next;
    if (code === OPTION_PREFER_FAILURE) {
      if (length !== 0 || preferFailure || !isMap) return { error: PcpResult.MALFORMED_OPTION };
      preferFailure = true;
    } else if (code === OPTION_THIRD_PARTY && length !== ADDRESS_BYTES) {
      return { error: PcpResult.MALFORMED_OPTION };
    } else if (code < OPTION_OPTIONAL) {
      return { error: PcpResult.UNSUPP_OPTION };
    }
  }
  return { preferFailure };
}

/** What a successful MAP has given. */
export interface MapAnswer {
  readonly map: MapData;
  readonly port: number;
  readonly address: Address;
  readonly preferFailure: boolean;
}

/** A successful response. @param epoch seconds, see section 8.5 */
export function writeSuccess(opcode: number, lifetime: number, epoch: number, answer?: MapAnswer): Buffer {
  const options = answer?.preferFailure ? 4 : 0;
  const bytes = Buffer.alloc(HEADER_BYTES + (answer ? MAP_BYTES + options : 0));
  writeHeader(bytes, opcode, PcpResult.SUCCESS, lifetime, epoch);
  if (!answer) return bytes;
  const { map, port, address } = answer;
  const at = HEADER_BYTES;
  bytes.set(map.nonce, at);
  bytes[at + 12] = map.protocol;
  bytes.writeUInt16BE(map.port, at + 16);
  bytes.writeUInt16BE(port, at + 18);
  bytes.set(addressBytes(address), at + 20);
  if (options) bytes[at + MAP_BYTES] = OPTION_PREFER_FAILURE;
  return bytes;
}

/** A response that refuses: the request again, as far as a message may be long, under a header of its own. */
export function writeError(
  request: Uint8Array,
  error: PcpResult,
  epoch: number,
  lifetime = errorLifetime(error),
): Buffer {
  const length = Math.min(MAX_BYTES, Math.max(HEADER_BYTES, (request.length + 3) & ~3));
  const bytes = Buffer.alloc(length);
  bytes.set(request.subarray(0, length));
  writeHeader(bytes, request[1]!, error, lifetime, epoch);
  return bytes;
}

function writeHeader(bytes: Buffer, opcode: number, result: number, lifetime: number, epoch: number): void {
  bytes[0] = PCP_VERSION;
  bytes[1] = opcode | RESPONSE_BIT;
  bytes[2] = 0;
  bytes[3] = result;
  bytes.writeUInt32BE(lifetime, 4);
  bytes.writeUInt32BE(epoch, 8);
  bytes.fill(0, 12, HEADER_BYTES);
}

const MAPPED_PREFIX = Uint8Array.of(0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff);

function readAddress(bytes: Uint8Array, at: number): Address {
  const whole = bytes.slice(at, at + ADDRESS_BYTES);
  const isMapped = MAPPED_PREFIX.every((byte, i) => whole[i] === byte);
  return isMapped ? { family: 'ipv4', bytes: whole.slice(12) } : { family: 'ipv6', bytes: whole };
}

/** The 16 bytes of an address. */
export function addressBytes({ family, bytes }: Address): Uint8Array {
  return family === 'ipv6' ? bytes : Uint8Array.of(...MAPPED_PREFIX, ...bytes);
}

function isSame(a: Address, b: Address): boolean {
  return a.family === b.family && compareAddresses(a, b) === 0;
}

function viewOf(bytes: Uint8Array): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
