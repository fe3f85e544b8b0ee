// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Links, addresses and rules of the calling thread's network namespace, and what changes in it.
 * Read from the kernel by routing netlink (RFC 3549), not by way of ip(8).
 */

import { constants } from 'node:os';
import { SyscallError } from './errors.js';
import { buildU32Attribute, readMessages } from './netlink-message.js';
import { NetlinkSocket } from './netlink-socket.js';
import { Readiness } from './readiness.js';
import {
  decodeAddress,
  decodeLink,
  decodeNeighbour,
  decodeRoute,
  decodeRule,
  type InterfaceAddress,
  type Link,
  type Neighbour,
  type Route,
  type Rule,
} from './rtnetlink-decode.js';

export type {
  AddressFlag,
  InterfaceAddress,
  IpFamily,
  Link,
  Neighbour,
  Route,
  Rule,
} from './rtnetlink-decode.js';

const RTM_NEWLINK = 16;
const RTM_GETLINK = 18;
const RTM_NEWADDR = 20;
const RTM_GETADDR = 22;
const RTM_NEWROUTE = 24;
const RTM_NEWNEIGH = 28;
const RTM_NEWRULE = 32;
const RTM_GETRULE = 34;

const IFLA_EXT_MASK = 29;
/** Leaves the statistics out, which are most of a link's message. Since 4.5. */
const RTEXT_FILTER_SKIP_STATS = 8;

const RTMGRP_LINK = 0x1;
const RTMGRP_NEIGH = 0x4;
const RTMGRP_IPV4_IFADDR = 0x10;
const RTMGRP_IPV4_ROUTE = 0x40;
const RTMGRP_IPV4_RULE = 0x80;
const RTMGRP_IPV6_IFADDR = 0x100;
const RTMGRP_IPV6_ROUTE = 0x400;
const RTMGRP_IPV6_RULE = 0x40000; // as the others bit RTNLGRP_* - 1

/** Room for a burst of some thousands of events between two turns of the event loop. */
const WATCH_BUFFER_BYTES = 1024 * 1024;

/**
 * Every interface, in the kernel's order (by ifindex as a rule).
 *
 * @throws SyscallError
 */
export function listLinks(): Link[] {
  const ifinfomsg = Buffer.alloc(16);
  const mask = buildU32Attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  return list('list the network interfaces', RTM_GETLINK, RTM_NEWLINK, [ifinfomsg, mask], decodeLink);
}

/**
 * Every IPv4 and IPv6 address of every interface, those still tentative included.
 *
 * @throws SyscallError
 */
export function listAddresses(): InterfaceAddress[] {
  const ifaddrmsg = Buffer.alloc(8);
  return list('list the addresses', RTM_GETADDR, RTM_NEWADDR, [ifaddrmsg], decodeAddress);
}

/**
 * Every rule of the routing policy of IPv4 and IPv6, in their order.
 *
 * @throws SyscallError
 */
export function listRules(): Rule[] {
  const fibRuleHdr = Buffer.alloc(12);
  return list('list the routing rules', RTM_GETRULE, RTM_NEWRULE, [fibRuleHdr], decodeRule);
}

/** The message of one interface, as the kernel sends it. @throws SyscallError: ENODEV no such interface */
export function getLinkMessage(ifindex: number, what: string): Buffer {
  const ifinfomsg = Buffer.alloc(16);
  ifinfomsg.writeInt32LE(ifindex, 4);
  const mask = buildU32Attribute(IFLA_EXT_MASK, RTEXT_FILTER_SKIP_STATS);
  const socket = new NetlinkSocket();
  try {
    return socket.get(what, RTM_GETLINK, ifinfomsg, mask).body;
  } finally {
    socket.close();
  }
}

function list<T>(
  what: string,
  request: number,
  answer: number,
  parts: Buffer[],
  decode: (body: Buffer) => T | undefined,
): T[] {
  const socket = new NetlinkSocket();
  try {
    return socket
      .dump(what, request, ...parts)
      .filter((message) => message.type === answer)
      .map((message) => decode(message.body))
      .filter((value) => value !== undefined);
  } finally {
    socket.close();
  }
}

/** What to be told of; at least one. */
export interface WatchTopics {
  links?: boolean;
  addresses?: boolean;
  routes?: boolean;
  neighbours?: boolean;
  rules?: boolean;
}

/** `new` stands for added and for changed: the kernel does not tell them apart. */
export type NetworkEvent =
  | { type: 'link'; action: 'new' | 'del'; link: Link }
  | { type: 'address'; action: 'new' | 'del'; address: InterfaceAddress }
  | { type: 'route'; action: 'new' | 'del'; route: Route }
  | { type: 'neighbour'; action: 'new' | 'del'; neighbour: Neighbour }
  | { type: 'rule'; action: 'new' | 'del'; rule: Rule }
  /** Events were lost (the kernel's queue was full): read the whole state again. */
  | { type: 'resync' };

/**
 * Watches the network namespace that the calling thread is in now, whatever namespace it enters later.
 * Events are kept from this call on, so that a list read after it misses nothing. The iteration ends, without an
 * error, when the signal is aborted or close() is called.
 *
 * @throws SyscallError
 */
export function watch(topics: WatchTopics, signal?: AbortSignal): NetworkWatch {
  return new NetworkWatch(topics, signal);
}

export class NetworkWatch implements AsyncIterableIterator<NetworkEvent> {
  readonly #socket: NetlinkSocket;
  readonly #readiness: Readiness;
  readonly #signal: AbortSignal | undefined;
  readonly #abort = (): void => this.close();
  #queue: NetworkEvent[] = [];
  #taken = 0;
  #isOpen = true;

  constructor(topics: WatchTopics, signal?: AbortSignal) {
    this.#socket = new NetlinkSocket(groupsOf(topics));
    this.#socket.setReceiveBuffer(WATCH_BUFFER_BYTES);
    this.#readiness = new Readiness(this.#socket.fd);
    this.#signal = signal;
    if (signal?.aborted) this.close();
    else signal?.addEventListener('abort', this.#abort);
  }

  async next(): Promise<IteratorResult<NetworkEvent, undefined>> {
    while (this.#isOpen) {
      const event = this.#take();
      if (event) return { done: false, value: event };
      if (this.#receive() > 0) continue;
      await this.#readiness.wait();
    }
    return { done: true, value: undefined };
  }

  #take(): NetworkEvent | undefined {
    const event = this.#queue[this.#taken];
    if (event) this.#taken++;
    else if (this.#taken > 0) {
      this.#queue = [];
      this.#taken = 0;
    }
    return event;
  }

  /** Moves waiting datagrams to the queue; returns how many events there are in it. */
  #receive(): number {
    let isLossy = false;
    for (;;) {
      const datagram = this.#receiveOne();
      if (datagram === undefined) break;
      if (datagram === 'lost') isLossy = true;
      else if (!isLossy) this.#queue.push(...decodeEvents(datagram));
    }
    // After a loss the kernel drops, without saying so again, until its queue is empty (NETLINK_S_CONGESTED in
    // net/netlink/af_netlink.c). What was in the queue is older than the loss, and in the state that is read next.
    if (isLossy) this.#queue.push({ type: 'resync' });
    return this.#queue.length;
  }

  #receiveOne(): Buffer | 'lost' | undefined {
    try {
      return this.#socket.receive('follow the changes of the network');
    } catch (error) {
      if (error instanceof SyscallError && error.errno === constants.errno.ENOBUFS) return 'lost';
      throw error;
    }
  }

  /** Ends the iteration; `break` in a `for await` does it too. */
  async return(): Promise<IteratorResult<NetworkEvent, undefined>> {
    this.close();
    return { done: true, value: undefined };
  }

  close(): void {
    if (!this.#isOpen) return;
    this.#isOpen = false;
    this.#signal?.removeEventListener('abort', this.#abort);
    this.#readiness.close();
    this.#socket.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }

  [Symbol.asyncIterator](): this {
    return this;
  }
}

function groupsOf(topics: WatchTopics): number {
  let groups = 0;
  if (topics.links) groups |= RTMGRP_LINK;
  if (topics.addresses) groups |= RTMGRP_IPV4_IFADDR | RTMGRP_IPV6_IFADDR;
  if (topics.routes) groups |= RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_ROUTE;
  if (topics.neighbours) groups |= RTMGRP_NEIGH;
  if (topics.rules) groups |= RTMGRP_IPV4_RULE | RTMGRP_IPV6_RULE;
  if (groups === 0) throw new TypeError('Cannot watch the network: no topic is chosen');
  return groups;
}

/** Each request type is followed by RTM_NEW*, RTM_DEL*, RTM_GET* in steps of one from a multiple of four. */
const RTM_KIND_MASK = ~3;

function* decodeEvents(datagram: Buffer): Generator<NetworkEvent> {
  for (const { type, body } of readMessages(datagram)) {
    const action = (type & 3) === 0 ? 'new' : 'del';
    const event = decodeEvent(type & RTM_KIND_MASK, action, body);
    if (event) yield event;
  }
}

function decodeEvent(kind: number, action: 'new' | 'del', body: Buffer): NetworkEvent | undefined {
  switch (kind) {
    case RTM_NEWLINK: {
      const link = decodeLink(body);
      return link && { type: 'link', action, link };
    }
    case RTM_NEWADDR: {
      const address = decodeAddress(body);
      return address && { type: 'address', action, address };
    }
    case RTM_NEWROUTE: {
      const route = decodeRoute(body);
      return route && { type: 'route', action, route };
    }
    case RTM_NEWNEIGH: {
      const neighbour = decodeNeighbour(body);
      return neighbour && { type: 'neighbour', action, neighbour };
    }
    case RTM_NEWRULE: {
      const rule = decodeRule(body);
      return rule && { type: 'rule', action, rule };
    }
    default:
      return undefined;
  }
}
