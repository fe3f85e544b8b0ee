// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a packet is to tracking: every packet has a class, and it is the one that Netfilter gives the same packet on
// the same router.

import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { inject } from '../helpers/inject.js';
import { CTNAT_ONLY } from '../helpers/nat.js';
import { scene, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';
import { ipv4Frame, tcp4 } from '../helpers/wire/craft.js';
import { FIN, RST, SYN } from '../helpers/wire/packet.js';

const STATES = ['NEW', 'ESTABLISHED', 'RELATED', 'INVALID', 'UNTRACKED'] as const;

interface ClassCount {
  class: string;
  direction: string;
  packets: number;
  bytes: number;
}

/** A counter for each class, of IP packets from elsewhere, where ctnat's ingress hooks have just been. */
const COUNT = `table inet classes {
  ${STATES.map((state) => `counter ${state} { }`).join('\n')}
  chain pre {
    type filter hook prerouting priority 0;
    iifname "lo" return
    ${STATES.map((state) => `ct state ${state.toLowerCase()} counter name ${state}`).join('\n')}
  }
}`;

t.test("packet classes are Netfilter's", { skip: CTNAT_ONLY }, async (t) => {
  const { clients, server, router, nat } = await scene(t, { lan: 'ports' });
  const ctnat = nat as Ctnat;
  const client = clients[0]!;
  await router.ns.run(['nft', '-f', '-'], { input: COUNT });
  const before = await ingress(ctnat);

  // NEW and ESTABLISHED: what is answered, and what is not
  const connection = await client.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
  for (const line of ['one', 'two', 'three']) t.equal(await connection.echo(line), line);
  await connection.close();
  const socket = await client.peer.udp(client.ipv4, 41_000);
  for (let i = 0; i < 4; i++) t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const silent = await server.peer.udp(server.ipv4, 9_999);
  for (let i = 0; i < 5; i++) await socket.send('no answer', server.ipv4, silent.port);
  for (let i = 0; i < 5; i++) t.ok(await silent.receive());
  await client.ns.run(['ping', '-c', '3', '-i', '0.2', server.ipv4]);
  // RELATED: nobody is at that port
  t.equal(await client.peer.call('udpRefused', client.ipv4, 42_000, server.ipv4, 9, 3_000), 'ECONNREFUSED');
  // INVALID: segments that begin nothing
  const ends = { src: client.ipv4, dst: server.ipv4, sport: 43_000, dport: 81 };
  const [from, to] = [await client.ns.mac('eth0'), await router.ns.mac(router.lan[0]!)];
  const frames = [RST, FIN, SYN | FIN, SYN | RST].map((flags) => ipv4Frame(from, to, tcp4(ends, flags)));
  await inject(client.ns, 'eth0', frames);

  // the last of them may still be on their way
  const packets = await until('the router has seen all of them', async () => {
    const found = await ingress(ctnat);
    return found.INVALID! - before.INVALID! >= frames.length && found;
  });
  const netfilter = await counters(router.ns);
  const ctnats = Object.fromEntries(STATES.map((state) => [state, packets[state]! - before[state]!]));
  for (const state of ['NEW', 'ESTABLISHED', 'RELATED', 'INVALID']) {
    t.equal(ctnats[state], netfilter[state], `${state} packets`);
    t.ok(ctnats[state]! > 0, `there were ${state} packets`);
  }

  const text = (await ctnat.run(['status'])).stdout;
  t.match(text, /^CLASS +PACKETS IN +BYTES IN +PACKETS OUT +BYTES OUT$/m);
  t.match(text, new RegExp(`^INVALID +${packets.INVALID} `, 'm'));
});

t.test('every packet has one class', { skip: CTNAT_ONLY }, async (t) => {
  const { clients, server, nat } = await scene(t);
  const ctnat = nat as Ctnat;
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 41_000);
  for (let i = 0; i < 4; i++) t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const sum = (rows: { packets: number }[]) => rows.reduce((total, { packets }) => total + packets, 0);
  // nobody sends but neighbour discovery: two looks that agree are of one moment
  const [reasons, classes] = await until('a moment without a packet', async () => {
    const first = sum(await ctnat.metrics());
    const { classes } = await ctnat.json<{ classes: ClassCount[] }>(['status']);
    return sum(await ctnat.metrics()) === first && ([first, classes] as const);
  });
  t.equal(sum(classes), reasons);
  for (const { packets } of classes) t.ok(packets >= 0);
});

async function ingress(ctnat: Ctnat): Promise<Record<string, number>> {
  const { classes } = await ctnat.json<{ classes: ClassCount[] }>(['status']);
  const rows = classes.filter(({ direction }) => direction === 'ingress');
  return Object.fromEntries(rows.map((each) => [each.class, each.packets]));
}

async function counters(ns: Ctnat['topology']['router']['ns']): Promise<Record<string, number>> {
  const { stdout } = await ns.run(['nft', '-j', 'list', 'counters']);
  const { nftables } = JSON.parse(stdout) as { nftables: { counter?: { name: string; packets: number } }[] };
  return Object.fromEntries(
    nftables.flatMap(({ counter }) => (counter ? [[counter.name, counter.packets]] : [])),
  );
}
