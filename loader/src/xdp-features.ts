// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What an interface's driver can do with XDP, as it says by the generic netlink family "netdev" (since Linux 6.3). */
import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { buildAttribute, buildU32Attribute, readAttributes } from './netlink-message.js';
import { NetlinkSocket } from './netlink-socket.js';

const NETLINK_GENERIC = 16;
const GENL_ID_CTRL = 16;
const CTRL_CMD_GETFAMILY = 3;
const CTRL_ATTR_FAMILY_ID = 1;
const CTRL_ATTR_FAMILY_NAME = 2;
const GENL_HEADER_BYTES = 4;
const NETDEV_CMD_DEV_GET = 1;
const NETDEV_A_DEV_IFINDEX = 1;
const NETDEV_A_DEV_XDP_FEATURES = 3;

/** enum netdev_xdp_act */
const BITS = { basic: 1, redirect: 2, transmit: 4, buffers: 32 } as const;

export interface XdpFeatures {
  /** Programs run in the driver, and may drop, pass and send back. */
  readonly basic: boolean;
  /** They may send to other interfaces. */
  readonly redirect: boolean;
  /** The interface takes what programs of others send to it; some do only while they have a program themselves. */
  readonly transmit: boolean;
  /** Packets may lie in several buffers (jumbo frames). */
  readonly buffers: boolean;
}

/**
 * Asks for one interface of the calling thread's network namespace.
 * @returns undefined where the kernel does not say, before 6.3
 * @throws SyscallError: ENODEV no such interface
 */
export function xdpFeatures(ifindex: number): XdpFeatures | undefined {
  const socket = new NetlinkSocket(0, NETLINK_GENERIC);
  try {
    const family = netdevFamily(socket);
    if (family === undefined) return undefined;
    const { body } = socket.get(
      `ask for the XDP features of interface ${ifindex}`,
      family,
      genericHeader(NETDEV_CMD_DEV_GET),
      buildU32Attribute(NETDEV_A_DEV_IFINDEX, ifindex),
    );
    const bits = readAttributes(body, GENL_HEADER_BYTES).get(NETDEV_A_DEV_XDP_FEATURES)?.readUInt32LE(0) ?? 0;
    return {
      basic: (bits & BITS.basic) !== 0,
      redirect: (bits & BITS.redirect) !== 0,
      transmit: (bits & BITS.transmit) !== 0,
      buffers: (bits & BITS.buffers) !== 0,
    };
  } finally {
    socket.close();
  }
}

function genericHeader(command: number): Buffer {
  return Buffer.from([command, 1, 0, 0]);
}

function netdevFamily(socket: NetlinkSocket): number | undefined {
  try {
    const { body } = socket.get(
      'find the netlink family "netdev"',
      GENL_ID_CTRL,
      genericHeader(CTRL_CMD_GETFAMILY),
      buildAttribute(CTRL_ATTR_FAMILY_NAME, Buffer.from('netdev\0')),
    );
    return readAttributes(body, GENL_HEADER_BYTES).get(CTRL_ATTR_FAMILY_ID)?.readUInt16LE(0);
  } catch (error) {
    if (error instanceof SyscallError && error.errno === constants.errno.ENOENT) return undefined;
    throw error;
  }
}
