// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What both ways past the stack have to do alike, TC with redirect and XDP mode; and both at once, where a packet that
// XDP leaves alone may still be redirected at TC.

import { feature } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Flow } from '../helpers/flow.js';
import { forwardedBy } from '../helpers/forwarded.js';
import { inject } from '../helpers/inject.js';
import { type CtnatScene, FAMILIES, type Family, PORT } from '../helpers/live-flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import type { UdpSocket } from '../helpers/peer.js';
import { network, UDP_PORT } from '../helpers/scene.js';
import { slowly, until } from '../helpers/wait.js';
import { frame, udp4, udp6 } from '../helpers/wire/craft.js';
import { ETH_IPV4, ETH_IPV6, ICMP, ICMPV6, UDP } from '../helpers/wire/packet.js';

const WAYS = {
  redirect: ['--mode', 'tc', '--redirect'],
  xdp: ['--mode', 'xdp'],
  both: ['--mode', 'xdp', '--redirect'],
} as const;
type Way = keyof typeof WAYS;

const noXdp = !feature('coarse-clock').available && 'XDP mode needs Linux 5.13';
const only = (way: Way) => ({ skip: CTNAT_ONLY || (way !== 'redirect' && noXdp) });

/** One client on a port of its own and one server. `fill`: they fill in the checksums of what they send. */
async function gateway(t: Test, way: Way, fill: boolean): Promise<CtnatScene> {
  const base = await network(t, { clients: 1, lan: 'ports' });
  for (const { ns } of [...base.clients, base.server])
    await ns.offload('eth0', { gro: true, ...(fill && { tx: false }) });
  await base.server.peer.serve(base.server.ipv6, { udp: UDP_PORT });
  const ctnat = ctnatFor(base.topology);
  const options = { limitMs: slowly(90_000) };
  await ctnat.run(['attach', ...base.router.lan, ...WAYS[way]], options);
  await ctnat.run(['attach', base.router.wan, '--masquerade=all', ...WAYS[way]], options);
  return { ...base, ctnat };
}

/** The socket of a flow that goes past the stack: none of its last questions was forwarded by it. */
async function settled(
  { clients, server, router }: CtnatScene,
  family: Family,
  port = PORT,
): Promise<UdpSocket> {
  const socket = await clients[0]!.peer.udp(clients[0]![family], port);
  await until('the flow goes past the stack', async () => {
    const before = await forwardedBy(router.ns, family);
    for (let i = 0; i < 5; i++)
      if (!(await socket.ask(server[family], UDP_PORT))) throw new Error('a question was lost');
    return (await forwardedBy(router.ns, family)) === before;
  });
  return socket;
}

interface Unusual {
  sport?: number;
  ttl?: number;
  checksum?: 0;
}

/** Sends questions of the client's flow as a raw socket does, whose checksums are complete. */
async function ask(
  { clients, server, router }: CtnatScene,
  family: Family,
  questions: readonly Unusual[],
): Promise<void> {
  const { ns, [family]: src } = clients[0]!;
  const ends = { src, dst: server[family], dport: UDP_PORT };
  const [from, to] = [await ns.mac('eth0'), await router.ns.mac(router.lan[0]!)];
  const type = family === 'ipv4' ? ETH_IPV4 : ETH_IPV6;
  const make = family === 'ipv4' ? udp4 : udp6;
  const frames = questions.map(({ sport = PORT, ...each }) =>
    frame(from, to, type, make({ ...ends, sport }, Buffer.from('question'), each)),
  );
  await inject(ns, 'eth0', frames);
}

for (const way of ['redirect', 'xdp'] as const)
  t.test(`${way}: the last hop is told of; a UDP checksum of 0 stays 0`, only(way), async (t) => {
    const scene = await gateway(t, way, true);
    const { clients, server, router } = scene;
    for (const family of FAMILIES) {
      const socket = await settled(scene, family);
      const far = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
      const near = await Capture.start(clients[0]!.ns, 'eth0', 'icmp or icmp6');
      await ask(scene, family, [{ ttl: 2 }, { ttl: 1 }]);
      const [arrived, ...others] = await far.stopIp();

      t.match(arrived, { src: router[family], ttl: 1 }, `${family}: two hops are enough`);
      t.same(others, [], 'one is not');
      const exceeded = family === 'ipv4' ? { protocol: ICMP, type: 11 } : { protocol: ICMPV6, type: 3 };
      const errors = (await near.stopIp()).filter(({ type }) => type === exceeded.type);
      t.match(errors, [{ ...exceeded, code: 0 }]);
      t.ok(await socket.receive(), 'the other one is answered');

      const before = await forwardedBy(router.ns, family);
      const silent = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
      await ask(scene, family, [{ checksum: 0 }, { checksum: 0 }, { checksum: 0 }]);
      const seen = await silent.stopIp();
      t.equal(seen.length, 3);
      for (const packet of seen) {
        t.match(packet, { src: router[family], sport: PORT, ttl: 63 });
        t.equal(packet.payload.readUInt16BE(6), 0, `${family}: no checksum`);
        t.equal(packet.payload.subarray(8).toString(), 'question');
      }
      const byStack = (await forwardedBy(router.ns, family)) - before;
      t.ok(byStack < 3, `${byStack} of 6 went by the stack, by which neighbours are kept`);
    }
  });

for (const way of ['redirect', 'xdp'] as const)
  t.test(
    `${way}: a rule by port that comes while the agent vouches for shared ways`,
    only(way),
    async (t) => {
      const scene = await gateway(t, way, true);
      const { server, router, ctnat } = scene;
      await router.ns.start(ctnat.argv(['run'])).printed(/running for/);
      const ports = [PORT, PORT + 1];
      for (const family of FAMILIES) {
        for (const port of ports) await settled(scene, family, port);
        /** How many questions of each flow arrive, of ten that take turns at once. */
        const arrive = async (): Promise<number[]> => {
          const far = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
          const questions = Array.from({ length: 10 }, () => ports.map((sport) => ({ sport })));
          await ask(scene, family, questions.flat());
          const seen = await far.stopIp();
          return ports.map((port) => seen.filter(({ sport }) => sport === port).length);
        };
        t.same(await arrive(), [10, 10], `${family}: both go`);
        const rule = ['ipproto', 'udp', 'sport', String(PORT + 1), 'prohibit'];
        const ip = (verb: string) => router.ns.ip(`-${family.at(-1)!}`, 'rule', verb, ...rule);
        await ip('add');
        await until(`${family}: the rule holds`, async () => (await arrive())[1] === 0);
        t.same(await arrive(), [10, 0], `${family}: the other flow goes on`);
        await ip('delete');
        await until(`${family}: both go again`, async () => (await arrive())[1] === 10);
      }
    },
  );

t.test("both: one flow's packets take turns between XDP and TC", only('both'), async (t) => {
  const scene = await gateway(t, 'both', false);
  const { server, router, ctnat } = scene;
  for (const family of FAMILIES) {
    const socket = await settled(scene, family);
    const own = server[family];
    const count = async (): Promise<number> => {
      const found = await ctnat.json<Flow[]>(['bpf', 'ct', 'list', 'global', '-p', 'udp']);
      const [flow, ...others] = found.filter(
        ({ original }) => original.dst.includes(':') === own.includes(':'),
      );
      t.same(others, []);
      return flow!.original.packets;
    };
    const [counted, stack] = [await count(), await forwardedBy(router.ns, family)];
    const far = await Capture.start(server.ns, 'eth0', `udp dst port ${UDP_PORT}`);
    const inside = await Capture.start(router.ns, router.lan[0]!, `udp dst port ${UDP_PORT}`);
    for (let i = 0; i < 10; i++) {
      // the socket leaves the checksum to the device, of which XDP knows nothing
      t.equal(await socket.ask(own, UDP_PORT), `${router[family]} ${PORT}`);
      await ask(scene, family, [{}]);
      t.ok(await socket.receive(), 'an answer to the other one, too');
    }

    const seen = await far.stopIp();
    t.equal(seen.length, 20);
    for (const packet of seen) t.match(packet, { protocol: UDP, src: router[family], sport: PORT, ttl: 63 });
    t.equal((await count()) - counted, 20, `${family}: of one flow, each counted once`);
    const atTc = (await inside.stopIp()).length;
    t.ok(atTc >= 10 && atTc < 15, `${family}: ${atTc} of 20 were left to TC`);
    const byStack = (await forwardedBy(router.ns, family)) - stack;
    t.ok(byStack < 10, `${family}: ${byStack} of 40 went by the stack, by which neighbours are kept`);
  }
});

t.test(
  'both: a neighbour that changes its link address without a word is found again',
  only('both'),
  async (t) => {
    const scene = await gateway(t, 'both', true);
    const { server, router } = scene;
    const wan = ['ipv4', 'ipv6'].map((family) => `net.${family}.neigh.${router.wan}`);
    await router.ns.sysctl(
      Object.fromEntries(
        wan.flatMap((path) => [
          [`${path}.base_reachable_time_ms`, 1000],
          [`${path}.delay_first_probe_time`, 1],
          [`${path}.retrans_time_ms`, 100],
        ]),
      ),
    );
    const sockets = { ipv4: await settled(scene, 'ipv4'), ipv6: await settled(scene, 'ipv6') };
    await server.ns.ip('link', 'set', 'eth0', 'address', '02:00:00:00:77:77');
    await Promise.all(
      FAMILIES.map(async (family) => {
        const socket = sockets[family];
        t.equal(
          await socket.askInVain(server[family], UDP_PORT),
          undefined,
          `${family}: nobody has that address`,
        );
        // a packet every 8.6 s is the stack's, which then doubts the neighbour for a second
        const answer = () => socket.ask(server[family], UDP_PORT, 'hello', 200);
        t.equal(await until(`${family}: an answer`, answer, 25_000), `${router[family]} ${PORT}`);
      }),
    );
  },
);
