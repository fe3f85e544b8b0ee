// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 1: Netfilter's tables are empty, and stay empty while traffic is carried.

import t from 'tap';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

t.test(
  'invariant 1, independent: conntrack -C is 0 while ctnat carries traffic',
  { skip: CTNAT_ONLY },
  async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    await ctnat.start();
    const inside = clients[1]!;
    await inside.peer.serve(inside.ipv4, { http: HTTP_PORT });
    await ctnat.forward({ proto: 'tcp', port: 8080, to: inside.ipv4, toPort: HTTP_PORT });

    const held = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
    t.match(held.seen, new RegExp(`^${router.ipv4} `));
    t.ok(await (await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000)).ask(server.ipv4, UDP_PORT));
    await clients[0]!.ns.run(['ping', '-c', '1', '-W', '3', server.ipv4]);
    await server.ns.run(['curl', '-sS', '--fail', '--max-time', '10', `http://${router.ipv4}:8080/`]);
    t.equal(await held.echo('hello'), 'hello');

    t.ok((await ctnat.flows()).length >= 4, 'ctnat tracks these flows');
    for (const ns of [router.ns, ...clients.map((client) => client.ns)]) {
      t.equal((await ns.run(['conntrack', '-C'])).stdout.trim(), '0', `Netfilter tracks none in ${ns.name}`);
    }
    t.equal((await router.ns.run(['nft', 'list', 'ruleset'])).stdout, '', 'and has no rules');
  },
);

t.test('without ctnat the same traffic is not answered', async (t) => {
  const { clients, server } = await network(t);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);

  t.equal(await socket.askInVain(server.ipv4, UDP_PORT), undefined, 'so the tests above can fail');
});
