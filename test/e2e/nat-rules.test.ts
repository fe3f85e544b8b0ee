// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Every kind of NAT rule by command, with real traffic; inside hosts reach what is forwarded by its outside address.

import t from 'tap';
import { ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

t.test('a forward is reached from outside and, by the same address, from inside', async (t) => {
  const { topology, clients, server, router } = await network(t);
  const nat = ctnatFor(topology);
  await nat.start();
  const [client, inner] = clients;
  await inner!.peer.serve(inner!.ipv4, { tcp: TCP_PORT });
  await nat.forward({ proto: 'tcp', port: 8080, to: inner!.ipv4, toPort: TCP_PORT });

  const outer = await server.peer.tcp({ host: router.ipv4, port: 8080 });
  t.equal(outer.seen.split(' ')[0], server.ipv4);
  const hairpin = await client!.peer.tcp({ host: router.ipv4, port: 8080 });
  t.equal(hairpin.seen.split(' ')[0], router.ipv4, 'RFC 4787 REQ-9a: it is seen by its outside address');
  t.equal(await hairpin.echo('round the corner'), 'round the corner');
  const own = await inner!.peer.tcp({ host: router.ipv4, port: 8080 });
  t.equal(await own.echo('to itself'), 'to itself');
});

t.test('several backends share a forward; a redirect comes to the router itself', async (t) => {
  const { topology, clients, server, router } = await network(t);
  const nat = ctnatFor(topology);
  await nat.start();
  for (const { peer, ipv4 } of clients) await peer.serve(ipv4, { tcp: TCP_PORT });
  const range = clients.map(({ ipv4 }) => ipv4).join('-');
  await nat.run([
    'nat',
    'add',
    'dnat',
    '-i',
    'wan0',
    '-p',
    'tcp',
    '--dport',
    '8080',
    '--to',
    `${range}:${TCP_PORT}`,
  ]);
  const first = await server.peer.tcp({ host: router.ipv4, port: 8080 });
  t.equal(await first.echo('one of them'), 'one of them');

  const lan = router.lan[0]!;
  const redirect = [
    'nat',
    'add',
    'redirect',
    '-i',
    lan,
    '-p',
    'udp',
    '--dport',
    '53',
    '--to',
    String(UDP_PORT),
  ];
  await nat.run(redirect);
  const [mapping] = await nat
    .json<{ kind: string; to: string }[]>(['nat', 'list'])
    .then((rules) => rules.filter(({ kind }) => kind === 'redirect'));
  t.match(mapping, { kind: 'redirect', to: String(UDP_PORT) });
  const { Peer } = await import('../helpers/peer.js');
  const proxy = await Peer.start(router.ns);
  await proxy.serve(router.lanIpv4[0]!, { udp: UDP_PORT });
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4);
  await socket.send('who is there?', '192.0.2.77', 53);
  const answer = await socket.receive();
  t.match(answer, { address: '192.0.2.77', port: 53 }, 'in the name of whom it was sent to');
});

t.test('netmap: one to one, in both directions and between inside hosts', async (t) => {
  const { topology, clients, server, router } = await network(t);
  const nat = ctnatFor(topology);
  const lan = router.lan[0]!;
  await nat.run(['attach', lan, 'wan0']);
  const prefix = clients[0]!.ipv4.replace(/\.\d+$/, '.0/24');
  await nat.run(['nat', 'add', 'netmap', '-o', 'wan0', '-s', prefix, '--to', '203.0.113.0/24']);
  await server.ns.ip('route', 'replace', '203.0.113.0/24', 'via', router.ipv4);
  const outside = (address: string) => address.replace(/^.*\./, '203.0.113.');
  const [a, b] = clients;
  await b!.peer.serve(b!.ipv4, { tcp: TCP_PORT });

  const out = await a!.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 1234 });
  t.equal(out.seen, `${outside(a!.ipv4)} 1234`);
  const incoming = await server.peer.tcp({ host: outside(b!.ipv4), port: TCP_PORT });
  t.equal(incoming.seen.split(' ')[0], server.ipv4);
  const across = await a!.peer.tcp({ host: outside(b!.ipv4), port: TCP_PORT });
  t.equal(across.seen.split(' ')[0], outside(a!.ipv4));
  const types = (await nat.mappings()).map(({ type }) => type);
  t.strictSame([...new Set(types)], ['netmap']);
});

t.test('exempt destinations see the inside address', async (t) => {
  const { topology, clients, servers, router } = await network(t, { servers: 2 });
  const nat = ctnatFor(topology);
  const [exempt, other] = servers;
  await topology.hop!.ip('route', 'add', '10.0.0.0/24', 'via', router.ipv4);
  for (const { ns } of servers) await ns.ip('route', 'add', '10.0.0.0/24', 'via', '203.0.113.1');
  await nat.apply(
    [
      'interfaces:',
      `  - { name: ${router.wan}, masquerade: 4 }`,
      ...router.lan.map((name) => `  - { name: ${name} }`),
      // the longest prefix decides; the shorter one is another network's
      `exempt: [203.0.113.192/26, ${exempt!.ipv4}/32]`,
    ].join('\n'),
  );
  const { peer, ipv4 } = clients[0]!;
  const socket = await peer.udp(ipv4, 40_000);

  t.equal(await socket.ask(exempt!.ipv4, UDP_PORT), `${ipv4} 40000`);
  t.equal(await socket.ask(other!.ipv4, UDP_PORT), `${router.ipv4} 40000`);
});
