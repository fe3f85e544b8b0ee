// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What attaching has to cope with: kernels without TCX, failures halfway, killed commands, other namespaces,
// interfaces that are renamed or come back.

import { existsSync } from 'node:fs';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Ctnat, gatewayConfig } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { hookQdiscs, kernelObjects, survivors } from '../helpers/kernel-objects.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { veth } from '../helpers/netns.js';
import { Daemon, type RunResult, run } from '../helpers/process.js';
import { network, UDP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
/** As on kernels before 6.6. */
const WITHOUT_TCX = ['env', 'LIBBPF_TS_DISABLE=tcx'];

function withoutTcx(ctnat: Ctnat, ...args: string[]): Promise<RunResult> {
  return run([...WITHOUT_TCX, ...ctnat.argv(args)], { mayFail: true });
}

/** The command in the namespace of the test, where the interfaces are not. */
function elsewhere(ctnat: Ctnat, ...args: string[]): string[] {
  return ctnat.argv(args).filter((word, i, all) => word !== '--netns' && all[i - 1] !== '--netns');
}

async function names(ctnat: Ctnat): Promise<string[]> {
  const { interfaces } = await ctnat.json<{ interfaces: { name: string }[] }>(['status']);
  return interfaces.map(({ name }) => name).sort();
}

function saysInOneLine(t: Test, { status, stderr }: RunResult, message: RegExp): void {
  t.equal(status, 1);
  t.match(stderr, /^[^\n]+\n$/);
  t.match(stderr, message);
}

t.test('without TCX it attaches by clsact, and purge removes the qdiscs that it made', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await router.ns.run(['tc', 'qdisc', 'add', 'dev', router.lan[0]!, 'clsact']);
  t.equal((await withoutTcx(ctnat, 'attach', ...router.lan)).status, 0);
  t.equal((await withoutTcx(ctnat, 'attach', router.wan, '--masquerade')).status, 0);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
  const { interfaces } = await ctnat.json<{ interfaces: { hooks: string[] }[] }>(['status']);
  t.same(interfaces[0]!.hooks, ['clsact/ingress', 'clsact/egress']);
  t.equal((await withoutTcx(ctnat, 'attach', router.wan, '--masquerade')).status, 0, 'again');
  const { stdout } = await router.ns.run(['tc', 'filter', 'show', 'dev', router.wan, 'egress']);
  t.equal(stdout.match(/ct_egress/g)?.length, 2, 'one filter: its name stands there twice');
  const objects = await kernelObjects(ctnat);
  t.equal((await run(elsewhere(ctnat, 'detach', '--all', '--purge'))).status, 0);

  t.same(await hookQdiscs(router.ns), [`${router.lan[0]} clsact`], 'the qdisc that was there before stays');
  await until('programs, maps and links are gone', async () =>
    Object.values(await survivors(objects)).every((ids) => ids.length === 0),
  );
});

t.test('an attach that fails halfway leaves nothing attached and nothing loaded', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1, lan: 'ports' });
  const ctnat = ctnatFor(topology);
  // It has clsact's place, so that the second interface cannot be attached.
  await router.ns.run(['tc', 'qdisc', 'add', 'dev', router.wan, 'ingress']);
  saysInOneLine(t, await withoutTcx(ctnat, 'attach', router.lan[0]!, router.wan), /ingress qdisc/);

  t.same(await hookQdiscs(router.ns), [`${router.wan} ingress`]);
  t.notOk(existsSync(ctnat.pinPath));
});

t.test('new options that cannot be given leave the old ones in force', only, async (t) => {
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  const ctnat = ctnatFor(topology);
  await withoutTcx(ctnat, 'attach', router.lan[0]!);
  await withoutTcx(ctnat, 'attach', router.wan, '--masquerade');
  await router.ns.run(['tc', 'qdisc', 'add', 'dev', router.lan[1]!, 'ingress']);
  const file = await ctnat.writeConfig(
    `interfaces: [{ name: ${router.wan} }, { name: ${router.lan[0]} }, { name: ${router.lan[1]} }]\n` +
      'exempt: [198.51.100.0/24]\ntimeouts: { udp: { timeout: 1s } }\n',
  );
  saysInOneLine(t, await withoutTcx(ctnat, 'apply', file), /ingress qdisc/);

  t.same(await names(ctnat), [router.lan[0]!, router.wan].sort());
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`, 'masquerade, and no exemption');
  t.match(await ctnat.json(['status']), { timeouts: { udp: { timeout: 120 } } });
});

t.test('what a killed attach left behind does not keep the next one from working', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  const attach = Daemon.start(ctnat.argv(['attach', ...router.lan]));
  await until(
    'it has begun to pin',
    () => existsSync(join(ctnat.pinPath, 'loading')) || !attach.running,
    60_000,
  );
  await attach.stop('SIGKILL');
  await ctnat.start();

  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
  t.notOk(existsSync(join(ctnat.pinPath, 'loading')));
});

t.test('in another network namespace it is told which one to use', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  saysInOneLine(
    t,
    await run(elsewhere(ctnat, 'attach', 'lo'), { mayFail: true }),
    new RegExp(`--netns ${router.ns.name}`),
  );

  const { status } = await run(elsewhere(ctnat, 'bpf', 'ct', 'list', 'global'), { mayFail: true });
  t.equal(status, 0, 'the flows are seen from everywhere');
});

t.test('a renamed interface stays attached, under its new name', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  await router.ns.ip('link', 'set', router.wan, 'down');
  await router.ns.ip('link', 'set', router.wan, 'name', 'out0');
  await router.ns.ip('link', 'set', 'out0', 'up');

  t.same(await names(ctnat), [...router.lan, 'out0'].sort());
  await ctnat.run([
    'nat',
    'add',
    'dnat',
    '-i',
    'out0',
    '-p',
    'tcp',
    '--dport',
    '81',
    '--to',
    clients[0]!.ipv4,
  ]);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
  t.same(await ctnat.json(['detach', 'out0']), { detached: ['out0'] });
});

t.test('the agent attaches an interface that comes, and again when it comes back', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  const file = await ctnat.writeConfig(`${gatewayConfig(topology)}  - { name: late0, masquerade: 4 }\n`);
  const agent = Daemon.start(ctnat.argv(['run', '-c', file]));
  topology.router.ns.teardown.defer('ctnat run', () => agent.stop());
  await agent.printed(/running for/, 60_000);
  t.match(agent.output, /late0 is not there/);

  for (const round of ['first', 'second']) {
    await veth(router.ns, 'late0', server.ns, 'far0');
    await router.ns.ip('address', 'add', '203.0.113.1/24', 'dev', 'late0');
    await server.ns.ip('address', 'add', '203.0.113.9/24', 'dev', 'far0');
    await until(`it is attached, ${round} time`, async () => (await names(ctnat)).includes('late0'));
    // its socket outlives the address
    if (round === 'first') await server.peer.serve('203.0.113.9', { udp: UDP_PORT });
    const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
    t.equal(await socket.ask('203.0.113.9', UDP_PORT), '203.0.113.1 40000', round);
    await socket.close();
    await router.ns.ip('link', 'delete', 'late0');
    await until('its links are gone', async () => !(await names(ctnat)).includes('late0'));
  }
  t.same(await names(ctnat), [...router.lan, router.wan].sort());
});

t.test(
  'the agent keeps flows when the same address comes back, and forwards follow a new one',
  only,
  async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    const inside = clients[1]!;
    await inside.peer.serve(inside.ipv4, { udp: UDP_PORT });
    const rule = `nat:\n  - { dnat: { in: ${router.wan}, proto: udp, dport: 53, to: "${inside.ipv4}:${UDP_PORT}" } }`;
    await ctnat.agent(gatewayConfig(topology, {}, rule));
    const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
    t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
    for (const verb of ['del', 'add']) {
      await router.ns.ip('address', verb, `${router.ipv4}/24`, 'dev', router.wan);
    }
    await router.ns.ip('address', 'add', '198.51.100.77/24', 'dev', router.wan);
    // What begins before the agent has followed is the router's own flow, so each attempt is another one.
    let port = 30_000;
    await until('the forward is for the new address too', async () => {
      const outside = await server.peer.udp(server.ipv4, port++);
      await outside.send('hello', '198.51.100.77', 53);
      return (await outside.receive(300))?.address === '198.51.100.77';
    });

    t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
    const [flow] = flowsOf(await ctnat.flows(), 'udp', { src: clients[0]!.ipv4 });
    t.equal(flow?.original.packets, 2, 'the flow went on');
  },
);

t.test('the agent serves metrics, and moves them on reload', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  const listen = (port: number): string => `metrics: { listen: "127.0.0.1:${port}" }`;
  const agent = await ctnat.agent(gatewayConfig(topology, {}, listen(9464)));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const get = (port: number): Promise<RunResult> =>
    router.ns.run(['curl', '-sS', '--fail', `http://127.0.0.1:${port}/metrics`], { mayFail: true });
  const { stdout } = await get(9464);
  t.match(stdout, /^ctnat_flows\{family="ipv4"\} 1$/m);
  t.match(stdout, /^ctnat_flow_events_total\{event="created"\} 1$/m);
  t.match(stdout, /^ctnat_packets_total\{reason="forwarded",direction="ingress"\} \d/m);

  const { writeFile } = await import('node:fs/promises');
  await writeFile(agent.argv.at(-1)!, gatewayConfig(topology, {}, listen(9465)));
  process.kill(agent.pid, 'SIGHUP');
  await agent.printed(/reloaded/);
  t.equal((await get(9465)).status, 0);
  t.not((await get(9464)).status, 0, 'and no longer where it was');
});
