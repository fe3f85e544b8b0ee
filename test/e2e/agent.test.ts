// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 8: the agent is not in the path. Also what the agent does while it runs.

import t from 'tap';
import { gatewayConfig } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { Daemon } from '../helpers/process.js';
import { HTTP_PORT, network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };

for (const signal of ['SIGKILL', 'SIGTERM', 'SIGINT'] as const) {
  t.test(`invariant 8, the agent is not in the path: traffic goes on after ${signal}`, only, async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    const agent = await ctnat.agent(gatewayConfig(topology));
    const open = [];
    for (const { peer } of clients) {
      open.push(await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 }));
    }
    const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
    const seen = await socket.ask(server.ipv4, UDP_PORT);
    const status = await agent.stop(signal);

    t.equal(status, signal === 'SIGKILL' ? 137 : 0);
    for (const connection of open) t.equal(await connection.echo('after'), 'after', 'a connection survives');
    t.equal(await socket.ask(server.ipv4, UDP_PORT), seen, 'a UDP flow keeps its mapping');
    const { stdout } = await clients[1]!.ns.run([
      'curl',
      '-sS',
      '--fail',
      `http://${server.ipv4}:${HTTP_PORT}/`,
    ]);
    t.match(stdout, new RegExp(`^${router.ipv4} `), 'new flows work');
    t.match(
      await ctnat.json(['status']),
      { agent: { running: false } },
      'and status says that no agent runs',
    );

    await ctnat.agent(gatewayConfig(topology));
    for (const connection of open)
      t.equal(await connection.echo('again'), 'again', 'a new agent finds the flows');
    t.equal(await socket.ask(server.ipv4, UDP_PORT), seen);
  });
}

t.test('the agent sweeps what has expired', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  const gc = 'gc: { minInterval: 1s, maxInterval: 1s }';
  await ctnat.agent(gatewayConfig(topology, { timeouts: { udp: 1, udpStream: 1 } }, gc));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const entries = async (): Promise<number> => {
    const { maps } = await ctnat.json<{ maps: { name: string; entries: number }[] }>(['status']);
    return maps.filter(({ name }) => /^tuple/.test(name)).reduce((all, { entries }) => all + entries, 0);
  };
  t.ok((await entries()) > 0);

  await until('the expired flow is out of the maps', async () => (await entries()) === 0);
});

t.test('the agent follows the address of the masquerading interface', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.agent(gatewayConfig(topology, {}, 'metrics: { listen: "127.0.0.1:9464" }'));
  const { peer, ipv4 } = clients[0]!;
  const ask = async (port: number): Promise<string | undefined> => {
    const socket = await peer.udp(ipv4, port);
    try {
      return await socket.ask(server.ipv4, UDP_PORT, 'hello', 500);
    } finally {
      await socket.close();
    }
  };
  t.equal(await ask(40_000), `${router.ipv4} 40000`);
  const monitor = Daemon.start(ctnat.argv(['monitor', '-o', 'jsonl', '--type', 'destroy']));
  t.teardown(() => monitor.stop('SIGKILL'));
  await monitor.printed(/listening to/);
  for (const address of [router.ipv4, router.ipv4Second]) {
    await router.ns.ip('address', 'del', `${address}/24`, 'dev', router.wan).catch(() => {});
  }
  await router.ns.ip('address', 'add', '198.51.100.77/24', 'dev', router.wan);

  let port = 40_001;
  await until('new flows have the new address', async () =>
    (await ask(port++))?.startsWith('198.51.100.77 '),
  );
  t.equal(await ask(40_000), '198.51.100.77 40000', 'and a flow that had the old one does not keep it');
  await monitor.printed(/"sport":40000/);
  const told = monitor.output.split('\n').filter((line) => line.includes('"sport":40000'));
  t.match(JSON.parse(told[0]!), { cause: 'address', reply: { dst: router.ipv4 } }, 'its end is told as that');
  const scrape = await router.ns.run(['curl', '-sS', '--fail', 'http://127.0.0.1:9464/metrics']);
  t.match(scrape.stdout, /^ctnat_flow_events_total\{event="address"\} [1-9]/m);
  t.match(scrape.stdout, /^ctnat_flow_events_total\{event="deleted"\} 0$/m);
});

t.test('SIGHUP reloads the configuration and keeps the flows', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  const agent = await ctnat.agent(gatewayConfig(topology));
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
  const file = agent.argv[agent.argv.length - 1]!;
  const { writeFile } = await import('node:fs/promises');
  await clients[0]!.peer.serve(clients[0]!.ipv4, { http: HTTP_PORT });
  const rule = `nat:\n  - { dnat: { in: ${router.wan}, proto: tcp, dport: 8080, to: "${clients[0]!.ipv4}:${HTTP_PORT}" } }`;
  await writeFile(file, gatewayConfig(topology, {}, rule));
  process.kill(agent.pid, 'SIGHUP');

  const url = `http://${router.ipv4}:8080/`;
  await until('the new rule works', async () => {
    const argv = ['curl', '-sS', '--fail', '--max-time', '1', url];
    return (await server.ns.run(argv, { mayFail: true })).status === 0;
  });
  t.equal(await connection.echo('still'), 'still');
  await writeFile(file, 'interfaces: [{ name: wan0, masquerade: perhaps }]\n');
  process.kill(agent.pid, 'SIGHUP');
  await agent.printed(/masquerade/);
  t.equal(await connection.echo('still'), 'still', 'a broken file changes nothing');
  t.ok(agent.running, 'and does not end the agent');
});

t.test('a second agent on the same pins is refused', only, async (t) => {
  const { topology } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  const agent = await ctnat.agent(gatewayConfig(topology));
  const second = await ctnat.run(['run'], { mayFail: true });

  t.equal(second.status, 1);
  t.match(second.stderr, new RegExp(String(agent.pid)), 'it names the one that runs');
  t.ok(agent.running);
  t.same(flowsOf(await ctnat.flows(), 'tcp'), []);
});
