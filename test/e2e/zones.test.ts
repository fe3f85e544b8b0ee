// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Zones: two customers whose hosts, routers and servers have the same addresses, and who speak from the same ports at
// the same time. What tells them apart is the interface that a packet comes in by.

import t, { type Test } from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { Namespace, veth } from '../helpers/netns.js';
import { Peer } from '../helpers/peer.js';
import { HTTP_PORT, network, type Scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { Teardown } from '../helpers/teardown.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;

type Base = Omit<Scene, 'nat'>;

/** A second customer of the router: lan1 with a client, and if it is asked for wan1 with a server. */
async function twin(
  t: Test,
  { router, clients, server }: Base,
  uplink: boolean,
): Promise<{ client: Peer; server?: Peer }> {
  const teardown = Teardown.of(t);
  const host = clients[0]!;
  const client = await Namespace.create('twin', teardown);
  await veth(client, 'eth0', router.ns, 'lan1');
  await router.ns.ip('address', 'add', '10.0.0.1/24', 'dev', 'lan1');
  await client.ip('address', 'add', `${host.ipv4}/24`, 'dev', 'eth0');
  await client.ip('route', 'add', 'default', 'via', '10.0.0.1');
  await router.ns.ip('route', 'add', '10.0.0.0/24', 'dev', 'lan1', 'table', '2');
  if (!uplink) return { client: await Peer.start(client) };
  const ns = await Namespace.create('twinserver', teardown);
  await veth(ns, 'eth0', router.ns, 'wan1');
  await router.ns.ip('address', 'add', `${router.ipv4}/24`, 'dev', 'wan1');
  await ns.ip('address', 'add', `${server.ipv4}/24`, 'dev', 'eth0');
  await router.ns.ip('route', 'add', '198.51.100.0/24', 'dev', 'wan1', 'table', '2');
  for (const iface of ['lan1', 'wan1']) await router.ns.ip('rule', 'add', 'iif', iface, 'table', '2');
  const peer = await Peer.start(ns);
  await peer.serve(server.ipv4, { udp: UDP_PORT, tcp: TCP_PORT, http: HTTP_PORT });
  return { client: await Peer.start(client), server: peer };
}

/** What conntrack -L shows of the flows to the servers' ports, sorted. */
async function listed(nat: Ctnat, ...args: string[]): Promise<string[]> {
  const { stdout } = await nat.run(['conntrack', '-L', '-p', 'udp', ...args]);
  return stdout
    .split('\n')
    .filter((line) => line.includes(`dport=${UDP_PORT} `))
    .map((line) => line.replace(/(udp +17) \d+/, '$1').replace(/ (use|packets|bytes)=\d+/g, ''))
    .sort();
}

t.test('two customers with the same addresses everywhere', only, async (t) => {
  const base = await network(t, { lan: 'ports', clients: 1 });
  const { router, clients, server } = base;
  const second = await twin(t, base, true);
  const nat = ctnatFor(base.topology);
  await nat.run(['attach', 'lan0', '--zone', '1']);
  await nat.run(['attach', 'wan0', '--masquerade', '--zone', '1']);
  await nat.run(['attach', 'lan1', '--zone', '2']);
  await nat.run(['attach', 'wan1', '--masquerade', '--zone', '2']);
  const peers = [clients[0]!.peer, second.client];

  const seen = await Promise.all(
    peers.map(async (peer) => await (await peer.udp(clients[0]!.ipv4, PORT)).ask(server.ipv4, UDP_PORT)),
  );
  t.strictSame(
    seen,
    Array(2).fill(`${router.ipv4} ${PORT}`),
    'each keeps its port: outside they are apart, too',
  );
  const connections = await Promise.all(
    peers.map((peer) => peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT })),
  );
  for (const [i, connection] of connections.entries()) {
    t.equal(connection.seen, `${router.ipv4} ${PORT}`, `customer ${i + 1}`);
    t.equal(await connection.echo(`of ${i + 1}`), `of ${i + 1}`, 'hears its own');
  }

  const tuples =
    `src=10.0.0.2 dst=${server.ipv4} sport=${PORT} dport=${UDP_PORT} ` +
    `src=${server.ipv4} dst=${router.ipv4} sport=${UDP_PORT} dport=${PORT}`;
  t.strictSame(
    await listed(nat),
    [1, 2].map((zone) => `udp      17 ${tuples} mark=0 zone=${zone}`),
  );
  t.strictSame(await listed(nat, '-w', '2'), [`udp      17 ${tuples} mark=0 zone=2`]);
  t.strictSame(await listed(nat, '-w', '3'), []);
  t.match((await nat.flows()).map(({ zone }) => zone).sort(), [1, 1, 2, 2], 'JSON');

  await nat.run(['conntrack', '-D', '-w', '1', '-p', 'tcp']);
  t.equal(await connections[1]!.echo('still there'), 'still there', "the other zone's flow stays");
  t.match((await nat.json<{ interfaces: object[] }>(['status'])).interfaces, [
    { name: 'lan0', zone: 1 },
    { name: 'wan0', zone: 1 },
    { name: 'lan1', zone: 2 },
    { name: 'wan1', zone: 2 },
  ]);
});

t.test('two customers behind one address', only, async (t) => {
  const base = await network(t, { lan: 'ports', clients: 1 });
  const { router, clients, server } = base;
  const second = await twin(t, base, false);
  // the way back to each: nothing else of a translated packet tells them apart
  await router.ns.ip('rule', 'add', 'to', '10.0.0.0/24', 'dport', String(PORT + 1), 'table', '2');
  const nat = ctnatFor(base.topology);
  await nat.apply(
    'interfaces:\n  - { name: lan0, zone: 1 }\n  - { name: lan1, zone: 2 }\n  - { name: wan0, masquerade: 4 }\n',
  );
  const sockets = await Promise.all(
    [clients[0]!.peer, second.client].map((peer, i) => peer.udp(clients[0]!.ipv4, PORT + i)),
  );
  for (const [i, socket] of sockets.entries())
    t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT + i}`, `customer ${i + 1}`);
  const lines = await listed(nat);
  t.match(lines[0], /sport=40000 dport=5353 zone-orig=1 src=.* mark=0$/);
  t.match(lines[1], /sport=40001 dport=5353 zone-orig=2 src=.* mark=0$/);
  t.strictSame(await listed(nat, '--orig-zone', '2'), [lines[1]]);
  t.strictSame(await listed(nat, '-w', '2'), [], 'it is the zone of no flow as a whole');
  t.match(await nat.flows(), [{ zoneDirection: 'original' }, { zoneDirection: 'original' }]);
  const { stdout } = await nat.run(['conntrack', '-L', '-o', 'save']);
  t.match(stdout, /^-A -t \d+ -u SEEN_REPLY --orig-zone [12] -s 10\.0\.0\.2 /m);

  // what was saved is there again, in its zone, and answers find it
  await nat.run(['conntrack', '-F']);
  await nat.run(['conntrack', '-R', '-'], { input: stdout });
  t.strictSame(await listed(nat, '--orig-zone', '1'), [lines[0]]);
  for (const [i, socket] of sockets.entries())
    t.equal(
      await socket.ask(server.ipv4, UDP_PORT),
      `${router.ipv4} ${PORT + i}`,
      `customer ${i + 1} goes on`,
    );
  t.equal((await nat.flows()).length, 2, 'by the flows that were restored');
});

t.test('interfaces that share packets are of one zone', only, async (t) => {
  const { topology, router } = await network(t, { lan: 'bridge', clients: 1 });
  const nat = ctnatFor(topology);
  await nat.run(['attach', 'port0', '--zone', '1']);
  const refused = await nat.run(['attach', ...router.lan, '--zone', '2'], { mayFail: true });
  t.equal(refused.status, 1);
  t.match(refused.stderr, /can not give .*port0 zone 1.*give both the same zone/);
  await nat.run(['attach', ...router.lan, '--zone', '1']);

  const fast = await nat.run(['attach', router.wan, '--mode', 'xdp'], { mayFail: true });
  t.equal(fast.status, 1);
  t.match(fast.stderr, /wan0.* in mode xdp/, 'XDP mode knows no zones');
});

t.test('endpoint-independent mappings and zones are refused beside each other', only, async (t) => {
  const { topology, router } = await network(t, { lan: 'ports', clients: 1 });
  const nat = ctnatFor(topology);
  const eim = ['attach', router.wan, '--masquerade', '--mapping', 'eim'];
  const zone = ['attach', 'lan0', '--zone', '1'];
  const refuses = async (args: string[], what = /can not give lan0 zone 1/) => {
    const { status, stderr } = await nat.run(args, { mayFail: true });
    t.equal(status, 1, args.join(' '));
    const why = /while wan0 has mapping eim, which knows no zones; [^\n]+/;
    t.match(stderr, new RegExp(`^ctnat: ${what.source} ${why.source}\n$`));
  };
  await nat.run(zone);
  await refuses(eim);
  await nat.run(['detach', 'lan0']);
  await nat.run(eim);
  await refuses(zone);
  const file = 'interfaces: [{name: wan0, masquerade: 4, mapping: {udp: eim}}, {name: lan0, zone: 1}]\n';
  const where = /\S+ctnat\.yaml:1:83: interfaces\[1\]\.zone: can not have zone 1/;
  await refuses(['apply', await nat.writeConfig(file)], where);
  t.match(await nat.json(['status']), { interfaces: [{ name: 'wan0' }] }, 'nothing has changed');
  await nat.run(['attach', router.wan, '--masquerade']);
  await nat.run(zone);
});
