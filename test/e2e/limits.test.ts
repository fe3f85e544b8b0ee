// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Limits of a subscriber (RFC 6888 REQ-4 and REQ-5) with real traffic: who has used up its share is told so, and
// disturbs nobody; what it gives back it may have again.

import t from 'tap';
import { formatAddress, parseAddress } from '../../src/address.js';
import { Datapath } from '../../src/datapath.js';
import { runSteps } from '../../src/steps.js';
import { SubscriberRepair } from '../../src/subscriber-check.js';
import { verifyTables } from '../../src/table-check.js';
import { ticksOfMs } from '../../src/ticks.js';
import { ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { slowly } from '../helpers/wait.js';

t.setTimeout(slowly(400_000));

/** Loading takes the verifier seconds, in XDP mode of two objects. */
const SLOW_ATTACH = { limitMs: 60_000 };

interface Limited {
  subscriber: string;
  iface: string;
  flows: number;
  limit: number | null;
  refusedPorts: number;
  refusedRate: number;
}

for (const family of ['ipv4', 'ipv6'] as const) {
  t.test(`${family}: a client at its limit of ports does not disturb the other`, async (t) => {
    t.setTimeout(slowly(150_000));
    const { topology, clients, server, router } = await network(t, { lan: 'ports' });
    const nat = ctnatFor(topology);
    await nat.run(['attach', ...router.lan], SLOW_ATTACH);
    const limits = ['--limit-ports', '3', '--limit-prefix', '128'];
    await nat.run(['attach', 'wan0', '--masquerade=all', ...limits], SLOW_ATTACH);
    const [first, second] = clients;
    const address = server[family];
    const names = [first, second].map((each) => formatAddress(parseAddress(each![family])));
    const told = family === 'ipv4' ? 'EHOSTUNREACH' : 'EACCES';
    if (family === 'ipv6') await server.peer.serve(address, { udp: UDP_PORT, tcp: TCP_PORT });
    const connect = (client: typeof first) =>
      client!.peer.tcp({ host: address, port: TCP_PORT, localAddress: client![family] });

    const udp = await first!.peer.udp(first![family]);
    t.ok(await udp.ask(address, UDP_PORT));
    const connections = [await connect(first), await connect(first)];
    await t.rejects(connect(first), new RegExp(told), 'TCP: one too many is told at once');
    const asked = [first![family], 40_000, address, UDP_PORT] as const;
    t.equal(await first!.peer.call('udpRefused', ...asked, slowly(3_000)), told, 'UDP: so is one too many');

    const others = [await connect(second), await connect(second), await connect(second)];
    for (const each of [...connections, ...others]) t.equal(await each.echo('still'), 'still');
    t.ok(await udp.ask(address, UDP_PORT), 'who is at its limit keeps what it has');
    const { limited } = await nat.json<{ limited: Limited[] }>(['status']);
    const found = limited.find(({ subscriber }) => subscriber === names[0])!;
    t.match(found, { iface: 'wan0', flows: 3, limit: 3, refusedRate: 0 });
    t.ok(found.refusedPorts >= 2);
    t.match(
      limited.find(({ subscriber }) => subscriber === names[1]),
      { flows: 3, refusedPorts: 0 },
    );
    const { stdout } = await nat.run(['status']);
    t.match(stdout, new RegExp(`LIMITED[^]*${names[0]} +0 +wan0 +3 +3 `));

    const filter = ['-s', first![family], '-p', 'udp'];
    t.match((await nat.run(['bpf', 'ct', 'flush', 'global', ...filter])).stdout, /1/);
    const again = await connect(first);
    t.equal(await again.echo('again'), 'again', 'what a flow has given back may be had again');
    await t.rejects(connect(first), new RegExp(told));
    await nat.run(['attach', 'wan0', '--masquerade=all', '--limit-ports', '4', '--limit-prefix', '128']);
    t.equal(await (await connect(first)).echo('more'), 'more', 'a raised limit holds at once');
    using datapath = Datapath.open(nat.pinPath);
    t.same(verifyTables(datapath), [], 'what is counted is what there is');

    const { subscribers } = datapath.maps;
    const [key, value] = [...subscribers.entries()][0]!;
    subscribers.set(key, { ...value, flows: 9 });
    t.match(
      verifyTables(datapath),
      [/^subscriber .*: 9 flows counted, there are [34]$/],
      'a wrong count is found',
    );
    const repair = new SubscriberRepair();
    t.equal(await runSteps(repair.steps(datapath)), 0, 'by the first pass, which waits for the second');
    t.equal(await runSteps(repair.steps(datapath)), 1, 'that puts it right');
    t.same(verifyTables(datapath), []);
    await nat.run(['bpf', 'ct', 'flush', 'global']);
    await nat.run(['gc']);
    t.equal(subscribers.count(), 2, 'who has just had flows is remembered');
    for (const [each, had] of [...subscribers.entries()])
      subscribers.set(each, { ...had, tick: (had.tick - ticksOfMs(61_000)) >>> 0 });
    await nat.run(['gc']);
    t.equal(subscribers.count(), 0, 'and forgotten after a minute');
  });
}

t.test('a client that begins flows too fast is slowed down, and the other is not', async (t) => {
  t.setTimeout(slowly(120_000));
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  const nat = ctnatFor(topology);
  await nat.run(['attach', ...router.lan], SLOW_ATTACH);
  await nat.run(['attach', 'wan0', '--masquerade', '--limit-rate', '1/s,5']);
  const [first, second] = clients;
  const connect = (client: typeof first) =>
    client!.peer.tcp({ host: server.ipv4, port: TCP_PORT, localAddress: client!.ipv4 });

  let made = 0;
  let refused = '';
  for (; made < 1000 && refused === ''; made++) {
    await connect(first).catch(({ message }: Error) => {
      refused = message;
    });
  }
  t.ok(made >= 6, `${made - 1} connections before one was refused`);
  t.match(refused, /EHOSTUNREACH/);
  for (let n = 0; n < 5; n++) t.equal(await (await connect(second)).echo('here'), 'here');
  const { limited } = await nat.json<{ limited: Limited[] }>(['status']);
  t.match(limited[0], { subscriber: first!.ipv4, limit: null, refusedPorts: 0 });
  t.ok(limited[0]!.refusedRate >= 1);
});

t.test('endpoint-independent: a mapping is one port until it ends, whatever its flows', async (t) => {
  t.setTimeout(slowly(120_000));
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  const nat = ctnatFor(topology);
  await nat.run(['attach', ...router.lan], SLOW_ATTACH);
  await nat.run(['attach', 'wan0', '--masquerade', '--mapping', 'eim', '--limit-ports', '2'], SLOW_ATTACH);
  const { ipv4, peer } = clients[0]!;
  const connect = () => peer.tcp({ host: server.ipv4, port: TCP_PORT, localAddress: ipv4 });
  const counted = async () =>
    (await nat.json<{ limited: Limited[] }>(['status'])).limited.find(({ subscriber }) => subscriber === ipv4)
      ?.flows;

  const sockets = [await peer.udp(ipv4), await peer.udp(ipv4)];
  for (const socket of sockets) t.ok(await socket.ask(server.ipv4, UDP_PORT));
  await t.rejects(connect(), /EHOSTUNREACH/);
  t.equal(await counted(), 2);
  using datapath = Datapath.open(nat.pinPath);
  t.same(verifyTables(datapath), []);

  await nat.run(['bpf', 'ct', 'flush', 'global', '-s', ipv4]);
  t.equal((await nat.flows()).length, 0);
  t.equal(await counted(), 2, 'its flows are gone, its mappings are there');
  t.ok(await sockets[1]!.ask(server.ipv4, UDP_PORT), 'and serve new flows');
  await t.rejects(connect(), /EHOSTUNREACH/);
  t.same(verifyTables(datapath), []);
  await nat.run(['bpf', 'nat', 'flush']);
  t.equal(await (await connect()).echo('again'), 'again', 'what mappings have given back may be had again');
  t.same(verifyTables(datapath), []);
});
