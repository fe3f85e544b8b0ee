// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What hangs on an interface's ingress or clsact qdisc, whoever put it there; read by routing netlink. */

import type { Direction } from './hook.js';
import { readAttributes, readText, readU32 } from './netlink-message.js';
import { NetlinkSocket } from './netlink-socket.js';

const RTM_NEWQDISC = 36;
const RTM_GETQDISC = 38;
const RTM_NEWTFILTER = 44;
const RTM_GETTFILTER = 46;

/** TC_H_INGRESS's major number is clsact's too; its two sides are its minor numbers. */
const CLSACT_HANDLE = 0xffff0000;
const PARENTS = { ingress: 0xfffffff2, egress: 0xfffffff3 } as const;

const TCA_KIND = 1;
const TCA_OPTIONS = 2;
const TCA_CHAIN = 11;
const TCA_BPF_NAME = 7;
const TCA_BPF_FLAGS = 8;
const TCA_BPF_ID = 11;
const TCA_BPF_FLAG_ACT_DIRECT = 1;

/** One filter of any kind; the rest of it only for kind "bpf". */
export interface TcFilterEntry {
  /** "bpf", "flower", "matchall", "u32", ... */
  kind: string;
  priority: number;
  handle: number;
  chain: number;
  /** EtherType; 3 (ETH_P_ALL) is every packet. */
  protocol: number;
  programId?: number;
  /** As the one who attached it called it: libbpf takes the program's name. */
  name?: string;
  isDirectAction?: boolean;
}

/** struct tcmsg: family, padding, ifindex, handle, parent, info */
function tcmsg(ifindex: number, parent: number): Buffer {
  const bytes = Buffer.alloc(20);
  bytes.writeInt32LE(ifindex, 4);
  bytes.writeUInt32LE(parent, 12);
  return bytes;
}

function dump(what: string, request: number, answer: number, ifindex: number, parent: number): Buffer[] {
  const socket = new NetlinkSocket();
  try {
    return socket
      .dump(what, request, tcmsg(ifindex, parent))
      .filter((message) => message.type === answer && message.body.readInt32LE(4) === ifindex)
      .map((message) => message.body);
  } finally {
    socket.close();
  }
}

/** The kind of the qdisc in clsact's place: "clsact", "ingress", or undefined for none or no such interface. */
export function ingressQdiscKind(ifindex: number): string | undefined {
  const what = `list the qdiscs of interface ${ifindex}`;
  const body = dump(what, RTM_GETQDISC, RTM_NEWQDISC, ifindex, 0).find(
    (qdisc) => qdisc.readUInt32LE(8) === CLSACT_HANDLE,
  );
  return body && readText(readAttributes(body, 20).get(TCA_KIND));
}

/**
 * Every filter on one side of the clsact qdisc (for ingress: of the ingress qdisc too) in the order in which they run;
 * empty without a qdisc.
 *
 * @throws SyscallError
 */
export function listTcFilters(ifindex: number, direction: Direction): TcFilterEntry[] {
  const what = `list the ${direction} filters of interface ${ifindex}`;
  return dump(what, RTM_GETTFILTER, RTM_NEWTFILTER, ifindex, PARENTS[direction])
    .filter((body) => body.readUInt32LE(8) !== 0) // a priority's head, which is no filter
    .map(decodeFilter);
}

function decodeFilter(body: Buffer): TcFilterEntry {
  const attributes = readAttributes(body, 20);
  const info = body.readUInt32LE(16);
  const kind = readText(attributes.get(TCA_KIND)) ?? '';
  const options = attributes.get(TCA_OPTIONS);
  return {
    kind,
    priority: info >>> 16,
    handle: body.readUInt32LE(8),
    chain: readU32(attributes.get(TCA_CHAIN)) ?? 0,
    // the lower half is in network order
    protocol: body.readUInt16BE(16),
    ...(kind === 'bpf' && options && decodeBpfOptions(options)),
  };
}

function decodeBpfOptions(options: Buffer): Partial<TcFilterEntry> {
  const bpf = readAttributes(options);
  const programId = readU32(bpf.get(TCA_BPF_ID));
  const name = readText(bpf.get(TCA_BPF_NAME));
  return {
    isDirectAction: ((readU32(bpf.get(TCA_BPF_FLAGS)) ?? 0) & TCA_BPF_FLAG_ACT_DIRECT) !== 0,
    ...(programId !== undefined && { programId }),
    ...(name !== undefined && { name }),
  };
}
