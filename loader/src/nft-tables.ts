// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Which tables of nftables there are, by its netlink family. */
import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { readAttributes, readText } from './netlink-message.js';
import { NetlinkSocket } from './netlink-socket.js';

const NETLINK_NETFILTER = 12;
const NFNL_SUBSYS_NFTABLES = 10;
const NFT_MSG_GETTABLE = 1;
const NFTA_TABLE_NAME = 1;
const NFGEN_BYTES = 4;
/** enum nf_inet and AF_*, as nft names them. */
const FAMILIES: Readonly<Record<number, string>> = {
  1: 'inet',
  2: 'ip',
  3: 'arp',
  5: 'netdev',
  7: 'bridge',
  10: 'ip6',
};
const { EOPNOTSUPP, EPROTONOSUPPORT, EINVAL } = constants.errno;

/**
 * The tables of the calling thread's network namespace, such as `inet filter`. None where the kernel has no nftables.
 * @throws SyscallError EPERM without CAP_NET_ADMIN
 */
export function listNftTables(): string[] {
  let socket: NetlinkSocket | undefined;
  try {
    socket = new NetlinkSocket(0, NETLINK_NETFILTER);
    const type = (NFNL_SUBSYS_NFTABLES << 8) | NFT_MSG_GETTABLE;
    const answers = socket.dump('list the tables of nftables', type, Buffer.alloc(NFGEN_BYTES));
    return answers.map(({ body }) => {
      const name = readText(readAttributes(body, NFGEN_BYTES).get(NFTA_TABLE_NAME)) ?? '';
      return `${FAMILIES[body[0] ?? 0] ?? 'family'} ${name}`;
    });
  } catch (error) {
    if (error instanceof SyscallError && [EOPNOTSUPP, EPROTONOSUPPORT, EINVAL].includes(error.errno))
      return [];
    throw error;
  } finally {
    socket?.close();
  }
}
