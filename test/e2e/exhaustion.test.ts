// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// No outside port is left: the sender is told so (RFC 5508 REQ-8), who has one keeps it (RFC 6888 REQ-11), and
// the refusals are counted by what they were for.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { slowly } from '../helpers/wait.js';
import { checksumFaults } from '../helpers/wire/checksum.js';
import { quotedPacket } from '../helpers/wire/packet.js';

interface Refusal {
  family: string;
  proto: string;
  external: string;
  remote: { address: string; port: number };
  packets: number;
}

for (const family of ['ipv4', 'ipv6'] as const) {
  t.test(`${family}: with every port in use a sender is told, and others go on`, async (t) => {
    const { topology, clients, server, router } = await network(t, { lan: 'ports' });
    const nat = ctnatFor(topology);
    await nat.run(['attach', ...router.lan]);
    await nat.run(['attach', 'wan0', '--masquerade=all', '--ports', '5000-5001']);
    const [first, second] = clients;
    // with offload a SYN's checksum is filled in behind the hooks: where it stood there must be none
    for (const name of router.lan) await router.ns.offload(name, { tx: false });
    const address = server[family];
    if (family === 'ipv6') await server.peer.serve(address, { udp: UDP_PORT, tcp: TCP_PORT });

    const a = await first!.peer.udp(first![family]);
    const b = await first!.peer.udp(first![family]);
    t.match(await a.ask(address, UDP_PORT), new RegExp(`^${router[family]} 500[01]$`));
    t.match(await b.ask(address, UDP_PORT), new RegExp(`^${router[family]} 500[01]$`));
    const capture = await Capture.start(second!.ns, 'eth0', 'icmp or icmp6');
    const asked = [second![family], 40_000, address, UDP_PORT] as const;
    const error = await second!.peer.call('udpRefused', ...asked, slowly(3_000));

    t.equal(error, family === 'ipv4' ? 'EHOSTUNREACH' : 'EACCES', 'UDP: told at once');
    const one = await first!.peer.tcp({ host: address, port: TCP_PORT, localAddress: first![family] });
    const two = await first!.peer.tcp({ host: address, port: TCP_PORT, localAddress: first![family] });
    await t.rejects(
      second!.peer.tcp({ host: address, port: TCP_PORT, localAddress: second![family] }),
      family === 'ipv4' ? /EHOSTUNREACH/ : /EACCES/,
      'TCP: told at once',
    );
    const errors = (await capture.stopIp()).filter(({ type }) => type === (family === 'ipv4' ? 3 : 1));
    t.ok(errors.length >= 2);
    for (const packet of errors) {
      t.match(packet, { dst: second![family], code: family === 'ipv4' ? 13 : 1 });
      t.match(quotedPacket(packet), { src: second![family], dst: address });
      t.strictSame(checksumFaults(packet), []);
    }
    if (family === 'ipv4') t.equal(errors[0]!.src, router.lanIpv4[1], "the router's address on that side");

    t.equal(await one.echo('still'), 'still', 'connections that were there go on');
    t.equal(await two.echo('here'), 'here');
    t.ok(await a.ask(address, UDP_PORT));
    const { refusals } = await nat.json<{ refusals: Refusal[] }>(['status']);
    for (const [proto, port] of [
      ['udp', UDP_PORT],
      ['tcp', TCP_PORT],
    ] as const) {
      const found = refusals.find((each) => each.proto === proto);
      t.match(found, { family, external: router[family], remote: { address, port } });
      t.ok(found!.packets >= 1);
    }
    const { stdout } = await nat.run(['status']);
    t.match(stdout, new RegExp(`NO PORT FOR[^]*udp +\\S+ +\\S+:${UDP_PORT} `));
  });
}
