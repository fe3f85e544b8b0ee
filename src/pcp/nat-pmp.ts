// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Messages of NAT-PMP (RFC 6886), which is version 0 at PCP's port (RFC 6887 appendix A). IPv4 alone. */
import type { Address } from '../address.js';
import { PcpResult } from './result.js';

export const NAT_PMP_VERSION = 0;

const OPCODE_ADDRESS = 0;
const OPCODE_UDP = 1;
const OPCODE_TCP = 2;
const RESPONSE = 128;

const MAP_REQUEST_BYTES = 12;

export const NatPmpResult = {
  SUCCESS: 0,
  NOT_AUTHORIZED: 2,
  NETWORK_FAILURE: 3,
  OUT_OF_RESOURCES: 4,
  UNSUPPORTED_OPCODE: 5,
} as const;

export type NatPmpResult = (typeof NatPmpResult)[keyof typeof NatPmpResult];

export type NatPmpRequest =
  | { readonly kind: 'address' }
  /** What is neither of these. */
  | { readonly kind: 'unknown'; readonly opcode: number }
  | {
      readonly kind: 'map';
      readonly protocol: 6 | 17;
      /** 0 with lifetime 0: all of the protocol. */
      readonly port: number;
      /** 0: any. */
      readonly externalPort: number;
      /** Seconds; 0: the mapping is to go. */
      readonly lifetime: number;
    };

/** undefined: too short to be answered, or a response. */
export function readNatPmp(bytes: Uint8Array): NatPmpRequest | undefined {
  const opcode = bytes[1];
  if (opcode === undefined || opcode >= RESPONSE) return undefined;
  if (opcode === OPCODE_ADDRESS) return { kind: 'address' };
  if (opcode !== OPCODE_UDP && opcode !== OPCODE_TCP) return { kind: 'unknown', opcode };
  if (bytes.length < MAP_REQUEST_BYTES) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  return {
    kind: 'map',
    protocol: opcode === OPCODE_UDP ? 17 : 6,
    port: view.getUint16(4),
    externalPort: view.getUint16(6),
    lifetime: view.getUint32(8),
  };
}

function header(length: number, opcode: number, result: NatPmpResult, epoch: number): Buffer {
  const bytes = Buffer.alloc(length);
  bytes[1] = opcode | RESPONSE;
  bytes.writeUInt16BE(result, 2);
  bytes.writeUInt32BE(epoch, 4);
  return bytes;
}

/** The answer to a request for the external address, also sent unasked (section 3.2.1). */
export function writeNatPmpAddress(address: Address | undefined, epoch: number): Buffer {
  const result = address ? NatPmpResult.SUCCESS : NatPmpResult.NETWORK_FAILURE;
  const bytes = header(12, OPCODE_ADDRESS, result, epoch);
  if (address) bytes.set(address.bytes, 8);
  return bytes;
}

/** @param given what a successful request has got; 0 of both for one that was deleted */
export function writeNatPmpMap(
  { protocol, port }: { readonly protocol: number; readonly port: number },
  result: NatPmpResult,
  epoch: number,
  given: { readonly port: number; readonly lifetime: number } = { port: 0, lifetime: 0 },
): Buffer {
  const bytes = header(16, protocol === 17 ? OPCODE_UDP : OPCODE_TCP, result, epoch);
  bytes.writeUInt16BE(port, 8);
  bytes.writeUInt16BE(given.port, 10);
  bytes.writeUInt32BE(given.lifetime, 12);
  return bytes;
}

export function writeNatPmpError(opcode: number, result: NatPmpResult, epoch: number): Buffer {
  return header(8, opcode, result, epoch);
}

/** What NAT-PMP has for a result of PCP. */
export function natPmpResult(result: PcpResult): NatPmpResult {
  switch (result) {
    case PcpResult.SUCCESS:
      return NatPmpResult.SUCCESS;
    case PcpResult.NETWORK_FAILURE:
      return NatPmpResult.NETWORK_FAILURE;
    case PcpResult.NO_RESOURCES:
    case PcpResult.USER_EX_QUOTA:
    case PcpResult.CANNOT_PROVIDE_EXTERNAL:
      return NatPmpResult.OUT_OF_RESOURCES;
    default:
      return NatPmpResult.NOT_AUTHORIZED;
  }
}
