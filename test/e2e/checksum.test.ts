// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 10: checksums are right on every packet that leaves. A veth carries packets whose checksum is
// not computed yet; where it must compute them (tx off), a capture behind it sees what a real wire would.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { inject } from '../helpers/inject.js';
import { NAT_KIND } from '../helpers/nat.js';
import { HTTP_PORT, type Scene, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { addressBytes, checksumFaults, pseudoHeaderSum, sum } from '../helpers/wire/checksum.js';
import { type Ends, frame, ipv4Frame, udp4, udp6 } from '../helpers/wire/craft.js';
import { ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, TCP, UDP } from '../helpers/wire/packet.js';

type Family = 'ipv4' | 'ipv6';

/** nftables masquerades IPv4 alone here. */
const FAMILIES: Family[] = NAT_KIND === 'ctnat' ? ['ipv4', 'ipv6'] : ['ipv4'];

/** Sends some of everything through the router, both ways. */
async function traffic({ clients, server }: Scene, family: Family): Promise<void> {
  const to = server[family];
  const host = family === 'ipv6' ? `[${to}]` : to;
  for (const { peer, ns, [family]: from } of clients) {
    const socket = await peer.udp(from, 40_000);
    for (const size of [1, 2, 101, 1000]) await socket.ask(to, UDP_PORT, Buffer.alloc(size, 0x5a));
    const connection = await peer.tcp({ host: to, port: TCP_PORT, localPort: 40_000 });
    for (const size of [1, 2, 101, 1000]) await connection.echo('y'.repeat(size));
    await connection.close();
    await ns.run(['curl', '-sS', '-o', '/dev/null', `http://${host}:${HTTP_PORT}/download/300000`]);
    await ns.run(['ping', '-e', '7', '-c', '2', '-i', '0.2', '-s', '57', to]);
  }
}

for (const [where, resolve] of [
  // Packets reach the router with the checksum still to be computed; its own interfaces compute it.
  [
    'left to the router',
    ({ router }: Scene) => [[router.ns, router.wan], ...[0, 1].map((i) => [router.ns, `port${i}`])],
  ],
  // Packets reach the router with the whole checksum.
  [
    'computed by the sender',
    ({ clients, server }: Scene) => [...clients, server].map(({ ns }) => [ns, 'eth0']),
  ],
] as const) {
  t.test(`invariant 10, checksums: right on both wires when they are ${where}`, async (t) => {
    const network = await scene(t, { ipv6: true });
    const { clients, server } = network;
    await server.peer.serve(server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT, http: HTTP_PORT });
    for (const [ns, iface] of resolve(network) as [typeof server.ns, string][]) {
      await ns.offload(iface, { tx: false });
    }
    // In XDP mode hosts merge what they receive (GRO) before a capture sees it, and what is merged holds the sum of
    // the pseudo header alone. Nobody sends to the clients past their bridge, so these can do without.
    for (const { ns } of clients) await ns.offload('eth0', { gro: false });
    for (const family of FAMILIES) {
      const outside = await Capture.start(server.ns, 'eth0', `dst host ${server[family]}`);
      const inside = await Capture.start(clients[0]!.ns, 'eth0', `dst host ${clients[0]![family]}`);
      await traffic(network, family);

      for (const [name, capture] of [
        [`${family} outside`, outside],
        [`${family} inside`, inside],
      ] as const) {
        const packets = await capture.stopIp();
        for (const protocol of [TCP, UDP, family === 'ipv6' ? ICMPV6 : ICMP]) {
          t.ok(
            packets.filter((packet) => packet.protocol === protocol).length >= 2,
            `${name} saw protocol ${protocol}`,
          );
        }
        t.same(
          packets.flatMap((packet) => checksumFaults(packet)),
          [],
          `${name}: all are right`,
        );
      }
    }
  });
}

t.test('invariant 10, checksums: a UDP checksum of 0 stays 0, both ways', async (t) => {
  const { clients, server, router } = await scene(t);
  const client = clients[0]!;
  const outside = await Capture.start(server.ns, 'eth0', 'udp');
  const inside = await Capture.start(client.ns, 'eth0', 'udp');
  const out = udp4({ src: client.ipv4, dst: server.ipv4, sport: 40_000, dport: 9_999 }, Buffer.from('out'), {
    checksum: 0,
  });
  await inject(client.ns, 'eth0', [
    ipv4Frame(await client.ns.mac('eth0'), await router.ns.mac(router.lan[0]!), out),
  ]);
  const back = udp4(
    { src: server.ipv4, dst: router.ipv4, sport: 9_999, dport: 40_000 },
    Buffer.from('back'),
    { checksum: 0 },
  );
  await server.ns.run(['ping', '-c', '1', router.ipv4]); // the router is in the server's neighbour table
  await inject(server.ns, 'eth0', [
    ipv4Frame(await server.ns.mac('eth0'), await router.ns.mac(router.wan), back),
  ]);

  const translated = (await outside.stopIp()).find((packet) => packet.dport === 9_999);
  t.equal(translated?.src, router.ipv4);
  t.equal(translated?.payload.readUInt16BE(6), 0);
  const answer = (await inside.stopIp()).find((packet) => packet.sport === 9_999);
  t.equal(answer?.dst, client.ipv4);
  t.equal(answer?.payload.readUInt16BE(6), 0);
});

t.test('invariant 10, checksums: one that comes out as 0 is sent as 0xffff (RFC 768)', async (t) => {
  const { clients, server, router } = await scene(t);
  const client = clients[0]!;
  await client.ns.offload('eth0', { tx: false });
  // The two bytes of data that make the translated datagram's checksum 0.
  const datagram = Buffer.alloc(10);
  datagram.writeUInt16BE(40_000, 0);
  datagram.writeUInt16BE(UDP_PORT, 2);
  datagram.writeUInt16BE(10, 4);
  const pseudo = pseudoHeaderSum(addressBytes(router.ipv4), addressBytes(server.ipv4), UDP, 10);
  datagram.writeUInt16BE(~sum(datagram, pseudo) & 0xffff, 8);
  const capture = await Capture.start(server.ns, 'eth0', `udp and src ${router.ipv4}`);
  const seen = await (await client.peer.udp(client.ipv4, 40_000)).ask(
    server.ipv4,
    UDP_PORT,
    datagram.subarray(8),
  );

  t.equal(seen, `${router.ipv4} 40000`, 'the server takes it');
  t.equal((await capture.stopIp())[0]?.payload.readUInt16BE(6), 0xffff);
});

/** What a tunnel carries: 8 bytes of its own header, and a datagram between these. */
const TUNNELLED: Ends = { src: '172.16.0.1', dst: '172.16.0.2', sport: 1111, dport: 2222 };
const TUNNEL_PORT = 4789;

/**
 * A tunnel's packet whose inner sum is left to the device: its field holds the sum of the pseudo header. The outer sum is
 * complete, made with what the inner one will be (LCO, the kernel's segmentation-offloads.rst).
 */
function tunnelled(family: Family, ends: Ends): { packet: Buffer; inner: number } {
  const data = Buffer.concat([Buffer.alloc(8, 0x08), udp4(TUNNELLED, Buffer.from('carried')).subarray(20)]);
  const packet = family === 'ipv6' ? udp6(ends, data) : udp4(ends, data);
  const inner = (family === 'ipv6' ? 40 : 20) + 8 + 8;
  packet.writeUInt16BE(innerPseudo(packet.length - inner), inner + 6);
  return { packet, inner };
}

function innerPseudo(length: number): number {
  return pseudoHeaderSum(addressBytes(TUNNELLED.src), addressBytes(TUNNELLED.dst), UDP, length);
}

const skip = NAT_KIND === 'ctnat' ? false : 'Netfilter takes the inner sum for the outer one';
for (const family of FAMILIES) {
  t.test(
    `invariant 10, checksums: a tunnel's inner one that is left to the device, ${family}`,
    { skip },
    async (t) => {
      const { clients, server, router } = await scene(t, { ipv6: true });
      const client = clients[0]!;
      const { [family]: outside } = router;
      await router.ns.offload(router.wan, { tx: false });
      for (const port of ['port0', 'port1']) await router.ns.offload(port, { tx: false });
      const wires = {
        out: await Capture.start(server.ns, 'eth0', `udp dst port ${TUNNEL_PORT}`),
        back: await Capture.start(client.ns, 'eth0', `udp src port ${TUNNEL_PORT}`),
      };
      const send = async ({ ns }: typeof client, to: string, ends: Ends): Promise<void> => {
        await ns.run(['ping', '-c', '1', ends.dst]); // both know their neighbours
        const { packet, inner } = tunnelled(family, ends);
        const whole = frame(await ns.mac('eth0'), to, family === 'ipv6' ? ETH_IPV6 : ETH_IPV4, packet);
        await inject(ns, 'eth0', [whole], { start: 14 + inner, offset: 6 });
      };
      const [near, far] = [client[family], server[family]];
      const [lan, wan] = await Promise.all([router.lan[0]!, router.wan].map((name) => router.ns.mac(name)));
      const query = { src: near, dst: far, sport: 40_000, dport: TUNNEL_PORT };
      await send(client, lan!, query);
      await send(server, wan!, { src: far, dst: outside, sport: TUNNEL_PORT, dport: 40_000 });
      await send(client, lan!, query); // of an established flow
      for (const [name, capture, count, src, dst] of [
        ['out', wires.out, 2, outside, far],
        ['back', wires.back, 1, far, near],
      ] as const) {
        const packets = await capture.stopIp();
        t.same(
          packets.map((packet) => [packet.src, packet.dst].map(addressBytes)),
          Array.from({ length: count }, () => [src, dst].map(addressBytes)),
          `${name}: translated`,
        );
        t.same(
          packets.flatMap((packet) => checksumFaults(packet)),
          [],
          `${name}: the outer sum is right`,
        );
        t.same(
          packets.map(({ payload }) => sum(payload.subarray(16), innerPseudo(payload.length - 16))),
          packets.map(() => 0xffff),
          `${name}: and the inner one`,
        );
      }
    },
  );
}
