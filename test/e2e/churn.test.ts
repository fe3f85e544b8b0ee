// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// conntrack_resize of Linux's selftests, as far as it is about counting: while flows come and go no list has a flow
// twice, and when it is quiet the count, the list and the mappings agree. A table of 100 takes 100.

import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { slowly, until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
const LIST = ['bpf', 'ct', 'list', 'global'];

async function lines(ctnat: Ctnat, ...args: string[]): Promise<string[]> {
  return (await ctnat.run(args)).stdout.split('\n').filter((line) => line !== '');
}

async function count(ctnat: Ctnat): Promise<number> {
  return Number((await ctnat.run(['bpf', 'ct', 'count'])).stdout);
}

t.test('the counts agree while flows come and go', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  let busy = true;
  let rounds = 0;
  const churn = clients.map(async ({ peer, ipv4 }, n) => {
    for (let port = 20_000 + n; busy; port = port < 29_000 ? port + 2 : 20_000 + n) {
      const socket = await peer.udp(ipv4, port);
      await socket.ask(server.ipv4, UDP_PORT);
      await socket.close();
      // a port that is used again could be listed as the old flow and as the new one
      const connection = await peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: port + 10_000 });
      await connection.close(port % 4 === 0);
      rounds++;
    }
  });
  for (let i = 0; i < 5; i++) {
    const before = await count(ctnat);
    const listed = await ctnat.flows();
    const after = await count(ctnat);
    const own = listed.map(({ proto, original }) =>
      JSON.stringify([proto, { ...original, packets: 0, bytes: 0 }]),
    );
    t.equal(new Set(own).size, own.length, `no flow is listed twice: ${listed.length}`);
    // flows only come here but for those that are flushed below
    t.ok(listed.length >= before && listed.length <= after, `${before} <= ${listed.length} <= ${after}`);
    if (i === 2) await ctnat.run(['bpf', 'ct', 'delete', '-p', 'udp'], { mayFail: true });
  }
  busy = false;
  await Promise.all(churn);

  const flows = await ctnat.flows();
  const text = await lines(ctnat, ...LIST);
  t.ok(rounds > 10 && flows.length > 10, `${rounds} rounds, ${flows.length} flows`);
  t.equal(await count(ctnat), flows.length, 'the count is that of the list');
  t.equal(text.length, flows.length, 'as text, too');
  t.equal((await lines(ctnat, ...LIST, '-o', 'jsonl')).length, flows.length);
  t.equal(new Set(text).size, text.length, 'every line is another one');
  t.equal(await agreed(ctnat, server.ipv4), true, 'each is one mapping');
  await ctnat.run(['bpf', 'ct', 'flush', 'global']);
  t.equal(await count(ctnat), 0);
  const { maps } = await ctnat.json<{ maps: { name: string; entries: number }[] }>(['status']);
  t.same(
    maps.filter(({ name, entries }) => /^(flows|tuple)/.test(name) && entries > 0),
    [],
    'and not a key or slot is left',
  );
});

t.test('a table of 100: 101 flows begin, 100 are there', only, async (t) => {
  const { topology, clients, server, router } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  await ctnat.apply(
    `interfaces: [{ name: ${router.wan}, masquerade: 4 }, { name: ${router.lan[0]} }]\ntables: { flows: 100 }\n`,
  );
  const { peer, ipv4 } = clients[0]!;
  const sockets = await Promise.all(Array.from({ length: 101 }, (_, i) => peer.udp(ipv4, 40_000 + i)));
  for (const socket of sockets) t.ok(await socket.ask(server.ipv4, UDP_PORT, 'hello', slowly(1_000)));

  t.equal(await count(ctnat), 100);
  t.equal(flowsOf(await ctnat.flows(), 'udp').length, 100);
});

/**
 * Whether there are as many mappings as translated flows; a flow may end between the two looks. An answer that was
 * on its way when its flow was deleted is a flow of its own, to the router, and not translated.
 */
async function agreed(ctnat: Ctnat, server: string): Promise<boolean> {
  return until('as many mappings as translated flows', async () => {
    const mappings = (await ctnat.mappings()).length;
    const ours = (await ctnat.flows()).filter(
      ({ original, status }) => original.src !== server || status.includes('SRC_NAT'),
    );
    return mappings === ours.length;
  });
}
