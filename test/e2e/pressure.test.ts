// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A full flow table, with real hosts: what is open stays open, what is refused is told, and a flood of SYNs from
// spoofed addresses keeps nobody out.
//
//   FLOOD_PACKETS=N      frames of the flood (default 200000; the claim is 2000000)
//   FLOOD_CONNECTIONS=N  connections that are open before it (default 1000; the claim is 10000)

import { fileURLToPath } from 'node:url';
import { feature } from 'libbpf-ts';
import t from 'tap';
import { Datapath } from '../../src/datapath.js';
import { type TablePressure, tablePressure } from '../../src/table-pressure.js';
import type { Ctnat } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { network, TCP_PORT } from '../helpers/scene.js';
import { slowly } from '../helpers/wait.js';

const FLOOD = fileURLToPath(new URL('../helpers/flood-main.js', import.meta.url));
const PACKETS = Number(process.env.FLOOD_PACKETS ?? 200_000);
const CONNECTIONS = Number(process.env.FLOOD_CONNECTIONS ?? 1_000);
const SLOTS = 100_000;
const ATTEMPTS = 100;

/** What a full table has cost so far, as the datapath has counted it. */
function pressureOf(ctnat: Ctnat): TablePressure {
  using datapath = Datapath.open(ctnat.pinPath);
  return tablePressure(datapath);
}

t.test(
  'a table full of connections: the next one is refused, status and the agent say so',
  { skip: CTNAT_ONLY },
  async (t) => {
    const { topology, clients, server, router } = await network(t, { clients: 1 });
    const ctnat = ctnatFor(topology);
    const agent = await ctnat.agent(
      `interfaces: [{ name: ${router.wan}, masquerade: 4 }, { name: ${router.lan[0]} }]\n` +
        'tables: { flows: 256 }\ngc: { minInterval: 1s, maxInterval: 1s }\n',
    );
    const { peer } = clients[0]!;
    const target = { host: server.ipv4, port: TCP_PORT };
    t.match(await ctnat.json(['status']), { tableFullDrops: 0 });
    t.equal(await peer.call('crowdOpen', target, 256, slowly(5_000)), 256);
    await t.rejects(peer.tcp(target), /ETIMEDOUT/, 'there is no room for one more');

    t.equal(await peer.call('crowdEcho', slowly(5_000)), 256, 'all 256 live');
    t.equal(flowsOf(await ctnat.flows(), 'tcp').length, 256);
    const pressure = pressureOf(ctnat);
    t.ok(pressure.refused > 0 && pressure.evicted === 0, JSON.stringify(pressure));
    t.match((await ctnat.run(['status'])).stdout, /table full: \d+ packets? of new flows dropped/);
    t.equal((await ctnat.drops()).get('drop_table_full'), pressure.refused, 'by its name among the metrics');
    t.ok(await agent.printed(/flow table is full/));
  },
);

function lacksLiveFrames(): string | false {
  if (CTNAT_ONLY) return CTNAT_ONLY;
  const { available, why } = feature('live-frames');
  return available ? false : `this kernel has no live frames, prog/flood.test.ts has another flood: ${why}`;
}

t.test(`a flood of ${PACKETS} SYNs from spoofed addresses`, { skip: lacksLiveFrames() }, async (t) => {
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  t.setTimeout(slowly(60_000 + PACKETS / 10));
  const ctnat = ctnatFor(topology);
  await ctnat.apply(
    `interfaces: [{ name: ${router.wan}, masquerade: 4 }, { name: lan0 }, { name: lan1 }]\n` +
      `tables: { flows: ${SLOTS} }\n`,
  );
  // nobody is in these networks: the server, which forwards nothing, is silent about it
  await router.ns.ip('route', 'add', '198.18.0.0/15', 'via', server.ipv4);
  const { peer } = clients[0]!;
  const target = { host: server.ipv4, port: TCP_PORT };
  t.equal(await peer.call('crowdOpen', target, CONNECTIONS, slowly(10_000)), CONNECTIONS);
  const links = JSON.parse(await router.ns.ip('-j', 'link', 'show', 'dev', 'lan1')) as { ifindex: number }[];
  const argv = [links[0]!.ifindex, await router.ns.mac('lan1'), '11.0.0.0/8', '198.18.0.0/15', 0, PACKETS];
  const flood = router.ns.start([process.execPath, FLOOD, ...argv.map(String)]);
  await flood.printed(/begun/, 30_000);

  let attempts = 0;
  let connected = 0;
  while (attempts < ATTEMPTS || flood.running) {
    const [opened] = await peer.call('tcpMany', target, 1, slowly(15_000));
    if (opened!.error === '') connected++;
    attempts++;
  }
  t.equal(await flood.ended, 0, flood.output);

  t.ok(connected >= attempts * 0.99, `${connected} of ${attempts} connections opened`);
  t.equal(await peer.call('crowdEcho', slowly(10_000)), CONNECTIONS, 'those that were open before all live');
  const pressure = pressureOf(ctnat);
  t.ok(
    pressure.evicted > (PACKETS - SLOTS) / 2,
    `${pressure.evicted} flows gave way, ${pressure.refused} refused`,
  );
});
