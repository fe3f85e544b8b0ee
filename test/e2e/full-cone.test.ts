// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Endpoint-independent mapping for those who use it: strangers get in, peers find each other, and the mapping lives,
// is listed and goes as the commands say. What it is by the RFC's words: classify.test.ts.

import t, { type Test } from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { gatewayConfig } from '../helpers/ctnat.js';
import type { Mapping } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { network, type Scene, type SceneHost, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { elapse, slowly, until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;

/** Sends a datagram from a port of its own; whether it arrives at the socket. */
async function knocks(
  from: SceneHost,
  at: { address: string; family?: 'ipv4' | 'ipv6' },
  inside: Awaited<ReturnType<SceneHost['peer']['udp']>>,
): Promise<boolean> {
  const socket = await from.peer.udp(from[at.family ?? 'ipv4']);
  const text = `from ${socket.port}`;
  await socket.send(text, at.address, PORT);
  const arrived = (await inside.receive(500))?.data.toString() === text;
  await socket.close();
  return arrived;
}

const endpoints = async ({ nat }: Scene): Promise<Mapping[]> =>
  (await (nat as Ctnat).mappings()).filter(({ remote }) => remote === null);

for (const family of ['ipv4', 'ipv6'] as const) {
  t.test(`${family}: a full cone lets strangers in, by UDP and TCP`, only, async (t) => {
    const place = await scene(t, { servers: 2, filtering: 'eif', ipv6: true });
    t.setTimeout(slowly(90_000));
    const { clients, server, servers, router } = place;
    const [client, stranger] = [clients[0]!, servers[1]!];
    if (family === 'ipv6') await server.peer.serve(server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT });
    const inside = await client.peer.udp(client[family], PORT);
    t.equal(await inside.ask(server[family], UDP_PORT), `${router[family]} ${PORT}`);

    const outside = await stranger.peer.udp(stranger[family], 7);
    await outside.send('who is there', router[family], PORT);
    const got = await inside.receive();
    t.match(got, { address: stranger[family], port: 7 });
    await inside.send('me', got!.address, got!.port);
    t.match(await outside.receive(), { address: router[family], port: PORT }, 'and is answered from there');

    const local = { localAddress: client[family], localPort: PORT };
    const out = await client.peer.tcp({ host: server[family], port: TCP_PORT, ...local });
    t.equal(out.seen, `${router[family]} ${PORT}`);
    await client.peer.serve(client[family], { tcp: PORT });
    const host = router[family];
    const came = await stranger.peer.tcp({ host, port: PORT, localAddress: stranger[family] });
    t.equal(came.seen, `${stranger[family]} ${came.localPort}`, 'TCP: the inside host sees who comes');
    t.equal(await came.echo('hello'), 'hello');

    t.match(
      (await endpoints(place)).map(({ proto, internal, external, flows }) => ({
        ...{ proto, inside: internal.port, outside: external.port, flows },
      })),
      ['udp', 'tcp'].map((proto) => ({ proto, inside: PORT, outside: PORT, flows: 2 })),
      'one mapping each, for both flows',
    );
  });
}

t.test('hairpin by TCP: an inside host reaches another by its outside port', only, async (t) => {
  const { clients, server, router } = await scene(t, { filtering: 'eif' });
  const [a, b] = clients as [SceneHost, SceneHost];
  const own = { localAddress: a.ipv4, localPort: PORT };
  await a.peer.tcp({ host: server.ipv4, port: TCP_PORT, ...own });
  await a.peer.serve(a.ipv4, { tcp: PORT });

  const local = { localAddress: b.ipv4, localPort: 41_000 };
  const came = await b.peer.tcp({ host: router.ipv4, port: PORT, ...local });
  t.equal(came.seen, `${router.ipv4} 41000`, 'RFC 5382 REQ-8: the source seen is the outside one');
  t.equal(await came.echo('hello'), 'hello');
});

t.test('an ICMP identifier is one for all that a host pings', only, async (t) => {
  const place = await scene(t, { servers: 2, filtering: 'eif' });
  for (const { ns } of place.clients) {
    for (const { ipv4 } of place.servers)
      await ns.run(['ping', '-e', '77', '-c', '2', '-i', '0.2', '-W', '3', ipv4]);
  }
  const mappings = await endpoints(place);
  t.equal(mappings.length, 2);
  t.match(mappings, [{ proto: 'icmp', internal: { port: 77 }, flows: 2 }, { flows: 2 }]);
  t.not(mappings[0]!.external.port, mappings[1]!.external.port);
});

t.test('a mapping ends with its timeout, and nobody comes in any more', only, async (t) => {
  const place = await scene(t, { servers: 2, filtering: 'eif', timeouts: { udp: 1, udpStream: 1 } });
  const { clients, server, servers, router } = place;
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  await inside.ask(server.ipv4, UDP_PORT);
  t.ok(await knocks(servers[1]!, { address: router.ipv4 }, inside));
  t.equal((await endpoints(place)).length, 1);

  await elapse(2_000 + 2_400); // the timeout, a step of the mapping's deadline, a sweep's grace, and a tick

  t.notOk(await knocks(servers[1]!, { address: router.ipv4 }, inside));
  t.same(await endpoints(place), [], 'it is not listed, though nothing has swept');
  await (place.nat as Ctnat).run(['gc']);
  const rival = await clients[1]!.peer.udp(clients[1]!.ipv4, PORT);
  t.equal(
    await rival.ask(server.ipv4, UDP_PORT),
    `${router.ipv4} ${PORT}`,
    "its port is another host's to take",
  );
});

t.test('an unanswered stranger keeps no mapping open', only, async (t) => {
  const { clients, server, servers, router } = await scene(t, {
    ...{ servers: 2, filtering: 'eif', timeouts: { udp: 2, udpStream: 2 } },
  });
  t.setTimeout(slowly(60_000));
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  await inside.ask(server.ipv4, UDP_PORT);
  await until('nobody comes in, though somebody has tried all the time', async () => {
    return !(await knocks(servers[1]!, { address: router.ipv4 }, inside));
  });
});

t.test('mappings are flushed with their flows, and outlive a change of options', only, async (t) => {
  const place = await scene(t, { servers: 2, filtering: 'eif' });
  t.setTimeout(slowly(90_000));
  const { clients, server, servers, router, nat } = place;
  const ctnat = nat as Ctnat;
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  const open = async (): Promise<void> => {
    t.equal(await inside.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT}`);
    t.ok(await knocks(servers[1]!, { address: router.ipv4 }, inside), 'open');
  };
  await open();
  const attach = ['attach', 'wan0', '--masquerade', '--mapping', 'eim'];
  await ctnat.run([...attach, '--filtering', 'apdf']);
  t.notOk(await knocks(servers[1]!, { address: router.ipv4 }, inside), 'the filter is closed');
  t.equal(await inside.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT}`, 'the flow goes on');
  await ctnat.run([...attach, '--filtering', 'eif']);
  t.ok(await knocks(servers[1]!, { address: router.ipv4 }, inside), 'and open again');
  t.match((await ctnat.run(['bpf', 'nat', 'list'])).stdout, /10\.0\.0\.\d+:40000 .*198\.51\.100\.1:40000/);

  for (const flush of [
    ['bpf', 'nat', 'flush'],
    ['bpf', 'ct', 'flush', 'global'],
    ['conntrack', '-F'],
  ]) {
    await ctnat.run(flush);
    t.same(await endpoints(place), [], flush.join(' '));
    t.notOk(await knocks(servers[1]!, { address: router.ipv4 }, inside), 'closed');
    await ctnat.run(['bpf', 'ct', 'flush', 'global']); // what has come to the router meanwhile
    await open();
  }

  await ctnat.run(['detach', 'wan0']);
  await ctnat.run([...attach, '--filtering', 'eif']);
  t.ok(await knocks(servers[1]!, { address: router.ipv4 }, inside), 'detached and attached: it was kept');
});

t.test('a mapping goes with the address, and lives while no agent does', only, async (t: Test) => {
  const { topology, clients, server, router } = await network(t);
  t.setTimeout(slowly(90_000));
  const ctnat = ctnatFor(topology);
  const agent = await ctnat.agent(gatewayConfig(topology, { filtering: 'eif' }));
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT);
  t.equal(await inside.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT}`);
  process.kill(agent.pid, 'SIGKILL');
  await agent.ended;
  t.ok(await knocks(server, { address: router.ipv4 }, inside), 'invariant 8');
  await ctnat.agent(gatewayConfig(topology, { filtering: 'eif' }));
  t.ok(await knocks(server, { address: router.ipv4 }, inside), 'a new agent leaves it alone');

  for (const address of [router.ipv4, router.ipv4Second])
    await router.ns.ip('address', 'del', `${address}/24`, 'dev', router.wan).catch(() => {});
  await router.ns.ip('address', 'add', '198.51.100.77/24', 'dev', router.wan);
  await until('the mapping has gone with its address', async () =>
    (await ctnat.mappings()).every(({ external }) => external.address !== router.ipv4),
  );
  t.equal(await inside.ask(server.ipv4, UDP_PORT), `198.51.100.77 ${PORT}`);
  t.ok(await knocks(server, { address: '198.51.100.77' }, inside));
});
