// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** UDP sockets that hear one network device alone, which Node.js can not make but can use (`socket.bind({ fd })`). */

import { checkErrno, LITTLE_ENDIAN, libc } from './native.js';

const AF_INET = 2;
const AF_INET6 = 10;
const SOCK_DGRAM_NONBLOCK_CLOEXEC = 2 | 0o4000 | 0o2000000;
const SOL_SOCKET = 1;
const SO_BINDTODEVICE = 25;
const IPPROTO_IPV6 = 41;
const IPV6_V6ONLY = 26;

export interface DeviceSocketOptions {
  /** Name of the network device. */
  readonly device: string;
  /** Its address to listen on: 4 or 16 bytes in network order. */
  readonly address: Uint8Array;
  readonly port: number;
  /** Index of the device, which a link-local IPv6 address needs. */
  readonly scope?: number;
}

/**
 * A bound, non-blocking UDP socket that takes only what comes in by the device, whatever address it was sent to, and
 * sends by it. It belongs to the network namespace of the calling thread, and to the caller, who closes it. Before
 * Linux 5.7 this needs CAP_NET_RAW.
 *
 * @throws SyscallError
 */
export function openDeviceSocket({ device, address, port, scope = 0 }: DeviceSocketOptions): number {
  const isIpv6 = address.length === 16;
  const what = `listen on UDP port ${port} of device "${device}"`;
  const fd = checkErrno(libc.socket(isIpv6 ? AF_INET6 : AF_INET, SOCK_DGRAM_NONBLOCK_CLOEXEC, 0), what);
  try {
    const name = Buffer.from(`${device}\0`);
    checkErrno(libc.setsockopt(fd, SOL_SOCKET, SO_BINDTODEVICE, name, name.length), what);
    if (isIpv6) {
      const one = new Uint8Array(new Int32Array([1]).buffer);
      checkErrno(libc.setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, one, one.length), what);
    }
    const place = isIpv6 ? sockaddr6(address, port, scope) : sockaddr4(address, port);
    checkErrno(libc.bind(fd, place, place.length), what);
    return fd;
  } catch (error) {
    libc.close(fd);
    throw error;
  }
}

/** struct sockaddr_in. */
function sockaddr4(address: Uint8Array, port: number): Buffer {
  const bytes = Buffer.alloc(16);
  writeFamily(bytes, AF_INET);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address, 4);
  return bytes;
}

/** struct sockaddr_in6. */
function sockaddr6(address: Uint8Array, port: number, scope: number): Buffer {
  const bytes = Buffer.alloc(28);
  writeFamily(bytes, AF_INET6);
  bytes.writeUInt16BE(port, 2);
  bytes.set(address, 8);
  viewOf(bytes).setUint32(24, scope, LITTLE_ENDIAN);
  return bytes;
}

function writeFamily(bytes: Buffer, family: number): void {
  viewOf(bytes).setUint16(0, family, LITTLE_ENDIAN);
}

function viewOf(bytes: Buffer): DataView {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}
