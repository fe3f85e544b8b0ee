// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 2: a flow is one entry, counted once, however many interfaces and hooks its packets cross.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { type Flow, flowsOf } from '../helpers/flow.js';
import { scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import type { IpPacket } from '../helpers/wire/packet.js';

const UDP_HEADERS = 28; // IPv4 and UDP

t.test(
  'invariant 2, once: a forwarded UDP flow counts what was sent, with every interface attached',
  async (t) => {
    const { clients, server, nat } = await scene(t);
    const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
    for (let i = 0; i < 17; i++) await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(100 + i));

    const flows = flowsOf(await nat.flows(), 'udp');
    const bytes = Array.from({ length: 17 }, (_, i) => 100 + i + UDP_HEADERS).reduce((a, b) => a + b);
    t.equal(flows.length, 1);
    t.match(flows[0], { original: { packets: 17, bytes }, reply: { packets: 17, bytes } });
  },
);

t.test('invariant 2, once: a flow between two inside ports is one entry, counted once', async (t) => {
  const { clients, nat } = await scene(t, { lan: 'ports' });
  const [a, b] = clients;
  await b!.peer.serve(b!.ipv4, { udp: UDP_PORT });
  const socket = await a!.peer.udp(a!.ipv4, 40_000);
  for (let i = 0; i < 5; i++) await socket.ask(b!.ipv4, UDP_PORT, Buffer.alloc(100));

  t.match(flowsOf(await nat.flows(), 'udp'), [
    { original: { packets: 5, bytes: 640 }, reply: { src: b!.ipv4, dst: a!.ipv4, packets: 5, bytes: 640 } },
  ]);
});

t.test("invariant 2, once: the router's own flow is one entry, counted once", async (t) => {
  const { router, server, nat } = await scene(t);
  const { Peer } = await import('../helpers/peer.js');
  const socket = await (await Peer.start(router.ns)).udp(router.ipv4, 40_000);
  for (let i = 0; i < 5; i++) await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(100));

  t.match(flowsOf(await nat.flows(), 'udp'), [
    { original: { src: router.ipv4, packets: 5, bytes: 640 }, reply: { packets: 5, bytes: 640 } },
  ]);
});

t.test('invariant 2, once: a TCP flow counts the packets that a capture sees', async (t) => {
  const { clients, server, nat } = await scene(t);
  const client = clients[0]!;
  // Without large segments a packet on the wire is a packet at every hook.
  for (const { ns } of [client, server]) await ns.offload('eth0', { gso: false, tso: false, gro: false });
  const capture = await Capture.start(client.ns, 'eth0', 'tcp');
  const connection = await client.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
  for (let i = 0; i < 10; i++) await connection.echo('x'.repeat(500 + i));
  await connection.close();
  const packets = await capture.stopIp();

  const count = (seen: IpPacket[]): { packets: number; bytes: number } => ({
    packets: seen.length,
    bytes: seen.reduce((bytes, packet) => bytes + packet.header.length + packet.payload.length, 0),
  });
  const flows: Flow[] = flowsOf(await nat.flows(), 'tcp');
  t.equal(flows.length, 1);
  t.match(flows[0]!.original, count(packets.filter(({ src }) => src === client.ipv4)));
  t.match(flows[0]!.reply, count(packets.filter(({ src }) => src === server.ipv4)));
});
