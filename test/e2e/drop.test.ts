// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 9: every packet that the router does not pass on is counted under a name.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import { inject } from '../helpers/inject.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { network, type SceneHost, UDP_PORT } from '../helpers/scene.js';
import type { Router } from '../helpers/topology.js';
import { ipv4, ipv4Frame, tcp4, udp4 } from '../helpers/wire/craft.js';
import { FIN, ICMP, RST, SYN, TCP, UDP } from '../helpers/wire/packet.js';

const only = { skip: CTNAT_ONLY };

/** Sends IPv4 packets from a client to the router. */
async function send(client: SceneHost, router: Router, packets: Buffer[]): Promise<void> {
  const [from, to] = [await client.ns.mac('eth0'), await router.ns.mac(router.lan[0]!)];
  await inject(
    client.ns,
    'eth0',
    packets.map((packet) => ipv4Frame(from, to, packet)),
  );
}

/** What was counted as dropped while `action` ran, by reason. */
async function dropsDuring(ctnat: Ctnat, action: () => Promise<unknown>): Promise<Record<string, number>> {
  const before = await ctnat.drops();
  await action();
  const after = await ctnat.drops();
  const changed = [...after].map(([reason, count]) => [reason, count - (before.get(reason) ?? 0)] as const);
  return Object.fromEntries(changed.filter(([, count]) => count !== 0));
}

t.test('invariant 9, every drop has a name: segments that no flow may begin with', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const ends = { src: clients[0]!.ipv4, dst: server.ipv4, sport: 41_000, dport: 81 };
  const drops = await dropsDuring(ctnat, () =>
    send(clients[0]!, router, [tcp4(ends, RST), tcp4(ends, SYN | FIN), tcp4(ends, 0)]),
  );

  t.same(drops, { drop_invalid: 3 });
});

t.test('invariant 9, every drop has a name: no port left', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  await ctnat.snat('10.0.0.0/24', router.ipv4, [20_000, 20_000]);
  const sockets = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, 40_000)));
  t.equal(await sockets[0]!.ask(server.ipv4, UDP_PORT), `${router.ipv4} 20000`);
  const drops = await dropsDuring(ctnat, async () => {
    t.equal(await sockets[1]!.askInVain(server.ipv4, UDP_PORT), undefined);
  });

  t.same(drops, { drop_no_port: 1 });
});

t.test('invariant 9, every drop has a name: headers that lie about their length', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const ends = { src: clients[0]!.ipv4, dst: server.ipv4 };
  const drops = await dropsDuring(ctnat, () =>
    send(clients[0]!, router, [
      ipv4(ends, TCP, Buffer.alloc(12)),
      ipv4(ends, UDP, Buffer.alloc(4)),
      ipv4(ends, ICMP, Buffer.from([8, 0])),
    ]),
  );

  t.same(drops, { drop_truncated: 3 });
});

t.test('invariant 9, every drop has a name: a later fragment without its first', only, async (t) => {
  const { topology, clients, server, router } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const ends = { src: clients[0]!.ipv4, dst: server.ipv4 };
  const drops = await dropsDuring(ctnat, () =>
    send(clients[0]!, router, [ipv4(ends, UDP, Buffer.alloc(64), { id: 3, fragment: 50 })]),
  );

  t.same(drops, { drop_fragment: 1 });
});

t.test(
  'invariant 9, every drop has a name: what came in and did not go out is what was counted',
  only,
  async (t) => {
    const { topology, clients, server, router } = await network(t);
    const ctnat = ctnatFor(topology);
    await ctnat.start();
    await server.ns.sysctl({ 'net.ipv4.icmp_ratelimit': 0 });
    const client = clients[0]!;
    const outside = await Capture.start(server.ns, 'eth0', `ip and src ${router.ipv4}`);
    const packets = Array.from({ length: 300 }, (_, i) => {
      const ends = { src: client.ipv4, dst: server.ipv4, sport: 1_024 + i, dport: 81 };
      if (i % 3 === 0) return udp4(ends, Buffer.from('fine'));
      if (i % 3 === 1) return tcp4(ends, i % 63);
      return ipv4(ends, UDP, Buffer.alloc(i % 12), { id: i });
    });
    const drops = await dropsDuring(ctnat, () => send(client, router, packets));

    const left = (await outside.stopIp()).length;
    const dropped = Object.values(drops).reduce((a, b) => a + b, 0);
    t.ok(left > 0 && dropped > 0);
    t.equal(left + dropped, packets.length);
  },
);
