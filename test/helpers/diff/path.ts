// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Between which addresses a sequence's packets travel. Three sides around a router:
//
//   a --- [router] --- b     nothing is translated
//              |
//              +------ c     what leaves here is masqueraded; one address is forwarded to a host at a
//
// Each sequence has an address of its own on every side but the forwarded host's, so that sequences never meet.
import type { Random } from '../tcp/random.js';
import type { Endpoint } from './wire.js';

export type Family = 4 | 6;
export type SideName = 'a' | 'b' | 'c';
export type Way = 'plain' | 'masquerade' | 'forward';

/** Who begins, usually, and who answers. */
export type Role = 'client' | 'server';

/** The router's own address at side c, and the one there whose connections go to FORWARDED_TO. */
export const ROUTER: Record<
  Family,
  { at: Record<SideName, string>; forwarded: string; forwardedTo: string }
> = {
  4: {
    at: { a: '192.168.0.1', b: '192.168.1.1', c: '192.168.2.1' },
    forwarded: '192.168.2.5',
    forwardedTo: '10.0.0.1',
  },
  6: {
    at: { a: 'fd00:1::1', b: 'fd00:2::1', c: 'fd00:3::1' },
    forwarded: 'fd00:3::5',
    forwardedTo: 'fd00:a::1',
  },
};

/** What lies behind each side. */
export const NETWORK: Record<Family, Record<SideName, string>> = {
  4: { a: '10.0.0.0/9', b: '10.128.0.0/10', c: '10.192.0.0/10' },
  6: { a: 'fd00:a::/32', b: 'fd00:b::/32', c: 'fd00:c::/32' },
};

const BASE: Record<Family, Record<SideName, string>> = {
  4: { a: '0a000100', b: '0a800100', c: '0ac00100' },
  6: {
    a: 'fd00000a000000000000000000000100',
    b: 'fd00000b000000000000000000000100',
    c: 'fd00000c000000000000000000000100',
  },
};

/** An address that this text names; of IPv6 those with one `::` and nothing fancy. */
export function addressBytes(text: string): Buffer {
  if (!text.includes(':')) return Buffer.from(text.split('.').map(Number));
  const [head, tail] = text.split('::') as [string, string];
  const words = head.split(':').map((word) => word.padStart(4, '0'));
  const end = tail.split(':').map((word) => word.padStart(4, '0'));
  return Buffer.from(
    [...words, ...Array(8 - words.length - end.length).fill('0000'), ...end].join(''),
    'hex',
  );
}

/** What can be told of a way once, and not for each sequence. */
const FIXED = {
  4: {
    router: addressBytes(ROUTER[4].at.c),
    forwarded: addressBytes(ROUTER[4].forwarded),
    to: addressBytes(ROUTER[4].forwardedTo),
  },
  6: {
    router: addressBytes(ROUTER[6].at.c),
    forwarded: addressBytes(ROUTER[6].forwarded),
    to: addressBytes(ROUTER[6].forwardedTo),
  },
} as const;

/** The address of sequence `index` on a side. */
export function hostAt(family: Family, side: SideName, index: number): Buffer {
  const address = Buffer.from(BASE[family][side], 'hex');
  address.writeUInt32BE(address.readUInt32BE(address.length - 4) + index, address.length - 4);
  return address;
}

/** The way of one flow and its answers. */
export class Path {
  /** The sides' ends as each of them sees itself. */
  readonly client: Endpoint;
  readonly server: Endpoint;
  /** What the other side sees instead. */
  readonly clientSeen: Endpoint;
  readonly serverSeen: Endpoint;
  readonly clientSide: SideName;
  readonly serverSide: SideName;

  constructor(
    readonly family: Family,
    readonly way: Way,
    readonly index: number,
    ports: { client: number; server: number },
  ) {
    const fixed = FIXED[family];
    this.clientSide = way === 'forward' ? 'c' : 'a';
    this.serverSide = way === 'plain' ? 'b' : way === 'forward' ? 'a' : 'c';
    this.client = { address: hostAt(family, this.clientSide, index), port: ports.client };
    this.server = {
      address: way === 'forward' ? fixed.to : hostAt(family, this.serverSide, index),
      port: ports.server,
    };
    this.clientSeen = way === 'masquerade' ? { address: fixed.router, port: ports.client } : this.client;
    this.serverSeen = way === 'forward' ? { address: fixed.forwarded, port: ports.server } : this.server;
  }

  static make(random: Random, family: Family, index: number): Path {
    const way = random.weighted<Way>({ plain: 6, masquerade: 5, forward: 2 });
    const server = random.pick([80, 443, 53, 1, 65_535, random.between(1024, 65_000)]);
    return new Path(family, way, index, { client: random.between(1024, 65_535), server });
  }

  /** The sides that a packet from one of the two crosses. */
  sides(from: Role): { in: SideName; out: SideName } {
    return from === 'client'
      ? { in: this.clientSide, out: this.serverSide }
      : { in: this.serverSide, out: this.clientSide };
  }

  /** Source and destination of a packet as its sender writes them. */
  sent(from: Role): [source: Endpoint, destination: Endpoint] {
    return from === 'client' ? [this.client, this.serverSeen] : [this.server, this.clientSeen];
  }

  /** The same as it arrives. */
  arrived(from: Role): [source: Endpoint, destination: Endpoint] {
    return from === 'client' ? [this.clientSeen, this.server] : [this.serverSeen, this.client];
  }

  /** The tuples under which a flow may stand: from one of the two, and where addresses differ from the other. */
  tuples(): [Endpoint, Endpoint][] {
    return this.way === 'plain' ? [this.sent('client')] : [this.sent('client'), this.sent('server')];
  }
}
