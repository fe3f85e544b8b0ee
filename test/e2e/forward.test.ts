// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Destination NAT: outside hosts reach an inside server through a port of the router.

import t from 'tap';
import { HTTP_PORT, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

t.test('TCP: a port of the outside address leads to an inside web server', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const inside = clients[0]!;
  await inside.peer.serve(inside.ipv4, { http: HTTP_PORT });
  await server.ns.ip('route', 'add', 'unreachable', '10.0.0.0/8');
  await nat.forward({ proto: 'tcp', port: 8080, to: inside.ipv4, toPort: HTTP_PORT });
  const { stdout } = await server.ns.run([
    'curl',
    '-sS',
    '--fail',
    '--max-time',
    '10',
    `http://${router.ipv4}:8080/`,
  ]);

  t.match(stdout, new RegExp(`^${server.ipv4} \\d+\n$`), 'the inside server sees the outside client itself');
});

t.test('UDP: answers come back from the forwarded address and port', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const inside = clients[1]!;
  await inside.peer.serve(inside.ipv4, { udp: UDP_PORT });
  await nat.forward({ proto: 'udp', port: 53, to: inside.ipv4, toPort: UDP_PORT });
  const socket = await server.peer.udp(server.ipv4, 30_000);
  await socket.send('hello', router.ipv4, 53);
  const answer = await socket.receive();

  t.equal(answer?.address, router.ipv4);
  t.equal(answer?.port, 53);
  t.match(answer?.data.toString(), new RegExp(`^${server.ipv4} 30000 `));
});

t.test('a forward and masquerade share an inside host', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const inside = clients[0]!;
  await inside.peer.serve(inside.ipv4, { tcp: TCP_PORT });
  await nat.forward({ proto: 'tcp', port: 2222, to: inside.ipv4, toPort: TCP_PORT });
  const inward = await server.peer.tcp({ host: router.ipv4, port: 2222 });
  const outward = await inside.peer.tcp({ host: server.ipv4, port: TCP_PORT });

  t.equal(inward.seen, `${server.ipv4} ${inward.localPort}`);
  t.match(outward.seen, new RegExp(`^${router.ipv4} `));
  t.equal(await inward.echo('in'), 'in');
  t.equal(await outward.echo('out'), 'out');
});

t.test("a port that is not forwarded is the router's own", async (t) => {
  const { server, router, nat, clients } = await scene(t);
  await nat.forward({ proto: 'tcp', port: 8080, to: clients[0]!.ipv4, toPort: HTTP_PORT });

  await t.rejects(server.peer.tcp({ host: router.ipv4, port: 8081 }), /ECONNREFUSED/);
});
