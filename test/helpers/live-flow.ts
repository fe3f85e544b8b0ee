// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a flow in use has to stand in every mode that forwards past the stack: the mode itself comes and goes, and
// the neighbour and the route that it was forwarded by are not there any more.
import type { Test } from 'tap';
import { Capture } from './capture.js';
import type { Ctnat } from './ctnat.js';
import type { Flow } from './flow.js';
import { veth } from './netns.js';
import { type Scene, TCP_PORT, UDP_PORT } from './scene.js';

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
  const [own, via, bits] = SECOND[family];
  const nodad = family === 'ipv6' ? ['nodad'] : [];
  await veth(server.ns, 'eth1', router.ns, 'wan1');
  await server.ns.ip('address', 'add', `${via}/${bits}`, 'dev', 'eth1', ...nodad);
  await router.ns.ip('address', 'add', `${own}/${bits}`, 'dev', 'wan1', ...nodad);
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
