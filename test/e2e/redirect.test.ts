// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TC with redirect: established flows skip the stack, and everything else goes as without.
// (CTNAT_MODE=redirect runs any other test in this mode.)

import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import type { Flow } from '../helpers/flow.js';
import { forwardedBy } from '../helpers/forwarded.js';
import {
  type CtnatScene,
  eachGoesItsWay,
  FAMILIES,
  type Family,
  followsItsWay,
  keepsItsFlow,
  PORT,
} from '../helpers/live-flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

const only = { skip: CTNAT_ONLY };

/** One client on a port of its own and one server. */
async function gateway(t: Test, ...options: string[]): Promise<CtnatScene> {
  const base = await network(t, { clients: 1, lan: 'ports' });
  await base.server.peer.serve(base.server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT, http: HTTP_PORT });
  const scene = { ...base, ctnat: ctnatFor(base.topology) };
  await attach(scene, ...options);
  return scene;
}

async function attach({ ctnat, router }: CtnatScene, ...options: string[]): Promise<void> {
  await ctnat.run(['attach', ...router.lan, '--mode', 'tc', ...options]);
  await ctnat.run(['attach', router.wan, '--masquerade=all', '--mode', 'tc', ...options]);
}

const forwarded = ({ router }: CtnatScene, family: Family = 'ipv4'): Promise<number> =>
  forwardedBy(router.ns, family);

/** As in a URL. */
const host = (address: string): string => (address.includes(':') ? `[${address}]` : address);

async function udpFlows(ctnat: Ctnat): Promise<Flow[]> {
  return ctnat.json<Flow[]>(['bpf', 'ct', 'list', 'global', '-p', 'udp']);
}

for (const family of FAMILIES) {
  t.test(`${family}: the stack sees how a flow begins, and no more of it`, only, async (t) => {
    const scene = await gateway(t, '--redirect');
    const { clients, server, router, ctnat } = scene;
    const { interfaces } = await ctnat.json<{ interfaces: { mode: string; redirect: boolean }[] }>([
      'status',
    ]);
    for (const each of interfaces) t.match(each, { mode: 'tc', redirect: true });
    const socket = await clients[0]!.peer.udp(clients[0]![family], PORT);
    const seen = `${router[family]} ${PORT}`;
    t.equal(await socket.ask(server[family], UDP_PORT), seen);
    t.equal(await socket.ask(server[family], UDP_PORT), seen);

    const before = await forwarded(scene, family);
    for (let i = 0; i < 20; i++) t.equal(await socket.ask(server[family], UDP_PORT), seen);
    const after = (await forwarded(scene, family)) - before;
    t.ok(after < 10, `${after} of 40: now and then one, by which neighbours are kept`);
    const [flow, ...others] = await udpFlows(ctnat);
    t.same(others, []);
    t.match(flow, { original: { packets: 22 }, reply: { packets: 22 } }, 'every packet is counted once');

    await attach(scene);
    const stack = await forwarded(scene, family);
    for (let i = 0; i < 5; i++) t.equal(await socket.ask(server[family], UDP_PORT), seen);
    t.ok((await forwarded(scene, family)) - stack >= 10, 'turned off, it sees all of them');
  });

  t.test(
    `${family}: a packet loses a hop, and goes to the neighbour with the outside address`,
    only,
    async (t) => {
      const { clients, server, router } = await gateway(t, '--redirect');
      const socket = await clients[0]!.peer.udp(clients[0]![family], PORT);
      const far = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
      for (let i = 0; i < 5; i++) await socket.ask(server[family], UDP_PORT);
      const packets = await far.stopIp();

      t.equal(packets.length, 5);
      for (const packet of packets) t.match(packet, { src: router[family], dst: server[family], ttl: 63 });
    },
  );

  t.test(`${family}: TCP in bulk, segmented by the device: packets go whole`, only, async (t) => {
    const scene = await gateway(t, '--redirect');
    const { clients, server } = scene;
    const url = `http://${host(server[family])}:${HTTP_PORT}/upload`;
    const before = await forwarded(scene, family);
    const input = Buffer.alloc(8_000_000, 'u');
    const argv = ['curl', '-sS', '--fail', '--max-time', '20', '-T', '-', url];
    t.match((await clients[0]!.ns.run(argv, { input })).stdout, /^8000000 /);

    t.ok((await forwarded(scene, family)) - before < 500, 'past the stack');
    const received = JSON.parse(await server.ns.ip('-s', '-j', 'link', 'show', 'eth0'));
    const { packets } = received[0].stats64.rx;
    t.ok(packets < 8_000_000 / 1500, `${packets} packets: larger than the MTU`);
  });
}

for (const family of FAMILIES)
  t.test(`${family}: what is above the outgoing MTU is the stack's to tell of`, only, async (t) => {
    const { clients, server, router } = await gateway(t, '--redirect');
    const client = clients[0]!;
    await router.ns.ip('link', 'set', router.wan, 'mtu', '1300');
    const url = `http://${host(server[family])}:${HTTP_PORT}/upload`;
    const argv = ['curl', '-sS', '--fail', '--max-time', '20', '-T', '-', url];
    const input = Buffer.alloc(1_000_000, 'u');
    t.match((await client.ns.run(argv, { input })).stdout, /^1000000 /);

    t.match(await client.ns.ip('route', 'get', server[family]), /mtu 1300/, 'the client has learnt it');
  });

for (const family of FAMILIES) {
  t.test(
    `${family}: a live flow's neighbour is forgotten, and its route moves: no packet is lost`,
    only,
    async (t) => {
      const scene = await gateway(t, '--redirect');
      const options = ['--masquerade=all', '--mode', 'tc', '--redirect'];
      await followsItsWay(t, scene, family, (iface) => scene.ctnat.run(['attach', iface, ...options]));
    },
  );

  t.test(
    `${family}: packets of one flow that follow each other at once go each its own way`,
    only,
    async (t) => {
      const scene = await gateway(t, '--redirect');
      const options = ['--masquerade=all', '--mode', 'tc', '--redirect'];
      await eachGoesItsWay(t, scene, family, (iface) => scene.ctnat.run(['attach', iface, ...options]));
    },
  );

  t.test(
    `${family}: redirect comes and goes under load: nothing is lost or wrong, and the flow is one`,
    only,
    async (t) => {
      const scene = await gateway(t);
      const on = () => attach(scene, '--redirect');
      const off = () => attach(scene);
      await keepsItsFlow(t, scene, family, [on, off, on, off]);
    },
  );
}
