// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TC with redirect: established flows skip the stack, and everything else goes as without.
// (CTNAT_MODE=redirect runs any other test in this mode.)

import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import type { Flow } from '../helpers/flow.js';
import { forwardedBy } from '../helpers/forwarded.js';
import { type CtnatScene, followsItsWay, keepsItsFlow, PORT } from '../helpers/live-flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network, UDP_PORT } from '../helpers/scene.js';

const only = { skip: CTNAT_ONLY };

/** One client on a port of its own and one server. */
async function gateway(t: Test, ...options: string[]): Promise<CtnatScene> {
  const base = await network(t, { clients: 1, lan: 'ports' });
  const scene = { ...base, ctnat: ctnatFor(base.topology) };
  await attach(scene, ...options);
  return scene;
}

async function attach({ ctnat, router }: CtnatScene, ...options: string[]): Promise<void> {
  await ctnat.run(['attach', ...router.lan, '--mode', 'tc', ...options]);
  await ctnat.run(['attach', router.wan, '--masquerade=all', '--mode', 'tc', ...options]);
}

const forwarded = ({ router }: CtnatScene): Promise<number> => forwardedBy(router.ns);

async function udpFlows(ctnat: Ctnat): Promise<Flow[]> {
  return ctnat.json<Flow[]>(['bpf', 'ct', 'list', 'global', '-p', 'udp']);
}

t.test('the stack sees how a flow begins, and no more of it', only, async (t) => {
  const scene = await gateway(t, '--redirect');
  const { clients, server, router, ctnat } = scene;
  const { interfaces } = await ctnat.json<{ interfaces: { mode: string; redirect: boolean }[] }>(['status']);
  for (const each of interfaces) t.match(each, { mode: 'tc', redirect: true });
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  const seen = `${router.ipv4} ${PORT}`;
  t.equal(await socket.ask(server.ipv4, UDP_PORT), seen);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), seen);

  const before = await forwarded(scene);
  for (let i = 0; i < 20; i++) t.equal(await socket.ask(server.ipv4, UDP_PORT), seen);
  const after = (await forwarded(scene)) - before;
  t.ok(after < 10, `${after} of 40: now and then one, by which neighbours are kept`);
  const [flow, ...others] = await udpFlows(ctnat);
  t.same(others, []);
  t.match(flow, { original: { packets: 22 }, reply: { packets: 22 } }, 'every packet is counted once');

  await attach(scene);
  const stack = await forwarded(scene);
  for (let i = 0; i < 5; i++) t.equal(await socket.ask(server.ipv4, UDP_PORT), seen);
  t.ok((await forwarded(scene)) - stack >= 10, 'turned off, it sees all of them');
});

t.test('a packet loses a hop, and goes to the neighbour with the outside address', only, async (t) => {
  const { clients, server, router } = await gateway(t, '--redirect');
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  const far = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
  for (let i = 0; i < 5; i++) await socket.ask(server.ipv4, UDP_PORT);
  const packets = await far.stopIp();

  t.equal(packets.length, 5);
  for (const packet of packets) t.match(packet, { src: router.ipv4, dst: server.ipv4, ttl: 63 });
});

t.test('TCP in bulk, segmented by the device: packets go whole', only, async (t) => {
  const scene = await gateway(t, '--redirect');
  const { clients, server } = scene;
  const url = `http://${server.ipv4}:${HTTP_PORT}/upload`;
  const before = await forwarded(scene);
  const input = Buffer.alloc(8_000_000, 'u');
  const argv = ['curl', '-sS', '--fail', '--max-time', '20', '-T', '-', url];
  t.match((await clients[0]!.ns.run(argv, { input })).stdout, /^8000000 /);

  t.ok((await forwarded(scene)) - before < 500, 'past the stack');
  const received = JSON.parse(await server.ns.ip('-s', '-j', 'link', 'show', 'eth0'));
  const { packets } = received[0].stats64.rx;
  t.ok(packets < 8_000_000 / 1500, `${packets} packets: larger than the MTU`);
});

t.test("what is above the outgoing MTU is the stack's to tell of", only, async (t) => {
  const { clients, server, router } = await gateway(t, '--redirect');
  const client = clients[0]!;
  await router.ns.ip('link', 'set', router.wan, 'mtu', '1300');
  const url = `http://${server.ipv4}:${HTTP_PORT}/upload`;
  const argv = ['curl', '-sS', '--fail', '--max-time', '20', '-T', '-', url];
  const input = Buffer.alloc(1_000_000, 'u');
  t.match((await client.ns.run(argv, { input })).stdout, /^1000000 /);

  t.match(await client.ns.ip('route', 'get', server.ipv4), /mtu 1300/, 'the client has learnt it');
});

t.test("a live flow's neighbour is forgotten, and its route moves: no packet is lost", only, async (t) => {
  const scene = await gateway(t, '--redirect');
  const options = ['--masquerade', '--mode', 'tc', '--redirect'];
  await followsItsWay(t, scene, (iface) => scene.ctnat.run(['attach', iface, ...options]));
});

t.test(
  'redirect comes and goes under load: nothing is lost or wrong, and the flow is one',
  only,
  async (t) => {
    const scene = await gateway(t);
    const on = () => attach(scene, '--redirect');
    const off = () => attach(scene);
    await keepsItsFlow(t, scene, [on, off, on, off]);
  },
);
