// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Rules for tracking with real traffic: the way back by a restored mark, what is not tracked, marks in events.

import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { forwardedBy } from '../helpers/forwarded.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { Namespace, veth } from '../helpers/netns.js';
import { Peer } from '../helpers/peer.js';
import { Daemon } from '../helpers/process.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { Teardown } from '../helpers/teardown.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;

/** Packets counted as untracked by a rule, at ingress and at egress. */
async function untracked(nat: Ctnat): Promise<number[]> {
  const metrics = await nat.metrics();
  return ['ingress', 'egress'].map(
    (hook) =>
      metrics.find(({ reason, direction }) => reason === 'untracked_rule' && direction === hook)?.packets ??
      0,
  );
}

t.test(
  'two customers with the same addresses behind one uplink: the way back by the mark',
  only,
  async (t) => {
    const { topology, router, clients, server } = await network(t, { lan: 'ports', clients: 1 });
    const host = clients[0]!;
    const ns = await Namespace.create('twin', Teardown.of(t));
    await veth(ns, 'eth0', router.ns, 'lan1');
    await router.ns.ip('address', 'add', '10.0.0.1/24', 'dev', 'lan1');
    await ns.ip('address', 'add', `${host.ipv4}/24`, 'dev', 'eth0');
    await ns.ip('route', 'add', 'default', 'via', '10.0.0.1');
    for (const [mark, lan] of ['lan0', 'lan1'].entries()) {
      const table = String(mark + 1);
      await router.ns.ip('route', 'add', '10.0.0.0/24', 'dev', lan, 'table', table);
      await router.ns.ip('rule', 'add', 'fwmark', `${table}/0xff`, 'table', table);
    }
    const peers = [host.peer, await Peer.start(ns)];
    const nat = ctnatFor(topology);
    await nat.apply(`
interfaces:
  - { name: lan0, zone: 1 }
  - { name: lan1, zone: 2 }
  - { name: wan0, masquerade: 4 }
track:
  - { action: mark set 1/0xff, in: lan0 }
  - { action: mark set 2/0xff, in: lan1 }
  - { action: mark restore, in: wan0 }
`);
    const sockets = await Promise.all(peers.map((peer) => peer.udp(host.ipv4, PORT)));
    const ports = await Promise.all(sockets.map((socket) => socket.ask(server.ipv4, UDP_PORT)));
    t.equal(new Set(ports).size, 2, 'both are answered, at ports of their own outside');
    const connections = await Promise.all(
      peers.map((peer) => peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT })),
    );
    for (const round of [1, 2]) {
      for (const [i, connection] of connections.entries()) {
        t.equal(await connection.echo(`${round} of ${i + 1}`), `${round} of ${i + 1}`, 'hears its own');
      }
    }
    const { stdout } = await nat.run(['conntrack', '-L', '-p', 'tcp', '-o', 'id']);
    t.match(stdout, /zone-orig=1 .*mark=1 /);
    t.match(stdout, /zone-orig=2 .*mark=2 /);
    t.match((await nat.json<object[]>(['track', 'list']))[2], { id: 3, action: 'mark restore', in: 'wan0' });

    await nat.run(['track', 'delete', '3']);
    const lost = await peers[1]!.udp(host.ipv4, PORT + 1);
    t.equal(
      await lost.askInVain(server.ipv4, UDP_PORT),
      undefined,
      'without the rule the way back is not known',
    );
  },
);

t.test('what is not tracked passes as it came', only, async (t) => {
  const { topology, router, clients, server } = await network(t, { clients: 1 });
  const { peer, ipv4 } = clients[0]!;
  // the server finds the way back by itself: nothing is translated
  await server.ns.ip('route', 'add', `${ipv4}/32`, 'via', router.ipv4);
  const nat = ctnatFor(topology);
  await nat.start();
  await nat.run(['track', 'add', 'notrack', '-p', 'udp', '--dport', String(UDP_PORT)]);
  await nat.run(['track', 'add', 'notrack', '-p', 'udp', '--sport', String(UDP_PORT)]);
  const socket = await peer.udp(ipv4, PORT);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${ipv4} ${PORT}`, 'the inside address is seen');
  t.strictSame(await untracked(nat), [2, 2], 'question and answer, once at each hook');
  t.strictSame(
    (await nat.flows()).filter(({ proto }) => proto === 'udp'),
    [],
  );
  const connection = await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: PORT });
  t.equal(connection.seen, `${router.ipv4} ${PORT}`, 'anything else is translated');
  await nat.run(['track', 'flush']);
  t.equal(await socket.ask(server.ipv4, UDP_PORT), `${router.ipv4} ${PORT}`, 'so is this without the rules');
  t.strictSame(await untracked(nat), [2, 2]);
});

t.test('a mark that changes is told once', only, async (t) => {
  const { topology, clients, server } = await network(t, { clients: 1 });
  const { peer, ipv4 } = clients[0]!;
  const nat = ctnatFor(topology);
  await nat.start();
  const socket = await peer.udp(ipv4, PORT);
  await socket.ask(server.ipv4, UDP_PORT);
  const daemon = Daemon.start(nat.argv(['monitor', '-o', 'jsonl', '--type', 'new,update', '-p', 'udp']));
  t.teardown(() => daemon.stop('SIGKILL'));
  await daemon.printed(/listening to/);
  const events = (): { type: string; mark: number }[] =>
    daemon.output
      .split('\n')
      .filter((line) => line.startsWith('{') && line.endsWith('}'))
      .map((line) => JSON.parse(line));

  await nat.run(['track', 'add', 'set', '-i', topology.router.lan[0]!, '--to', '0x21']);
  for (let i = 0; i < 3; i++) await socket.ask(server.ipv4, UDP_PORT);
  const second = await peer.udp(ipv4, PORT + 1);
  await second.ask(server.ipv4, UDP_PORT);
  await until('the second flow is told', () => events().some(({ type }) => type === 'new'));
  t.match(
    events().slice(0, 2),
    [
      { type: 'update', mark: 0x21 },
      { type: 'new', mark: 0x21 },
    ],
    'three packets that find the mark as it shall be tell nothing, and the new flow has it when it is told',
  );
});

t.test('while there is a rule nothing goes past the stack', only, async (t) => {
  const { topology, router, clients, server } = await network(t, { clients: 1, lan: 'ports' });
  const { peer, ipv4 } = clients[0]!;
  await server.ns.ip('route', 'add', `${ipv4}/32`, 'via', router.ipv4);
  const nat = ctnatFor(topology);
  const options = ['--mode', 'tc', '--redirect'];
  await nat.run(['attach', ...router.lan, ...options]);
  await nat.run(['attach', router.wan, '--masquerade', ...options]);
  const socket = await peer.udp(ipv4, PORT);
  const ask = async (times: number, seen: string, about: string): Promise<number> => {
    const before = await forwardedBy(router.ns);
    for (let i = 0; i < times; i++) t.equal(await socket.ask(server.ipv4, UDP_PORT), seen, about);
    return (await forwardedBy(router.ns)) - before;
  };
  const translated = `${router.ipv4} ${PORT}`;
  await ask(2, translated, 'a flow begins');
  t.ok((await ask(10, translated, 'redirected')) < 10, 'most of 20 packets go past the stack');

  await nat.run(['track', 'add', 'set', '-i', router.lan[0]!, '--to', '5']);
  t.ok((await ask(5, translated, 'marked')) >= 10, 'every packet is asked about');
  t.match(await nat.flows(), [{ mark: 5 }]);
  const { interfaces } = await nat.json<{ interfaces: object[] }>(['status']);
  for (const each of interfaces) t.match(each, { why: /rules for tracking/ });
  await nat.run(['track', 'flush']);
  t.ok((await ask(10, translated, 'redirected again')) < 10);

  for (const port of ['--dport', '--sport'])
    await nat.run(['track', 'add', 'notrack', '-p', 'udp', port, String(UDP_PORT)]);
  t.ok((await ask(5, `${ipv4} ${PORT}`, 'untracked, though its flow is there')) >= 10);
  t.strictSame(await untracked(nat), [10, 10]);
});

t.test('mode xdp asks no rules', only, async (t) => {
  const { topology, router } = await network(t, { clients: 1 });
  const nat = ctnatFor(topology);
  await nat.start();
  await nat.run(['track', 'add', 'restore', '-i', router.wan]);
  const refused = await nat.run(['attach', router.wan, '--mode', 'xdp'], { mayFail: true });
  t.equal(refused.status, 1);
  t.match(refused.stderr, /rules for tracking while wan0 is in mode xdp/);
  const absent = await nat.run(['track', 'add', 'save', '-o', 'nowhere0'], { mayFail: true });
  t.match(absent.stderr, /nowhere0 is not attached; run ctnat attach nowhere0/);

  await nat.run(['track', 'flush']);
  const xdp = await nat.run(['attach', router.wan, '--mode', 'xdp'], { mayFail: true });
  if (xdp.status !== 0) return t.match(xdp.stderr, /mode xdp: XDP mode needs Linux 5\.13/);
  const late = await nat.run(['track', 'add', 'restore', '-i', router.wan], { mayFail: true });
  t.equal(late.status, 1);
  t.match(late.stderr, /rules for tracking while wan0 is in mode xdp/, 'nor is a rule added beside it');
  t.strictSame(await nat.json(['track', 'list']), []);
});
