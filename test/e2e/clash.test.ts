// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// conntrack_clash of Linux's selftests: 128 first packets of one socket at the same instant are one flow, and all
// of them are answered. With it A and AAAA queries from one socket never wait for a resolver's timeout. The race
// itself is played in prog/race.test.ts, where it is seen to happen.

import t from 'tap';
import { clash } from '../helpers/clash.js';
import { flowsOf } from '../helpers/flow.js';
import { scene, UDP_PORT } from '../helpers/scene.js';

const PACKETS = 128;
const ROUNDS = 4;
const every = <T>(value: T): T[] => Array<T>(PACKETS).fill(value);

t.test('conntrack_clash: through masquerade', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const { ns, ipv4 } = clients[0]!;
  for (let round = 0; round < ROUNDS; round++) {
    const port = 41_000 + round;
    const answers = await clash(ns, { from: ipv4, port, to: server.ipv4, service: UDP_PORT }, PACKETS);

    t.strictSame(
      answers,
      every({ from: `${server.ipv4} ${UDP_PORT}`, seen: `${router.ipv4} ${port}` }),
      `${answers.length} of ${PACKETS} are answered`,
    );
  }
  t.equal(flowsOf(await nat.flows(), 'udp').length, ROUNDS, 'each socket is one flow');
});

t.test('conntrack_clash: through masquerade, with a port that is taken', async (t) => {
  const { clients, server, router } = await scene(t);
  const [first, second] = clients;
  t.ok(await (await first!.peer.udp(first!.ipv4, 41_000)).ask(server.ipv4, UDP_PORT));
  const ends = { from: second!.ipv4, port: 41_000, to: server.ipv4, service: UDP_PORT };
  const answers = await clash(second!.ns, ends, PACKETS);

  t.equal(answers.length, PACKETS);
  t.equal(new Set(answers.map(({ seen }) => seen)).size, 1, 'all from one outside port');
  t.match(answers[0]!.seen, new RegExp(`^${router.ipv4} \\d+$`));
  t.not(answers[0]!.seen, `${router.ipv4} 41000`);
});

t.test('conntrack_clash: through a forward', async (t) => {
  const { clients, server, router, nat } = await scene(t);
  const [inside] = clients;
  await inside!.peer.serve(inside!.ipv4, { udp: UDP_PORT });
  await nat.forward({ proto: 'udp', port: 53, to: inside!.ipv4, toPort: UDP_PORT });
  for (let round = 0; round < ROUNDS; round++) {
    const port = 41_000 + round;
    const ends = { from: server.ipv4, port, to: router.ipv4, service: 53 };
    t.strictSame(
      await clash(server.ns, ends, PACKETS),
      every({ from: `${router.ipv4} 53`, seen: `${server.ipv4} ${port}` }),
    );
  }
  t.equal(flowsOf(await nat.flows(), 'udp', { dst: router.ipv4 }).length, ROUNDS);
});
