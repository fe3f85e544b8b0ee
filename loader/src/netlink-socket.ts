// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * A netlink socket, of routing unless said otherwise: dumps of a table, and the datagrams of multicast groups.
 * It belongs for ever to the network namespace that the calling thread was in when it was opened.
 */

import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { checkErrno, errno, libc } from './native.js';
import {
  buildMessage,
  type NetlinkMessage,
  NLM_F_DUMP,
  NLM_F_DUMP_INTR,
  NLM_F_REQUEST,
  NLMSG_DONE,
  NLMSG_ERROR,
  readAttributes,
  readMessages,
  readText,
} from './netlink-message.js';

const AF_NETLINK = 16;
const SOCK_RAW_CLOEXEC = 3 | 0o2000000;
const NETLINK_ROUTE = 0;
const SOL_NETLINK = 270;
const NETLINK_CAP_ACK = 10;
const NETLINK_EXT_ACK = 11;
const SOL_SOCKET = 1;
const SO_RCVBUF = 8;
const MSG_TRUNC = 0x20;
const MSG_DONTWAIT = 0x40;
const NLMSGERR_ATTR_MSG = 1;

/** The kernel's dumps come in datagrams of at most 32 KiB; one link with hundreds of virtual functions may need more. */
const RECEIVE_BYTES = 256 * 1024;
/** A dump that the kernel marks as torn is asked for again; on a host where links come and go that ends soon. */
const DUMP_ATTEMPTS = 8;

/** All calls are synchronous, so that one buffer serves every socket of the thread. */
let receiveBuffer: Buffer | undefined;

export class NetlinkSocket {
  readonly fd: number;
  #sequence = 1;
  #isOpen = true;

  /**
   * @param groups RTMGRP_* bits of the multicast groups to join
   * @param protocol NETLINK_*
   */
  constructor(groups = 0, protocol = NETLINK_ROUTE) {
    this.fd = checkErrno(libc.socket(AF_NETLINK, SOCK_RAW_CLOEXEC, protocol), 'open a netlink socket');
    try {
      // both only make errors more telling: a kernel older than 4.12 refuses them and is served all the same
      this.#setOption(SOL_NETLINK, NETLINK_CAP_ACK, 1);
      this.#setOption(SOL_NETLINK, NETLINK_EXT_ACK, 1);
      const address = Buffer.alloc(12);
      address.writeUInt16LE(AF_NETLINK, 0);
      address.writeUInt32LE(groups, 8);
      checkErrno(libc.bind(this.fd, address, address.length), 'bind a netlink socket');
    } catch (error) {
      this.close();
      throw error;
    }
  }

  #setOption(level: number, option: number, value: number): void {
    const bytes = Buffer.alloc(4);
    bytes.writeInt32LE(value, 0);
    libc.setsockopt(this.fd, level, option, bytes, bytes.length);
  }

  /** Asks for a receive buffer of about so many bytes; the kernel caps it at net.core.rmem_max. */
  setReceiveBuffer(bytes: number): void {
    this.#setOption(SOL_SOCKET, SO_RCVBUF, bytes);
  }

  /**
   * Every message that the kernel answers to a dump request; the bodies are copies.
   *
   * @param what names the table in errors: `list the links`
   * @throws SyscallError
   */
  dump(what: string, type: number, ...parts: Buffer[]): NetlinkMessage[] {
    for (let attempt = 1; ; attempt++) {
      const sequence = this.#sequence++;
      const request = buildMessage(type, NLM_F_REQUEST | NLM_F_DUMP, sequence, ...parts);
      checkErrno(libc.send(this.fd, request, request.length, 0), what);
      const { messages, isTorn } = this.#receiveDump(what, sequence);
      if (!isTorn) return messages;
      if (attempt === DUMP_ATTEMPTS) {
        throw new SyscallError(what, constants.errno.EINTR, {
          detail: `the table changed during each of ${DUMP_ATTEMPTS} readings`,
          hint: 'Try again when fewer interfaces come and go',
        });
      }
    }
  }

  /**
   * The kernel's answer to a request for one object; the body is a copy.
   *
   * @throws SyscallError
   */
  get(what: string, type: number, ...parts: Buffer[]): NetlinkMessage {
    const sequence = this.#sequence++;
    const request = buildMessage(type, NLM_F_REQUEST, sequence, ...parts);
    checkErrno(libc.send(this.fd, request, request.length, 0), what);
    for (;;) {
      for (const message of readMessages(this.#receive(what, 0)!)) {
        if (message.sequence !== sequence) continue;
        if (message.type === NLMSG_ERROR) throwAnswer(what, message);
        return { ...message, body: Buffer.from(message.body) };
      }
    }
  }

  #receiveDump(what: string, sequence: number): { messages: NetlinkMessage[]; isTorn: boolean } {
    const messages: NetlinkMessage[] = [];
    let isTorn = false;
    for (;;) {
      for (const message of readMessages(this.#receive(what, 0)!)) {
        if (message.sequence !== sequence) continue;
        if ((message.flags & NLM_F_DUMP_INTR) !== 0) isTorn = true;
        if (message.type === NLMSG_ERROR || message.type === NLMSG_DONE) {
          throwAnswer(what, message);
          return { messages, isTorn };
        }
        messages.push({ ...message, body: Buffer.from(message.body) });
      }
    }
  }

  /**
   * The next datagram, or undefined if none waits. A view that the next call overwrites.
   *
   * @throws SyscallError with ENOBUFS when the kernel had to drop datagrams of a multicast group
   */
  receive(what: string): Buffer | undefined {
    return this.#receive(what, MSG_DONTWAIT);
  }

  #receive(what: string, flags: number): Buffer | undefined {
    receiveBuffer ??= Buffer.allocUnsafeSlow(RECEIVE_BYTES);
    for (;;) {
      const length = libc.recv(this.fd, receiveBuffer, receiveBuffer.length, flags | MSG_TRUNC);
      if (length >= 0) {
        if (length <= receiveBuffer.length) return receiveBuffer.subarray(0, length);
        throw new SyscallError(what, constants.errno.EMSGSIZE, { detail: `a message of ${length} bytes` });
      }
      const reason = errno();
      if (reason === constants.errno.EAGAIN) return undefined;
      if (reason !== constants.errno.EINTR) throw new SyscallError(what, reason);
    }
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    libc.close(this.fd);
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Throws what an NLMSG_ERROR, or the NLMSG_DONE of a failed dump, says; errno 0 is success. */
function throwAnswer(what: string, message: NetlinkMessage): void {
  const result = message.body.length >= 4 ? message.body.readInt32LE(0) : 0;
  if (result >= 0) return;
  // what the request was stands between errno and the attributes, of an error only (capped to its header)
  const detail = readText(
    readAttributes(message.body, message.type === NLMSG_ERROR ? 20 : 4).get(NLMSGERR_ATTR_MSG),
  );
  throw new SyscallError(what, -result, detail ? { detail } : {});
}
