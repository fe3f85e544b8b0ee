// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Many inside hosts, one outside address: what a gateway is for.

import t from 'tap';
import { flowsOf, wireTuples } from '../helpers/flow.js';
import { HTTP_PORT, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

const PORT = 40_000;

for (const lan of ['bridge', 'ports'] as const) {
  t.test(`UDP: two clients (${lan}) with the same source port both get their answers`, async (t) => {
    const { clients, server, router } = await scene(t, { lan });
    const sockets = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, PORT)));

    const seen = [];
    for (const socket of sockets) seen.push(await socket.ask(server.ipv4, UDP_PORT));

    t.equal(seen[0], `${router.ipv4} ${PORT}`, 'the first keeps its port');
    t.match(seen[1], new RegExp(`^${router.ipv4} \\d+$`), 'the second comes from the router too');
    t.not(seen[1], seen[0], 'from another port');
    for (const [i, socket] of sockets.entries()) {
      t.equal(await socket.ask(server.ipv4, UDP_PORT), seen[i], 'a flow keeps its mapping');
    }
  });
}

t.test('TCP: two clients with the same source port hold connections to the same server', async (t) => {
  const { clients, server, router } = await scene(t);
  const open = [];
  for (const { peer } of clients)
    open.push(await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT }));

  t.equal(open[0]!.seen, `${router.ipv4} ${PORT}`);
  t.match(open[1]!.seen, new RegExp(`^${router.ipv4} \\d+$`));
  t.not(open[1]!.seen, open[0]!.seen);
  for (const [i, connection] of open.entries()) t.equal(await connection.echo(`to ${i}`), `to ${i}`);
  await open[0]!.close();
  t.equal(await open[1]!.echo('still there'), 'still there', 'closing one leaves the other alone');
  await open[1]!.close(true);
});

t.test('ping: two clients with the same identifier', async (t) => {
  const { clients, server } = await scene(t);
  const pings = await Promise.all(
    clients.map(({ ns }) => ns.run(['ping', '-e', '77', '-c', '5', '-i', '0.2', '-W', '3', server.ipv4])),
  );

  for (const { stdout } of pings) t.match(stdout, /5 packets transmitted, 5 received, 0% packet loss/);
});

t.test('HTTP: a web server sees the router', async (t) => {
  const { clients, server, router } = await scene(t);
  for (const { ns } of clients) {
    const argv = ['curl', '-sS', '--fail', '--max-time', '10', '--local-port', String(PORT)];
    const { stdout } = await ns.run([...argv, `http://${server.ipv4}:${HTTP_PORT}/`]);
    t.match(stdout, new RegExp(`^${router.ipv4} \\d+\n$`));
  }
});

t.test(
  'invariant 4, no collision: one source port to one server from both clients, many times over',
  async (t) => {
    const { clients, server, router, nat } = await scene(t);
    const ports = Array.from({ length: 40 }, (_, i) => PORT + i);
    const ask = async (port: number): Promise<(string | undefined)[]> =>
      Promise.all(
        clients.map(async ({ peer, ipv4 }) => (await peer.udp(ipv4, port)).ask(server.ipv4, UDP_PORT)),
      );
    const seen = (await Promise.all(ports.map(ask))).flat();

    t.notOk(seen.includes(undefined), 'every one is answered');
    t.equal(new Set(seen).size, seen.length, 'the server sees a different port for each');
    const flows = flowsOf(await nat.flows(), 'udp', { dst: server.ipv4, dport: UDP_PORT });
    t.equal(flows.length, seen.length);
    const tuples = wireTuples(flows);
    t.equal(new Set(tuples).size, tuples.length, 'no two flows share a tuple on a wire');
    for (const flow of flows) t.equal(flow.reply.dst, router.ipv4);
  },
);

t.test('the same mapping serves one flow only: another server has its own', async (t) => {
  const { clients, servers, router } = await scene(t, { servers: 2 });
  const [a, b] = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, PORT)));

  t.equal(await a!.ask(servers[0]!.ipv4, UDP_PORT), `${router.ipv4} ${PORT}`);
  t.equal(
    await b!.ask(servers[1]!.ipv4, UDP_PORT),
    `${router.ipv4} ${PORT}`,
    'the port is free towards another server',
  );
});

t.test('an answer from another port or address does not come in', async (t) => {
  const { clients, server } = await scene(t);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  t.ok(await socket.ask(server.ipv4, UDP_PORT));

  t.equal(await socket.ask(server.ipv4, UDP_PORT, `@${UDP_PORT + 1}\n`, 400), undefined);
});

t.test('SNAT to a second address and a range of ports', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  await nat.snat('10.0.0.0/24', router.ipv4Second, [20_000, 20_009]);
  const seen = [];
  for (const { peer, ipv4 } of clients) {
    seen.push(await (await peer.udp(ipv4, PORT)).ask(server.ipv4, UDP_PORT));
    seen.push((await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT })).seen);
  }

  for (const each of seen) t.match(each, new RegExp(`^${router.ipv4Second} 2000\\d$`));
});

t.test('inside hosts reach the router and each other untranslated', async (t) => {
  const { clients, router } = await scene(t, { lan: 'ports' });
  const [a, b] = clients;
  await b!.peer.serve(b!.ipv4, { udp: UDP_PORT });
  const socket = await a!.peer.udp(a!.ipv4, PORT);

  t.equal(await socket.ask(b!.ipv4, UDP_PORT), `${a!.ipv4} ${PORT}`);
  await a!.ns.run(['ping', '-c', '1', '-W', '3', router.lanIpv4[0]!]);
});
