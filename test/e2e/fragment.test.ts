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
