// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The router's own sockets on the masquerading interface share its ports with translated flows.

import t, { type Test } from 'tap';
import { flowsOf, wireTuples } from '../helpers/flow.js';
import { Peer } from '../helpers/peer.js';
import { type Scene, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

const PORT = 40_000;

type Ask = () => Promise<string | undefined>;

async function prepare(t: Test): Promise<Scene & { own: Peer }> {
  const prepared = await scene(t);
  return { ...prepared, own: await Peer.start(prepared.router.ns) };
}

/** Two UDP flows to one server that would have the same tuple on the outside wire, the client's and the host's. */
async function udpPair({
  clients,
  server,
  router,
  own,
}: Scene & { own: Peer }): Promise<{ client: Ask; host: Ask }> {
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  const outside = await own.udp(router.ipv4, PORT);
  return { client: () => inside.ask(server.ipv4, UDP_PORT), host: () => outside.ask(server.ipv4, UDP_PORT) };
}

async function tcpPair({
  clients,
  server,
  router,
  own,
}: Scene & { own: Peer }): Promise<{ client: Ask; host: Ask }> {
  const target = { host: server.ipv4, port: TCP_PORT, localPort: PORT };
  const once = (open: () => ReturnType<Peer['tcp']>): Ask => {
    let connection: Awaited<ReturnType<typeof open>> | undefined;
    return async () => {
      connection ??= await open();
      return (await connection.echo('hello')) === 'hello' ? connection.seen : undefined;
    };
  };
  return {
    client: once(() => clients[0]!.peer.tcp(target)),
    host: once(() => own.tcp({ ...target, localAddress: router.ipv4 })),
  };
}

for (const [protocol, pair] of [
  ['UDP', udpPair],
  ['TCP', tcpPair],
] as const) {
  for (const order of [
    ['client', 'host'],
    ['host', 'client'],
  ] as const) {
    t.test(
      `invariant 4, no collision: ${protocol} from a ${order[0]}, then from a ${order[1]} with the same port`,
      async (t) => {
        const prepared = await prepare(t);
        const asks = await pair(prepared);
        const [first, second] = [await asks[order[0]](), await asks[order[1]]()];

        t.equal(first, `${prepared.router.ipv4} ${PORT}`, 'the first has the port');
        t.match(second, new RegExp(`^${prepared.router.ipv4} \\d+$`), 'the second works too');
        t.not(second, first, 'with another port');
        t.equal(await asks[order[0]](), first, 'the first goes on');
        t.equal(await asks[order[1]](), second, 'and so does the second');
        const tuples = wireTuples(
          flowsOf(await prepared.nat.flows(), protocol.toLowerCase(), { sport: PORT }),
        );
        t.equal(
          new Set(tuples.filter((tuple) => tuple.includes(`${prepared.server.ipv4} `))).size,
          tuples.length,
        );
      },
    );
  }
}

t.test('ping from the router and from a client with the same identifier', async (t) => {
  const { clients, server, router } = await scene(t);
  const argv = ['ping', '-e', '77', '-c', '4', '-i', '0.2', '-W', '3', server.ipv4];
  const pings = await Promise.all([clients[0]!.ns, router.ns].map((ns) => ns.run(argv)));

  for (const { stdout } of pings) t.match(stdout, /4 received/);
});

t.test('a service of the router itself is reachable from outside and inside', async (t) => {
  const { clients, server, router, own } = await prepare(t);
  await own.serve('0.0.0.0', { tcp: TCP_PORT, udp: UDP_PORT });
  const outside = await server.peer.tcp({ host: router.ipv4, port: TCP_PORT });
  const inside = await clients[0]!.peer.tcp({ host: router.lanIpv4[0]!, port: TCP_PORT });

  t.equal(outside.seen, `${server.ipv4} ${outside.localPort}`);
  t.equal(inside.seen, `${clients[0]!.ipv4} ${inside.localPort}`);
  t.equal(await outside.echo('out'), 'out');
  t.equal(await inside.echo('in'), 'in');
});

t.test(
  "a client's flow does not take a port that a service of the router is using with that host",
  async (t) => {
    const { clients, server, router, own } = await prepare(t);
    await own.serve(router.ipv4, { udp: UDP_PORT });
    // The server asks the router's service; then a client sends from that same port to the server's.
    const asker = await server.peer.udp(server.ipv4, PORT);
    t.equal(await asker.ask(router.ipv4, UDP_PORT), `${server.ipv4} ${PORT}`);
    const client = await clients[0]!.peer.udp(clients[0]!.ipv4, UDP_PORT);
    await client.send('@0\n', server.ipv4, PORT);
    const arrived = await asker.receive();

    t.equal(arrived?.address, router.ipv4);
    t.not(arrived?.port, UDP_PORT);
    t.equal(await asker.ask(router.ipv4, UDP_PORT), `${server.ipv4} ${PORT}`, 'the service still answers');
  },
);
