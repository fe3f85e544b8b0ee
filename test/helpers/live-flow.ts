// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a flow in use has to stand in every mode that forwards past the stack: the mode itself comes and goes, and
// the neighbour and the route that it was forwarded by are not there any more.
import type { Test } from 'tap';
import { Capture } from './capture.js';
import type { Ctnat } from './ctnat.js';
import type { Flow } from './flow.js';
import { inject } from './inject.js';
import { veth } from './netns.js';
import { build, bytes, ethernet, ipv4, ipv6, udp } from './packet.js';
import { type Scene, TCP_PORT, UDP_PORT } from './scene.js';
import type { IpPacket } from './wire/packet.js';

/** A network whose router runs ctnat. */
export type CtnatScene = Omit<Scene, 'nat'> & { ctnat: Ctnat };

export const FAMILIES = ['ipv4', 'ipv6'] as const;
export type Family = (typeof FAMILIES)[number];

/** The addresses of inside hosts, as tcpdump(1) takes them. */
const INSIDE: Readonly<Record<Family, string>> = { ipv4: 'net 10.0.0.0/8', ipv6: 'net fd00:10::/32' };
/** A second link between router and server. */
const SECOND: Readonly<Record<Family, readonly [router: string, server: string, bits: number]>> = {
  ipv4: ['192.0.2.1', '192.0.2.9', 24],
  ipv6: ['2001:db8:9::1', '2001:db8:9::9', 64],
};

/** The client's source port, of UDP. */
export const PORT = 40_000;

/**
 * The client talks without a pause while one change after the other is made: every question is answered from the
 * router's address and the flow's own port, nothing leaves untranslated, and the flow stays one.
 */
export async function keepsItsFlow(
  t: Test,
  { clients, server, router, ctnat }: CtnatScene,
  family: Family,
  changes: readonly (() => Promise<void>)[],
): Promise<void> {
  const outside = await Capture.start(server.ns, 'eth0', INSIDE[family]);
  const connection = await clients[0]!.peer.tcp({ host: server[family], port: TCP_PORT });
  const socket = await clients[0]!.peer.udp(clients[0]![family], PORT);
  let busy = true;
  let [asked, lost] = [0, 0];
  const running = (async () => {
    while (busy) {
      asked++;
      if ((await socket.ask(server[family], UDP_PORT)) !== `${router[family]} ${PORT}`) lost++;
    }
  })();
  for (const change of changes) {
    await change();
    t.equal(await connection.echo('hello'), 'hello');
  }
  busy = false;
  await running;

  t.equal(lost, 0, `${asked} questions, all answered`);
  t.same(await outside.stopIp(), [], 'nothing left untranslated');
  const [flow, ...others] = await ctnat.json<Flow[]>(['bpf', 'ct', 'list', 'global', '-p', 'udp']);
  t.same(others, []);
  t.equal(flow!.original.packets, asked, 'every packet is counted once');
}

/** Puts a second link between router and server, eth1 to wan1; returns the server's address on it. */
async function secondLink(server: Scene['server'], router: Scene['router'], family: Family): Promise<string> {
  const [own, via, bits] = SECOND[family];
  const nodad = family === 'ipv6' ? ['nodad'] : [];
  await veth(server.ns, 'eth1', router.ns, 'wan1');
  await server.ns.ip('address', 'add', `${via}/${bits}`, 'dev', 'eth1', ...nodad);
  await router.ns.ip('address', 'add', `${own}/${bits}`, 'dev', 'wan1', ...nodad);
  return via;
}

/**
 * A flow in use keeps its translation, and loses no packet, when the router forgets the server, and when the
 * server's route moves to another interface.
 * @param attach of that interface, by its name
 */
export async function followsItsWay(
  t: Test,
  { clients, server, router }: CtnatScene,
  family: Family,
  attach: (iface: string) => Promise<unknown>,
): Promise<void> {
  const via = await secondLink(server, router, family);
  await attach('wan1');
  const socket = await clients[0]!.peer.udp(clients[0]![family], PORT);
  const [to, seen] = [server[family], `${router[family]} ${PORT}`];
  for (let i = 0; i < 3; i++) t.equal(await socket.ask(to, UDP_PORT), seen);
  for (let i = 0; i < 3; i++) {
    await router.ns.ip('neighbour', 'flush', 'dev', router.wan);
    t.equal(await socket.ask(to, UDP_PORT), seen, 'the stack has asked for the neighbour');
  }

  const first = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
  await router.ns.ip('route', 'add', to, 'via', via, 'dev', 'wan1');
  for (let i = 0; i < 3; i++) t.equal(await socket.ask(to, UDP_PORT), seen, 'the flow keeps its translation');
  t.same(await first.stopIp(), [], 'not one packet took the old way');
}

/** How often each kind of packet is sent. */
const ROUNDS = 10;
const LOW_DELAY = 0x10;

/**
 * Packets of one flow that follow each other at once: small ones, small ones with a type of service that a rule
 * routes by the second link, and ones too long for the first. Each kind goes its own way, whatever the one before
 * it did.
 * @param attach of the second link's interface, by its name
 */
export async function eachGoesItsWay(
  t: Test,
  { clients, server, router }: CtnatScene,
  family: Family,
  attach: (iface: string) => Promise<unknown>,
): Promise<void> {
  const via = await secondLink(server, router, family);
  await attach('wan1');
  const version = family === 'ipv4' ? '-4' : '-6';
  await router.ns.ip(version, 'rule', 'add', 'tos', '0x10', 'table', '100');
  await router.ns.ip(version, 'route', 'add', 'default', 'via', via, 'dev', 'wan1', 'table', '100');
  await router.ns.ip('link', 'set', router.wan, 'mtu', '1300');
  await router.ns.run(['ping', '-c', '1', '-W', '3', via]);
  const { ns, peer, [family]: src } = clients[0]!;
  const [dst, seen] = [server[family], `${router[family]} ${PORT}`];
  const socket = await peer.udp(src, PORT);
  for (let i = 0; i < 3; i++) t.equal(await socket.ask(dst, UDP_PORT), seen);

  const captures = [
    await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`),
    await Capture.start(server.ns, 'eth1', `udp dst port ${UDP_PORT}`),
    await Capture.start(ns, 'eth0', family === 'ipv4' ? 'icmp[0] = 3' : 'icmp6 and ip6[40] = 2'),
  ] as const;
  const link = ethernet({ src: await ns.mac('eth0'), dst: await router.ns.mac(router.lan[0]!) });
  const packet = (tos: number, length: number): Buffer => {
    const ip = family === 'ipv4' ? ipv4({ src, dst, tos, df: true }) : ipv6({ src, dst, trafficClass: tos });
    return build(link, ip, udp({ sport: PORT, dport: UDP_PORT }), bytes(length));
  };
  const burst = [packet(0, 100), packet(0, 1350), packet(0, 100), packet(LOW_DELAY, 100)];
  await inject(ns, 'eth0', Array.from({ length: ROUNDS }, () => burst).flat());
  const [first, second, told] = await Promise.all(captures.map((each) => each.stopIp()));

  const lengths = (packets: readonly IpPacket[]): Set<number> =>
    new Set(packets.map(({ payload }) => payload.length));
  t.equal(first!.length, 2 * ROUNDS, 'the first link has the usual ones');
  t.equal(second!.length, ROUNDS, 'the second those that the rule sends there');
  t.same([lengths(first!), lengths(second!)], [new Set([108]), new Set([108])], 'none that is too long');
  const senders = new Set([...first!, ...second!].map((each) => `${each.src} ${each.sport}`));
  t.same(senders, new Set([seen]), 'translated, each of them');
  t.ok(told!.length > 0, 'the client hears of those');
}
