// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Datagrams larger than the MTU cross the router in fragments; only the first has ports.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { scene, UDP_PORT } from '../helpers/scene.js';
import { checksumFaults } from '../helpers/wire/checksum.js';

for (const tx of [true, false]) {
  t.test(
    `a UDP datagram of 4000 bytes and its answer cross in fragments, checksum offload ${tx ? 'on' : 'off'}`,
    async (t) => {
      const { clients, server, router } = await scene(t);
      for (const { ns } of [...clients, server]) await ns.offload('eth0', { tx });
      const capture = await Capture.start(server.ns, 'eth0', `ip and src ${router.ipv4}`);
      const seen = [];
      for (const { peer, ipv4 } of clients) {
        const socket = await peer.udp(ipv4, 40_000);
        for (let i = 0; i < 3; i++)
          seen.push(await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(4_000, i)));
      }
      const packets = await capture.stopIp();

      t.equal(seen[0], `${router.ipv4} 40000`);
      t.notOk(seen.includes(undefined), 'every datagram came, and every answer');
      t.equal(new Set(seen).size, 2, 'each client kept its mapping');
      t.ok(
        packets.some((packet) => packet.fragmentOffset > 0),
        'they were fragments on the wire',
      );
      t.same(
        packets.flatMap((packet) => checksumFaults(packet)),
        [],
      );
    },
  );
}

t.test('a ping of 4000 bytes', async (t) => {
  const { clients, server } = await scene(t);
  for (const { ns } of clients) {
    const { stdout } = await ns.run([
      'ping',
      '-e',
      '5',
      '-s',
      '4000',
      '-c',
      '2',
      '-i',
      '0.2',
      '-W',
      '3',
      server.ipv4,
    ]);
    t.match(stdout, /2 received/);
  }
});

t.test('a datagram too large for the outside is fragmented, or its sender told', async (t) => {
  const { clients, server, router } = await scene(t);
  for (const ns of [router.ns, server.ns])
    await ns.ip('link', 'set', ns === router.ns ? router.wan : 'eth0', 'mtu', '1000');
  const client = clients[0]!;
  await client.ns.offload('eth0', { tx: false });
  const outside = await Capture.start(server.ns, 'eth0', `udp and src ${router.ipv4}`);
  const inside = await Capture.start(client.ns, 'eth0', 'icmp');
  // 0: IP_PMTUDISC_DONT, so that packets leave the client without DF
  await client.ns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 1 });
  const socket = await client.peer.udp(client.ipv4, 40_000);

  t.equal(
    await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(1_400, 1)),
    `${router.ipv4} 40000`,
    'RFC 4787 REQ-13a',
  );
  const packets = await outside.stopIp();
  t.strictSame(
    packets.map(({ fragmentOffset }) => fragmentOffset > 0),
    [false, true],
    'in order',
  );

  await client.ns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 0 });
  await client.ns.run(['ping', '-M', 'do', '-s', '1400', '-c', '1', '-W', '1', server.ipv4], {
    mayFail: true,
  });
  const [error] = (await inside.stopIp()).filter(({ type }) => type === 3);
  t.match(error, { dst: client.ipv4, type: 3, code: 4 }, 'RFC 4787 REQ-13');
  t.strictSame(checksumFaults(error!), []);
});
