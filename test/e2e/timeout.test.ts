// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The ends of flows. These tests wait for real time-outs: that they pass is what is tested.

import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { elapse } from '../helpers/wait.js';

/** A timeout in which a busy machine, too, manages to list a flow: starting a command may take it seconds. */
const TIMEOUT_S = 5;

/** Room for a tick of the datapath's clock and the rounding of whole seconds. */
const ROUNDING_MS = 1_200;

t.test(
  'invariant 6, expired is gone: a flow past its timeout does not match, and no sweep has run',
  async (t) => {
    const { clients, server, router, nat } = await scene(t, {
      timeouts: { udp: TIMEOUT_S, udpStream: TIMEOUT_S },
    });
    const [a, b] = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, 40_000)));
    t.equal(await a!.ask(server.ipv4, UDP_PORT), `${router.ipv4} 40000`);
    t.equal(flowsOf(await nat.flows(), 'udp').length, 1);

    await elapse(TIMEOUT_S * 1_000 + ROUNDING_MS);

    t.same(flowsOf(await nat.flows(), 'udp'), [], 'it is not listed');
    const late = await server.peer.udp(server.ipv4, 40_001);
    await late.send('late', router.ipv4, 40_000);
    t.equal(await a!.receive(400), undefined, 'nothing comes in through it');
    t.equal(
      await b!.ask(server.ipv4, UDP_PORT),
      `${router.ipv4} 40000`,
      "and its port is another client's to take",
    );
  },
);

t.test('traffic in either direction keeps a flow alive past its first timeout', async (t) => {
  const { clients, server, nat } = await scene(t, { timeouts: { udp: TIMEOUT_S, udpStream: TIMEOUT_S } });
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  const seen = await socket.ask(server.ipv4, UDP_PORT);
  for (let i = 0; i < 3; i++) {
    await elapse(2_500);
    t.equal(await socket.ask(server.ipv4, UDP_PORT), seen, 'the same mapping');
  }

  t.equal(flowsOf(await nat.flows(), 'udp').length, 1, 'and still one flow');
});

t.test('a ping flow goes after its timeout', async (t) => {
  const { clients, server, nat } = await scene(t, { timeouts: { icmp: TIMEOUT_S } });
  await clients[0]!.ns.run(['ping', '-e', '9', '-c', '1', '-W', '3', server.ipv4]);
  t.match(flowsOf(await nat.flows(), 'icmp'), [{ original: { src: clients[0]!.ipv4, id: 9, type: 8 } }]);

  await elapse(TIMEOUT_S * 1_000 + ROUNDING_MS);

  t.same(flowsOf(await nat.flows(), 'icmp'), []);
});

t.test('a TCP connection ends in TIME_WAIT, a reset one in CLOSE', async (t) => {
  const { clients, server, nat } = await scene(t);
  const target = { host: server.ipv4, port: TCP_PORT };
  const ended = await clients[0]!.peer.tcp({ ...target, localPort: 41_000 });
  const reset = await clients[0]!.peer.tcp({ ...target, localPort: 41_001 });
  const held = await clients[0]!.peer.tcp({ ...target, localPort: 41_002 });
  await held.echo('a line');
  const before = flowsOf(await nat.flows(), 'tcp');
  t.same(new Set(before.map((flow) => flow.state)), new Set(['ESTABLISHED']));
  await ended.close();
  await reset.close(true);

  const state = async (sport: number): Promise<string | undefined> =>
    flowsOf(await nat.flows(), 'tcp', { sport })[0]?.state;
  t.equal(await state(41_000), 'TIME_WAIT');
  t.ok([undefined, 'CLOSE'].includes(await state(41_001)));
  t.equal(await state(41_002), 'ESTABLISHED');
});

t.test('timeouts change by command while flows live: from the next packet on', async (t) => {
  const { clients, server, nat } = await scene(t);
  const ctnat = nat as Ctnat;
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  const seen = await socket.ask(server.ipv4, UDP_PORT);
  const left = async (): Promise<number> => flowsOf(await nat.flows(), 'udp')[0]!.timeout;
  t.ok((await left()) <= 120, 'the preset rfc');

  const set = await ctnat.json<{ udp: Record<string, number> }>([
    'timeouts',
    'set',
    'udp.timeout',
    '1000s',
    'udp.stream',
    '2000s',
  ]);
  t.same(set.udp, { timeout: 1000, stream: 2000 });
  t.ok((await left()) <= 120, 'the flow has what its last packet gave it');
  t.equal(await socket.ask(server.ipv4, UDP_PORT), seen, 'and goes on');
  t.ok((await left()) > 900, 'the next packet gives it the new one');

  await ctnat.run(['timeouts', 'set', '--preset', 'netfilter', 'tcp.established', '1h']);
  const { udp, tcp, sctp } = await ctnat.json<Record<string, Record<string, number>>>(['timeouts', 'list']);
  t.match(
    [udp, tcp, sctp],
    [{ timeout: 30, stream: 120 }, { established: 3600, syn_sent: 120 }, { established: 210 }],
  );
  t.match(
    (await ctnat.json<{ timeouts: object }>(['status'])).timeouts,
    { udp, tcp, sctp },
    'status says the same',
  );
});
