// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP errors reach the inside host whose packet they are about (RFC 5508 section 4): traceroute, path MTU
// discovery and refused ports depend on them.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { HTTP_PORT, scene } from '../helpers/scene.js';
import { HOP_IPV4 } from '../helpers/topology.js';
import { slowly } from '../helpers/wait.js';
import { checksumFaults } from '../helpers/wire/checksum.js';
import { isIcmpError, quotedPacket } from '../helpers/wire/packet.js';

for (const [method, flag] of [
  ['UDP', '-U'],
  ['ICMP', '-I'],
  ['TCP', '-T'],
] as const) {
  t.test(`traceroute by ${method} shows every hop`, async (t) => {
    const { clients, servers, router } = await scene(t, { hop: true });
    const argv = ['traceroute', '-n', flag, '-q', '1', '-w', '2', '-m', '4', servers[0]!.ipv4];
    const { stdout } = await clients[0]!.ns.run(argv);
    const hops = [...stdout.matchAll(/^ *\d+ +(\S+)/gm)].map((match) => match[1]);

    t.same(hops, [router.lanIpv4[0], HOP_IPV4, servers[0]!.ipv4]);
  });
}

t.test('path MTU discovery through the router: an upload with DF learns the smaller MTU', async (t) => {
  const { clients, servers } = await scene(t, { hop: true, hopMtu: 1300 });
  const client = clients[0]!;
  await client.ns.offload('eth0', { tx: false });
  const capture = await Capture.start(client.ns, 'eth0', 'icmp');
  const url = `http://${servers[0]!.ipv4}:${HTTP_PORT}/upload`;
  const input = Buffer.alloc(1_000_000, 'u');
  const { stdout } = await client.ns.run(['curl', '-sS', '--fail', '--max-time', '20', '-T', '-', url], {
    input,
  });

  t.match(stdout, /^1000000 /);
  t.match(await client.ns.ip('route', 'get', servers[0]!.ipv4), /mtu 1300/, 'the client has learnt it');
  const errors = (await capture.stopIp()).filter(isIcmpError);
  t.ok(errors.length > 0);
  for (const error of errors) {
    t.match(error, { src: HOP_IPV4, dst: client.ipv4, type: 3, code: 4 });
    t.match(quotedPacket(error), { src: client.ipv4, dst: servers[0]!.ipv4, dport: HTTP_PORT });
    t.same(checksumFaults(error), []);
  }
});

t.test('a refused UDP port is told to the client that asked, also when its port was changed', async (t) => {
  const { clients, server } = await scene(t);
  for (const client of clients) await client.ns.offload('eth0', { tx: false });
  const outside = await Capture.start(server.ns, 'eth0', 'icmp');
  for (const client of clients) {
    const inside = await Capture.start(client.ns, 'eth0', 'icmp');
    const error = await client.peer.call('udpRefused', client.ipv4, 40_000, server.ipv4, 9, slowly(3_000));

    t.equal(error, 'ECONNREFUSED');
    const [packet] = await inside.stopIp();
    t.match(quotedPacket(packet!), { src: client.ipv4, sport: 40_000, dst: server.ipv4, dport: 9 });
    t.same(checksumFaults(packet!), []);
  }
  t.equal((await outside.stopIp()).length, 2);
});

t.test("an inside host's error about an answer goes out translated", async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const inside = clients[0]!;
  await inside.ns.offload('eth0', { tx: false });
  await nat.forward({ proto: 'udp', port: 53, to: inside.ipv4, toPort: 9 });
  const capture = await Capture.start(server.ns, 'eth0', 'icmp');
  const error = await server.peer.call('udpRefused', server.ipv4, 30_000, router.ipv4, 53, slowly(3_000));

  t.equal(error, 'ECONNREFUSED');
  const [packet] = await capture.stopIp();
  t.equal(packet?.src, router.ipv4);
  t.match(quotedPacket(packet!), { src: server.ipv4, sport: 30_000, dst: router.ipv4, dport: 53 });
});
