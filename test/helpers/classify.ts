// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Finds out from outside how a NAT behaves (RFC 4787's words), with sockets alone: nothing of it is asked.
//
// A NAT that keeps ports looks endpoint-independent as long as nobody else wants the port. So two inside
// hosts want the same one before anything is concluded.

import type { UdpSocket } from './peer.js';
import { type Scene, TCP_PORT, UDP_PORT } from './scene.js';
import { elapse } from './wait.js';

/** Which destinations share a mapping, and whose packets come in through it. */
export type Scope = 'endpoint-independent' | 'address-dependent' | 'address-and-port-dependent';

export interface Behaviour {
  /** RFC 4787 section 4.1. */
  mapping: Scope;
  /** RFC 4787 section 5. */
  filtering: Scope;
  /** Section 6: what an inside host sees of another that writes to its outside address; none: nothing. */
  hairpin: 'external' | 'internal' | 'none';
  /** Section 4.2.1: a port that nobody else has is kept. */
  preservation: boolean;
  /** One outside port serves two inside hosts at once, told apart by their destinations (REQ-3). */
  overloading: boolean;
  /** A port below 1024 is changed to one below 1024, a higher one to a higher one (REQ-3a). */
  portClass: boolean;
  /** An even port is changed to an even one, an odd one to an odd one (REQ-4). */
  parity: boolean;
  /** Ports that are given instead do not lie side by side (RFC 7857 section 9). */
  random: boolean;
}

/** What the clash tests begin at; each test takes ports of its own. */
const PORT = { mapping: 41_000, filtering: 42_000, hairpin: 43_000, overload: 44_000, parity: 45_000 };
/** A second port of every server. */
const OTHER_PORT = UDP_PORT + 1;
const CLASHES = 16;

function scope(sameAddress: boolean, otherAddress: boolean): Scope {
  if (otherAddress) return 'endpoint-independent';
  return sameAddress ? 'address-dependent' : 'address-and-port-dependent';
}

function outside(seen: string | undefined): { address: string; port: number } {
  if (seen === undefined) throw new Error('no answer came through the NAT');
  const [address, port] = seen.split(' ');
  return { address: address!, port: Number(port) };
}

/** A socket of each of the first two clients, on the same port. */
function rivals(scene: Scene, port: number): Promise<UdpSocket[]> {
  return Promise.all(scene.clients.slice(0, 2).map(({ peer, ipv4 }) => peer.udp(ipv4, port)));
}

async function mappingOf(scene: Scene): Promise<Scope> {
  const [near, far] = scene.servers.map(({ ipv4 }) => ipv4) as [string, string];
  const [loser, winner] = (await rivals(scene, PORT.mapping)) as [UdpSocket, UdpSocket];
  await winner.ask(near, UDP_PORT);
  const first = await loser.ask(near, UDP_PORT);
  const samePort = await loser.ask(near, OTHER_PORT);
  const otherAddress = await loser.ask(far, UDP_PORT);
  outside(first);
  return scope(first === samePort, first === otherAddress);
}

async function filteringOf(scene: Scene): Promise<Scope> {
  const [near, far] = scene.servers as [Scene['server'], Scene['server']];
  const inside = await scene.clients[0]!.peer.udp(scene.clients[0]!.ipv4, PORT.filtering);
  const { address, port } = outside(await inside.ask(near.ipv4, UDP_PORT));
  const heard = async (server: Scene['server'], text: string): Promise<boolean> => {
    const stranger = await server.peer.udp(server.ipv4, OTHER_PORT + 1);
    await stranger.send(text, address, port);
    return (await inside.receive(400))?.data.toString() === text;
  };
  return scope(await heard(near, 'from another port'), await heard(far, 'from another address'));
}

async function hairpinOf(scene: Scene): Promise<Behaviour['hairpin']> {
  const [a, b] = (await rivals(scene, PORT.hairpin)) as [UdpSocket, UdpSocket];
  const ends = [];
  for (const socket of [a, b]) ends.push(outside(await socket.ask(scene.server.ipv4, UDP_PORT)));
  // each has written to the other's outside end before it is asked what it hears: filters are open then
  await a.send('early', ends[1]!.address, ends[1]!.port);
  await b.send('late', ends[0]!.address, ends[0]!.port);
  await a.send('late', ends[1]!.address, ends[1]!.port);
  for (;;) {
    const got = await b.receive(400);
    if (!got) return 'none';
    if (got.data.toString() === 'late') return got.address === ends[0]!.address ? 'external' : 'internal';
  }
}

async function overloadingOf(scene: Scene): Promise<boolean> {
  const [a, b] = (await rivals(scene, PORT.overload)) as [UdpSocket, UdpSocket];
  const [near, far] = scene.servers.map(({ ipv4 }) => ipv4) as [string, string];
  return (await a.ask(near, UDP_PORT)) === (await b.ask(far, UDP_PORT));
}

/** Of the second client, whose ports the first one has: the ports that it wanted, and those that it got. */
async function clashes(scene: Scene, ports: readonly number[]): Promise<[number, number][]> {
  const found: [number, number][] = [];
  for (const port of ports) {
    const [winner, loser] = (await rivals(scene, port)) as [UdpSocket, UdpSocket];
    await winner.ask(scene.server.ipv4, UDP_PORT);
    found.push([port, outside(await loser.ask(scene.server.ipv4, UDP_PORT)).port]);
  }
  return found;
}

/** Whether most of the ports lie within a few of one another, as they do where a NAT counts upwards. */
function sideBySide(ports: readonly number[]): boolean {
  const sorted = [...ports].sort((a, b) => a - b);
  const near = sorted.filter((port, i) => i > 0 && port - sorted[i - 1]! <= 4);
  return near.length > ports.length / 2;
}

/** Wants a scene with two clients on one network and two servers. */
export async function classifyUdp(scene: Scene): Promise<Behaviour> {
  for (const { peer, ipv4 } of scene.servers) await peer.serve(ipv4, { udp: OTHER_PORT });
  const wanted = Array.from({ length: CLASHES }, (_, i) => PORT.parity + i);
  const high = await clashes(scene, wanted);
  const low = await clashes(scene, [600, 601, 602, 603]);
  const lone = await scene.clients[0]!.peer.udp(scene.clients[0]!.ipv4, PORT.parity + 100);
  return {
    mapping: await mappingOf(scene),
    filtering: await filteringOf(scene),
    hairpin: await hairpinOf(scene),
    preservation: outside(await lone.ask(scene.server.ipv4, UDP_PORT)).port === lone.port,
    overloading: await overloadingOf(scene),
    portClass: high.every(([, got]) => got >= 1024) && low.every(([, got]) => got < 1024),
    parity: [...high, ...low].every(([asked, got]) => asked % 2 === got % 2),
    random: !sideBySide(high.map(([, got]) => got)),
  };
}

/** The mapping behaviour for TCP (RFC 5382 REQ-1); wants what classifyUdp wants. */
export async function classifyTcpMapping(scene: Scene): Promise<Scope> {
  const [near, far] = scene.servers as [Scene['server'], Scene['server']];
  await near.peer.serve(near.ipv4, { tcp: TCP_PORT + 1 });
  const [loser, winner] = scene.clients as [Scene['server'], Scene['server']];
  const seen = async (client: Scene['server'], host: string, port: number): Promise<string> =>
    (await client.peer.tcp({ host, port, localAddress: client.ipv4, localPort: PORT.mapping })).seen;
  await seen(winner, near.ipv4, TCP_PORT);
  const first = await seen(loser, near.ipv4, TCP_PORT);
  return scope(
    first === (await seen(loser, near.ipv4, TCP_PORT + 1)),
    first === (await seen(loser, far.ipv4, TCP_PORT)),
  );
}

/**
 * Which packets keep a mapping alive (RFC 4787 section 4.3). Wants timeouts of `seconds` for UDP. Waits more
 * than twice as long for each direction, since time is what is measured.
 */
export async function classifyRefresh(
  scene: Scene,
  seconds: number,
): Promise<{ outbound: boolean; inbound: boolean }> {
  const client = scene.clients[0]!;
  const server = await scene.server.peer.udp(scene.server.ipv4, OTHER_PORT + 2);
  const alive = async (direction: 'outbound' | 'inbound', port: number): Promise<boolean> => {
    const inside = await client.peer.udp(client.ipv4, port);
    const send = (text: string): Promise<void> => inside.send(text, scene.server.ipv4, server.port);
    await send(`open ${direction}`);
    let opened = await server.receive();
    while (opened && opened.data.toString() !== `open ${direction}`) opened = await server.receive();
    if (!opened) throw new Error('the first datagram did not come through');
    for (let i = 0; i < 8; i++) {
      await elapse(seconds * 300);
      await (direction === 'outbound'
        ? send('refresh')
        : server.send('refresh', opened.address, opened.port));
    }
    await server.send('last', opened.address, opened.port);
    for (;;) {
      const got = await inside.receive(400);
      if (!got || got.data.toString() === 'last') return got !== undefined;
    }
  };
  return { outbound: await alive('outbound', 46_000), inbound: await alive('inbound', 46_001) };
}
