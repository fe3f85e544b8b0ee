// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Flows that `ctnat conntrack` makes and changes carry real packets, and those of packets can be changed.
import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import type { RunResult } from '../helpers/process.js';
import { scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';

function conntrack(nat: Ctnat, line: string, input = ''): Promise<RunResult> {
  return nat.run(['conntrack', ...line.split(' ')], { mayFail: true, input });
}

t.test('packets find the flow that -I has made, and its source translation', async (t) => {
  const { clients, server, router, nat: it } = await scene(t);
  const nat = it as Ctnat;
  const client = clients[0]!;
  const socket = await client.peer.udp(client.ipv4, 40_000);
  const made = await conntrack(
    nat,
    `-I -s ${client.ipv4} -d ${server.ipv4} -p udp --sport 40000 --dport ${UDP_PORT} -t 100 -m 7 -n ${router.ipv4}:45000`,
  );

  const seen = await socket.ask(server.ipv4, UDP_PORT);

  t.equal(made.status, 0, made.stderr);
  t.equal(seen, `${router.ipv4} 45000`);
  t.match(flowsOf(await nat.flows(), 'udp'), [
    {
      status: ['SEEN_REPLY', 'SRC_NAT'],
      original: { src: client.ipv4, sport: 40_000, packets: 1 },
      reply: { dst: router.ipv4, dport: 45_000, packets: 1 },
    },
  ]);
  const [line] = (await conntrack(nat, '-L -m 7')).stdout.split('\n');
  t.match(line, / packets=1 bytes=33 .* sport=5353 dport=45000 packets=1 bytes=\d+ mark=7 use=1$/);
});

t.test('both sides of a flow that -I has made can be translated', async (t) => {
  const { clients, server, router, nat: it } = await scene(t);
  const nat = it as Ctnat;
  const client = clients[0]!;
  const socket = await client.peer.udp(client.ipv4, 40_001);
  const virtual = '203.0.113.77'; // nobody's
  await conntrack(
    nat,
    `-I -s ${client.ipv4} -d ${virtual} -p udp --sport 40001 --dport 99 -t 100 ` +
      `-n ${router.ipv4}:45001 -g ${server.ipv4}:${UDP_PORT}`,
  );

  t.equal(await socket.ask(virtual, 99), `${router.ipv4} 45001`);
  t.match(flowsOf(await nat.flows(), 'udp'), [
    { status: ['SEEN_REPLY', 'SRC_NAT', 'DST_NAT'], original: { packets: 1 }, reply: { packets: 1 } },
  ]);
});

t.test('connections outlive -F when they are saved before and loaded again', async (t) => {
  const { clients, server, nat: it } = await scene(t);
  const nat = it as Ctnat;
  const client = clients[0]!;
  const connection = await client.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  await connection.echo('before');
  const saved = (await conntrack(nat, '-L -p tcp -o save')).stdout;

  await conntrack(nat, '-F');
  t.same(flowsOf(await nat.flows(), 'tcp'), []);
  const loaded = await conntrack(nat, '-R -', saved);

  t.match(loaded, { status: 0, stdout: '', stderr: '' });
  t.equal(await connection.echo('after'), 'after');
  t.match(flowsOf(await nat.flows(), 'tcp'), [
    { state: 'ESTABLISHED', status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'] },
  ]);
});

t.test('flows of packets are changed while they go on', async (t) => {
  const { clients, server, nat: it } = await scene(t);
  const nat = it as Ctnat;
  const client = clients[0]!;
  const connection = await client.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  await connection.echo('one');

  const marked = await conntrack(nat, `-U -s ${client.ipv4} -p tcp -m 0x55`);
  t.match(marked, {
    status: 0,
    stdout: / mark=85 use=2\n$/,
    stderr: /: 1 flow entries have been updated\.\n$/,
  });

  await conntrack(nat, `-U -s ${client.ipv4} -p tcp -t 3000 -u FIXED_TIMEOUT`);
  t.equal(await connection.echo('two'), 'two');
  const [flow] = flowsOf(await nat.flows(), 'tcp');
  t.match(flow, { mark: 85, status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT', 'FIXED_TIMEOUT'] });
  t.ok(flow!.timeout <= 3000, 'a packet does not move a fixed timeout');

  const listed = await conntrack(nat, '-L -z');
  t.notMatch(listed.stdout, / packets=0 /, 'what has been counted is shown');
  t.match((await conntrack(nat, '-L -p tcp')).stdout, / packets=0 bytes=0 .* packets=0 bytes=0 /);
  t.equal(await connection.echo('three'), 'three');
  t.notMatch((await conntrack(nat, '-L -p tcp')).stdout, / packets=0 /, 'counting goes on');

  const deleted = await conntrack(nat, `-D -s ${client.ipv4} -p tcp`);
  t.match(deleted, { status: 0, stderr: /: 1 flow entries have been deleted\.\n$/ });
  t.match(await conntrack(nat, `-D -s ${client.ipv4} -p tcp`), { status: 1, stdout: '' });
});

t.test('outside ports that flows of packets use are not given twice', async (t) => {
  const { clients, server, router, nat: it } = await scene(t);
  const nat = it as Ctnat;
  const [client] = clients;
  const socket = await client!.peer.udp(client!.ipv4, 41_000);
  await socket.ask(server.ipv4, UDP_PORT);
  const other = `-I -s 10.99.0.1 -d ${server.ipv4} -p udp --sport 41000 --dport ${UDP_PORT} -t 100`;

  const taken = await conntrack(nat, `${other} -n ${router.ipv4}:41000`);
  t.match(taken, { status: 1, stderr: /Operation failed: Such conntrack exists, try -U to update/ });
  const anyPort = await conntrack(nat, `${other} -n ${router.ipv4}`);
  t.match(anyPort, { status: 0 });

  const flows = flowsOf(await nat.flows(), 'udp');
  const ports = flows.map((flow) => flow.reply.dport);
  t.equal(flows.length, 2);
  t.equal(new Set(ports).size, 2, ports.join(' '));
});
