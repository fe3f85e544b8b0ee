// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 3: a packet of a translated network never leaves untranslated, whatever is thrown at the router.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { inject } from '../helpers/inject.js';
import { HTTP_PORT, scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { ipv4, ipv4Frame, tcp4, udp4 } from '../helpers/wire/craft.js';
import { ACK, FIN, ICMP, type IpPacket, PSH, quotedPacket, RST, SYN, UDP } from '../helpers/wire/packet.js';

const inside = (address: string): boolean => address.startsWith('10.') || address.startsWith('fd00:');

const CUT_SHORT = ['curl', '-sS', '--max-time', '0.3', '--limit-rate', '20M', '-o', '/dev/null'];

/** Addresses of inside hosts that a packet shows, those that it quotes included. */
function insideAddresses(packet: IpPacket): string[] {
  const quoted = quotedPacket(packet);
  return [packet.src, packet.dst, ...(quoted ? [quoted.src, quoted.dst] : [])].filter(inside);
}

t.test(
  'invariant 3, no leak: no inside address on the outside wire, whatever state a segment is in',
  async (t) => {
    const { clients, server, router } = await scene(t);
    const client = clients[0]!;
    const capture = await Capture.start(server.ns, 'eth0', 'ip', 128);
    const [clientMac, routerMac] = [await client.ns.mac('eth0'), await router.ns.mac(router.lan[0]!)];
    const segment = (sport: number, dport: number, flags: number, data = ''): Buffer =>
      ipv4Frame(
        clientMac,
        routerMac,
        tcp4({ src: client.ipv4, dst: server.ipv4, sport, dport }, flags, {
          seq: 77,
          ack: 99,
          data: Buffer.from(data),
        }),
      );
    const states = [RST, FIN, ACK, FIN | ACK, RST | ACK, SYN | ACK, PSH | ACK, 0, SYN | FIN, SYN | RST, 0x3f];

    // 1. A flow that lives and ends in order; its port is hit again before, during and after.
    const connection = await client.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
    await inject(
      client.ns,
      'eth0',
      states.map((flags) => segment(40_000, TCP_PORT, flags, 'data')),
    );
    await connection.close(true);
    await inject(
      client.ns,
      'eth0',
      states.map((flags) => segment(40_000, TCP_PORT, flags, 'data')),
    );
    // 2. Flows that never were.
    await inject(
      client.ns,
      'eth0',
      states.flatMap((flags, i) => [segment(41_000 + i, 81, flags), segment(0, 81, flags)]),
    );
    // 3. What has no ports: another protocol's fragments, unanswered ICMP, a datagram without checksum.
    const ends = { src: client.ipv4, dst: server.ipv4, sport: 42_000, dport: 82 };
    const raw = (packet: Buffer): Buffer => ipv4Frame(clientMac, routerMac, packet);
    await inject(client.ns, 'eth0', [
      raw(udp4(ends, Buffer.from('no checksum'), { checksum: 0 })),
      raw(ipv4(ends, UDP, Buffer.alloc(64), { id: 5, fragment: 100 })),
      raw(ipv4(ends, ICMP, Buffer.from('0000ffff00010001', 'hex'))), // echo reply nobody asked for
      raw(
        ipv4(
          ends,
          ICMP,
          Buffer.concat([Buffer.from('0301fcfe00000000', 'hex'), udp4(ends, Buffer.alloc(8))]),
        ),
      ),
    ]);
    // 4. Connections that are cut in the middle.
    await Promise.all(
      clients.map(({ ns }) =>
        ns.run([...CUT_SHORT, `http://${server.ipv4}:${HTTP_PORT}/download/2000000000`], { mayFail: true }),
      ),
    );
    const packets = await capture.stopIp();

    t.ok(
      packets.some((packet) => packet.src === router.ipv4),
      'the capture saw translated packets',
    );
    const leaked = packets.filter((packet) => insideAddresses(packet).length > 0);
    t.same(leaked.map(describe), [], 'and none that shows an inside address');
  },
);

t.test('invariant 3, no leak: connections killed by the hundred', async (t) => {
  const { clients, server } = await scene(t);
  const capture = await Capture.start(server.ns, 'eth0', 'net 10.0.0.0/8');
  for (let round = 0; round < 3; round++) {
    for (const { peer } of clients) {
      const open = await Promise.all(
        Array.from({ length: 30 }, (_, i) =>
          peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 50_000 + i }),
        ),
      );
      await Promise.all(open.map((connection) => connection.close(true)));
    }
  }

  t.same((await capture.stopIp()).map(describe), []);
});

t.test('a UDP flow and its late answers stay translated after the inside socket is gone', async (t) => {
  const { clients, server } = await scene(t);
  const client = clients[0]!;
  const socket = await client.peer.udp(client.ipv4, 40_000);
  t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const capture = await Capture.start(server.ns, 'eth0', 'ip');
  // The answer finds no socket: the client sends an ICMP error that quotes its own address.
  await socket.send(`@${server.ipv4} ${UDP_PORT + 1}\n`, server.ipv4, UDP_PORT);
  await socket.send('hello', server.ipv4, UDP_PORT);
  await socket.close();
  await server.ns.run(['ping', '-c', '1', '-W', '1', '198.51.100.1']);

  const leaked = (await capture.stopIp()).filter((packet) => insideAddresses(packet).length > 0);
  t.same(leaked.map(describe), []);
});

function describe(packet: IpPacket): string {
  const { src, dst, protocol, sport, dport, flags, type } = packet;
  return `${src} > ${dst} protocol ${protocol} ports ${sport} > ${dport} flags ${flags?.toString(16)} type ${type}`;
}
