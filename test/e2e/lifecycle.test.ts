// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Attaching, attaching again, detaching, and what is left in the kernel afterwards.

import { existsSync } from 'node:fs';
import t from 'tap';
import { hookQdiscs, kernelObjects, pins, survivors } from '../helpers/kernel-objects.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
/** A classic BPF program that matches nothing: the only filter that every kernel with ctnat has. */
const SOMEBODYS_FILTER = ['bpf', 'bytecode', '1,6 0 0 0,', 'flowid', '1:1'];
const NOTHING = { maps: [], programs: [], links: [] };

t.test('attach twice is harmless: one set of programs, flows go on', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
  const before = await kernelObjects(ctnat);
  await ctnat.start();

  t.equal(await connection.echo('still there'), 'still there');
  const after = await kernelObjects(ctnat);
  t.same(after.maps, before.maps, 'the same maps');
  t.equal(after.programs.length, before.programs.length, 'as many programs');
  t.equal(after.links.length, before.links.length, 'as many links');
  await connection.echo('x');
  const [flow] = await ctnat.flows();
  const counted = flow!.original.packets;
  await connection.echo('y');
  t.ok((await ctnat.flows())[0]!.original.packets - counted <= 2, 'packets are not counted twice');
});

t.test('new options replace the old ones, live flows go on', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  await ctnat.run(['attach', router.wan]);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);

  t.equal(await socket.askInVain(server.ipv4, UDP_PORT), undefined, 'no masquerade for new flows');
  t.equal(await connection.echo('still there'), 'still there');
  await ctnat.run(['attach', router.wan, '--masquerade']);
  const other = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_001);
  t.equal(await other.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40001`);
});

t.test('two attach commands at the same time leave one working datapath', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  const attach = ['attach', ...router.lan, router.wan, '--masquerade'];
  const results = await Promise.all([1, 2, 3].map(() => ctnat.run(attach, { mayFail: true })));

  for (const { status, stderr } of results) {
    if (status !== 0) t.match(stderr, /^[^\n]+\n$/, 'one that gave way says so in a line');
  }
  t.ok(results.some(({ status }) => status === 0));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
  t.match(
    (await ctnat.flows()).filter(({ proto }) => proto === 'udp'),
    [{ original: { packets: 1 } }],
  );
  const objects = await kernelObjects(ctnat);
  await ctnat.run(['detach', '--all', '--purge']);
  await until('nothing of any of the three is left', async () => isEmpty(await survivors(objects)));
});

t.test('detach --all --purge leaves no program, map, link, qdisc or pin', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const objects = await kernelObjects(ctnat);
  t.ok(objects.maps.length > 0 && objects.programs.length > 0, 'there was something to remove');
  t.ok(pins(ctnat).length > 0);
  await ctnat.run(['detach', '--all', '--purge']);

  // The kernel frees maps and programs when their last user is gone, a moment after the command has ended.
  await until('programs, maps and links are gone', async () => isEmpty(await survivors(objects)));
  t.same(await survivors(objects), NOTHING);
  t.same(await hookQdiscs(router.ns), []);
  t.same(pins(ctnat), []);
  t.notOk(existsSync(ctnat.pinPath), 'not even the folder');
  t.equal(await socket.askInVain(server.ipv4, UDP_PORT), undefined, 'and nothing translates');
  t.equal((await ctnat.run(['detach', '--all', '--purge'])).status, 0, 'once more is harmless');
});

t.test('a qdisc that was there before stays', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  await router.ns.run(['tc', 'qdisc', 'add', 'dev', router.wan, 'clsact']);
  await router.ns.run(['tc', 'filter', 'add', 'dev', 'wan0', 'ingress', 'pref', '77', ...SOMEBODYS_FILTER]);
  await ctnat.start();
  await ctnat.run(['detach', '--all', '--purge']);

  t.same(await hookQdiscs(router.ns), [`${router.wan} clsact`]);
  const { stdout } = await router.ns.run(['tc', 'filter', 'show', 'dev', router.wan, 'ingress']);
  t.match(stdout, /pref 77 bpf/);
});

t.test('detach of one interface leaves the others', only, async (t) => {
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  await ctnat.run(['detach', router.lan[1]!]);
  const { interfaces } = await ctnat.json<{ interfaces: { name: string }[] }>(['status']);

  t.same(new Set(interfaces.map(({ name }) => name)), new Set([router.wan, router.lan[0]!]));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
  t.equal((await ctnat.run(['detach', router.lan[1]!])).status, 0, 'it is detached already');
});

t.test('detach without purge keeps flows for the next attach', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const connections = [];
  for (const { peer } of clients) {
    connections.push(await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 }));
  }
  await ctnat.run(['detach', '--all']);
  await ctnat.start();

  for (const connection of connections) t.equal(await connection.echo('back'), 'back');
});

t.test('two instances with different pin paths share nothing', only, async (t) => {
  const one = await network(t, { clients: 1 });
  const two = await network(t, { clients: 1 });
  const first = ctnatFor(one.topology);
  const second = ctnatFor(two.topology);
  await first.start();
  await second.start();
  const socket = await one.clients[0]!.peer.udp(one.clients[0]!.ipv4, 40_000);
  t.ok(await socket.ask(one.server.ipv4, UDP_PORT));
  const other = await two.clients[0]!.peer.udp(two.clients[0]!.ipv4, 40_000);

  t.equal((await first.flows()).length, 1);
  t.same(await second.flows(), []);
  t.ok(await other.ask(two.server.ipv4, UDP_PORT));
  await first.run(['bpf', 'ct', 'flush', 'global']);
  t.same(await first.flows(), []);
  t.equal((await second.flows()).length, 1, 'flushing one does not touch the other');
  const shared = new Set((await kernelObjects(first)).maps);
  t.notOk((await kernelObjects(second)).maps.some((id) => shared.has(id)));
  await first.run(['detach', '--all', '--purge']);
  t.ok(await other.ask(two.server.ipv4, UDP_PORT), 'the second works without the first');
});

function isEmpty({
  maps,
  programs,
  links,
}: {
  maps: number[];
  programs: number[];
  links: number[];
}): boolean {
  return maps.length + programs.length + links.length === 0;
}
