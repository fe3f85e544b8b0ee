// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A gateway's whole life on this kernel: attach, real traffic, every command, detach. One network and one attach
// for all of it, because loading takes an emulated machine long; and after the first commands, which are processes of
// their own as a user's are, one process for the others, because so does starting one. Tells the facts for docs/kernels.md.

import { existsSync, readFileSync } from 'node:fs';
import { basename, dirname } from 'node:path';
import { parseElf, programSizes } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { type GroupSpec, isGroup } from '../../src/cli/command.js';
import { PROGRAM } from '../../src/cli/commands.js';
import { gatewayConfig } from '../helpers/ctnat.js';
import { flowsOf, wireTuples } from '../helpers/flow.js';
import { hookQdiscs, kernelObjects, pins, survivors } from '../helpers/kernel-objects.js';
import { ctnatFor } from '../helpers/nat.js';
import { type RunResult, run } from '../helpers/process.js';
import { Resident } from '../helpers/resident.js';
import { HTTP_PORT, network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { slowly, until } from '../helpers/wait.js';

const PORT = 40_000;

interface Status {
  interfaces: { name: string; hooks: string[] }[];
  features: { flavour: string };
}

const { topology, clients, server, router } = await network(t);
const ctnat = ctnatFor(topology);
t.setTimeout(slowly(300_000));

t.test('attach loads the datapath and says by which hooks', async (t) => {
  const begun = performance.now();
  // kernels before 5.11 charge maps to it; it is raised where it must be
  await run(['prlimit', '--memlock=65536', ...ctnat.argv(['attach', ...router.lan])]);
  const loadMs = performance.now() - begun;
  await ctnat.run(['attach', router.wan, '--masquerade']);

  const { interfaces, features } = await ctnat.json<Status>(['status']);
  const hooks = [...new Set(interfaces.flatMap((iface) => iface.hooks))];
  t.same(new Set(interfaces.map(({ name }) => name)), new Set([...router.lan, router.wan]));
  t.ok(hooks.length >= 2, 'one each way');
  const object = parseElf(readFileSync(`build/bpf/${features.flavour}/ctnat.bpf.o`));
  const instructions = Object.fromEntries(
    programSizes(object).map(({ program, instructions }) => [program, instructions]),
  );
  t.ok(pins(ctnat).some((pin) => basename(dirname(pin)) === 'programs'));
  t.comment(`vm: ${JSON.stringify({ flavour: features.flavour, hooks, instructions, loadMs })}`);
  // a flow is not to expire while commands run that take this machine seconds each
  await ctnat.run(['timeouts', 'set', 'udp.timeout', '3600s']);
  ctnat.resident = Resident.start(router.ns.teardown);
  await ctnat.run(['timeouts', 'set', 'udp.stream', '3600s']);
});

t.test('UDP: two clients with the same port are told apart outside', async (t) => {
  const sockets = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, PORT)));
  const seen = [];
  for (const socket of sockets) seen.push(await socket.ask(server.ipv4, UDP_PORT));

  t.equal(seen[0], `${router.ipv4} ${PORT}`, 'the first keeps its port');
  t.match(seen[1], new RegExp(`^${router.ipv4} \\d+$`));
  t.not(seen[1], seen[0]);
  for (const [i, socket] of sockets.entries()) t.equal(await socket.ask(server.ipv4, UDP_PORT), seen[i]);
  const flows = await ctnat.flows();
  t.equal(flowsOf(flows, 'udp').length, 2);
  t.equal(new Set(wireTuples(flows)).size, 2 * flows.length, 'no wire tuple twice');
});

t.test('TCP: two clients with the same port hold connections to the same server', async (t) => {
  const open = [];
  for (const { peer } of clients) {
    open.push(await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT }));
  }

  t.not(open[0]!.seen, open[1]!.seen);
  for (const [i, connection] of open.entries()) t.equal(await connection.echo(`to ${i}`), `to ${i}`);
  t.same(
    flowsOf(await ctnat.flows(), 'tcp').map(({ state }) => state),
    ['ESTABLISHED', 'ESTABLISHED'],
  );
  for (const connection of open) await connection.close();
});

t.test('ping and HTTP: the server sees the router', async (t) => {
  const { ns } = clients[0]!;
  const ping = await ns.run(['ping', '-c', '5', '-i', '0.2', '-W', '10', server.ipv4]);
  const url = `http://${server.ipv4}:${HTTP_PORT}/`;
  const http = await ns.run(['curl', '-sS', '--fail', '--max-time', `${slowly(10)}`, url]);

  t.match(ping.stdout, '5 received');
  t.match(http.stdout, new RegExp(`^${router.ipv4} \\d+\n$`));
});

t.test('a port of the outside address leads to an inside host', async (t) => {
  const inside = clients[1]!;
  await inside.peer.serve(inside.ipv4, { tcp: TCP_PORT });
  await ctnat.forward({ proto: 'tcp', port: 2222, to: inside.ipv4, toPort: TCP_PORT });
  const inward = await server.peer.tcp({ host: router.ipv4, port: 2222 });

  t.equal(inward.seen, `${server.ipv4} ${inward.localPort}`);
  t.equal(await inward.echo('in'), 'in');
  await inward.close();
});

t.test('every command does its work', async (t) => {
  const config = await ctnat.writeConfig(gatewayConfig(topology));
  const used = new Set<string>();
  const ran = async (argv: string[]): Promise<RunResult> => {
    const result = await ctnat.run(argv, { mayFail: true });
    t.equal(result.status, 0, `${argv.join(' ')}: ${result.stderr}`);
    used.add(leafOf(argv));
    return result;
  };
  const shown: string[][] = [
    ['status'],
    ['nat', 'list'],
    ['gc'],
    ['bpf', 'ct', 'list', 'global'],
    ['bpf', 'ct', 'get', '-p', 'udp'],
    ['bpf', 'ct', 'count'],
    ['bpf', 'nat', 'list'],
    ['bpf', 'nat', 'retries', 'list'],
    ['bpf', 'metrics', 'list'],
    ['timeouts', 'list'],
  ];
  for (const argv of shown) {
    const { stdout } = await ran([...argv, '-o', 'json']);
    t.doesNotThrow(() => JSON.parse(stdout), `${argv.join(' ')} -o json`);
  }
  t.match((await ran(['conntrack', '-L', '-o', 'extended'])).stdout, /^ipv4 +2 udp +17 .* src=10\./m);
  t.match((await ran(['conntrack', '-C'])).stdout, /^[1-9]\d*\n$/);
  await ran(['conntrack', '-D', '-p', 'udp', '-s', clients[0]!.ipv4]);
  await ran(['nat', 'add', 'snat', '-o', router.wan, '-s', '10.9.0.0/16', '--to', router.ipv4Second]);
  const dnat = ['-i', router.wan, '-p', 'udp', '--dport', '99', '--to', clients[0]!.ipv4];
  await ran(['nat', 'add', 'dnat', ...dnat]);
  await ran(['nat', 'add', 'redirect', '-i', router.lan[0]!, '-p', 'udp', '--dport', '98', '--to', '9098']);
  await ran(['nat', 'add', 'netmap', '-o', router.wan, '-s', '10.10.0.0/24', '--to', '203.0.113.0/24']);
  const rules = await ctnat.json<{ id: number }[]>(['nat', 'list']);
  await ran(['nat', 'delete', String(rules.at(-1)!.id)]);
  t.equal((await ctnat.json<object[]>(['nat', 'list'])).length, rules.length - 1);
  await ran(['nat', 'flush']);
  await tracked(t, ran);
  await ran(['timeouts', 'set', 'udp.timeout', '20s']);
  await ran(['apply', config, '--check']);
  await ran(['apply', config]);
  const agent = await ctnat.agent(gatewayConfig(topology));
  await agent.stop();
  used.add('run');
  await watched(t, used);
  await ran(['bpf', 'ct', 'delete', '-p', 'udp']);
  await ran(['bpf', 'nat', 'flush']);
  await ran(['bpf', 'ct', 'flush', 'global']);
  t.same(await ctnat.flows(), [], 'the flush has left none');
  t.same(await ctnat.json(['nat', 'list']), [], 'no rule is left');
  // attach and detach are tests of their own; a completion is a text
  const elsewhere = ['attach', 'detach', 'completion'];
  t.same(
    leaves().filter((name) => !used.has(name) && !elsewhere.includes(name)),
    [],
    'none was left out',
  );
});

/** Rules for tracking are added, listed and deleted. */
async function tracked(t: Test, ran: (argv: string[]) => Promise<RunResult>): Promise<void> {
  const sides = ['-i', router.lan[0]!, '-p', 'udp'];
  await ran(['track', 'add', 'notrack', ...sides, '--dport', '97']);
  await ran(['track', 'add', 'set', ...sides, '--to', '7']);
  await ran(['track', 'add', 'save', ...sides]);
  await ran(['track', 'add', 'restore', ...sides]);
  const rules = async () =>
    JSON.parse((await ran(['track', 'list', '-o', 'json'])).stdout) as { id: number }[];
  const added = await rules();
  t.equal(added.length, 4);
  await ran(['track', 'delete', String(added[0]!.id)]);
  t.same(await rules(), added.slice(1));
  await ran(['track', 'flush']);
  t.same(await rules(), []);
}

/** The stream of events tells of a flow that begins. */
async function watched(t: Test, used: Set<string>): Promise<void> {
  if (!leaves().includes('monitor')) return;
  const monitor = router.ns.start(ctnat.argv(['monitor', '-o', 'jsonl', '--type', 'new']));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT + 9);
  // it listens a while after it was started, and a flow is new only once
  let port = UDP_PORT;
  await until('the monitor tells of a new flow', async () => {
    await socket.send('new', server.ipv4, ++port);
    return monitor.output.includes(clients[0]!.ipv4);
  });
  t.match(monitor.output, /"new"/);
  await monitor.stop();
  used.add('monitor');
}

/** Every command by its words. */
function leaves(group: GroupSpec = PROGRAM, before = ''): string[] {
  return group.commands.flatMap((each) =>
    isGroup(each) ? leaves(each, `${before}${each.name} `) : `${before}${each.name}`,
  );
}

/** The command that a command line is of. */
function leafOf(argv: readonly string[]): string {
  const line = `${argv.join(' ')} `;
  return leaves().find((name) => line.startsWith(`${name} `)) ?? line;
}

t.test('the sweep deletes what has expired, and nothing else', async (t) => {
  await ctnat.apply(gatewayConfig(topology, { timeouts: { udp: 1, udpStream: 1 } }));
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, PORT + 1);
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT + 1}`);
  await until('the UDP flow has expired', async () => flowsOf(await ctnat.flows(), 'udp').length === 0);

  // A listing hides an entry at its deadline; the sweep leaves it alone for a little longer.
  let deleted = 0;
  await until('the sweep has deleted it', async () => {
    const { maps } = await ctnat.json<{ maps: { deleted: number }[] }>(['gc']);
    for (const map of maps) deleted += map.deleted;
    return deleted > 0;
  });

  t.equal(deleted, 1);
  t.equal(await connection.echo('still there'), 'still there');
  await connection.close();
});

t.test('detach leaves no program, map, link, qdisc or pin', async (t) => {
  const objects = await kernelObjects(ctnat);
  t.ok(objects.maps.length > 0 && objects.programs.length > 0, 'there was something to remove');

  await ctnat.resident?.stop();
  ctnat.resident = undefined;
  await ctnat.run(['detach', '--all', '--purge']);

  // The kernel frees maps and programs when their last user is gone, a moment after the command has ended.
  const none = { maps: [], programs: [], links: [] };
  await until('programs, maps and links are gone', async () =>
    Object.values(await survivors(objects)).every((ids) => ids.length === 0),
  );
  t.same(await survivors(objects), none);
  t.same(await hookQdiscs(router.ns), []);
  t.same(pins(ctnat), []);
  t.notOk(existsSync(ctnat.pinPath), 'not even the folder');
});
