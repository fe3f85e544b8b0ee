// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// RFC 6888 REQ-9: inside hosts ask for mappings by PCP and NAT-PMP, and have what they were promised.

import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import t, { type Test } from 'tap';
import { type Ctnat, gatewayConfig } from '../helpers/ctnat.js';
import type { Mapping } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor, type GatewayOptions } from '../helpers/nat.js';
import {
  address16,
  header,
  mapRequest,
  PCP_PORT,
  PcpClient,
  PREFER_FAILURE,
  readResponse,
} from '../helpers/pcp.js';
import type { UdpSocket } from '../helpers/peer.js';
import type { Daemon } from '../helpers/process.js';
import { network, type Scene, type SceneHost, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import type { TopologyOptions } from '../helpers/topology.js';
import { elapse, slowly, until } from '../helpers/wait.js';

t.setTimeout(slowly(600_000));

const only = { skip: CTNAT_ONLY };
const LAN4 = '10.0.0.1';
const LAN6 = 'fd00:10::1';
const OK = 0;
const [UNSUPP_VERSION, NOT_AUTHORIZED, MALFORMED_REQUEST] = [1, 2, 3];
const [USER_EX_QUOTA, CANNOT_PROVIDE_EXTERNAL, ADDRESS_MISMATCH] = [10, 11, 12];

interface Place extends Omit<Scene, 'nat'> {
  ctnat: Ctnat;
  agent: Daemon;
  config: string;
}

/** `pcp`: more keys of it. Strangers get in by a mapping that is asked for, whatever the filter. */
async function place(t: Test, pcp = '', options: TopologyOptions & GatewayOptions = {}): Promise<Place> {
  const base = await network(t, { servers: 2, ...options });
  t.setTimeout(slowly(120_000));
  const ctnat = ctnatFor(base.topology);
  const keys = `pcp: { inside: [lan0]${pcp && `, ${pcp}`} }`;
  const config = gatewayConfig(base.topology, { filtering: 'apdf', ipv6: true, ...options }, keys);
  return { ...base, ctnat, agent: await ctnat.agent(config), config };
}

/** Whether a datagram of the host's to the outside port arrives at the socket. */
async function knocks(from: SceneHost, to: string, port: number, inside: UdpSocket, limitMs = 500) {
  const socket = await from.peer.udp(to.includes(':') ? from.ipv6 : from.ipv4);
  const text = `from ${socket.port}`;
  await socket.send(text, to, port);
  const got = await inside.receive(limitMs);
  await socket.close();
  return got?.data.toString() === text;
}

async function asked({ ctnat }: Place): Promise<(Mapping & { lifetime?: number })[]> {
  const all = (await ctnat.mappings()) as (Mapping & { lifetime?: number })[];
  return all
    .filter(({ lifetime }) => lifetime !== undefined)
    .sort((a, b) => a.internal.port - b.internal.port);
}

for (const family of ['ipv4', 'ipv6'] as const) {
  t.test(
    `PCP, ${family}: a mapping that is asked for lets anybody in, and is what the host leaves by`,
    only,
    async (t) => {
      const here = await place(t);
      const { clients, servers, server, router, ctnat } = here;
      const [client, neighbour] = clients as [SceneHost, SceneHost];
      if (family === 'ipv6') await server.peer.serve(server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT });
      const pcp = await PcpClient.open(client, family === 'ipv4' ? LAN4 : LAN6);
      const given = await pcp.map({ port: 4000, externalPort: 45_000, lifetime: 600 });
      t.match(given, { version: 2, opcode: 0x81, result: OK, lifetime: 600, proto: 17, port: 4000 });
      t.equal(given.nonce, pcp.nonce.toString('hex'));
      t.equal(given.externalPort, 45_000);
      t.same(given.external, address16(router[family]));

      const inside = await client.peer.udp(client[family], 4000);
      t.ok(await knocks(servers[1]!, router[family], 45_000, inside), 'a stranger comes in');
      t.equal(await inside.ask(server[family], UDP_PORT), `${router[family]} 45000`, 'out by the same port');
      const other = await neighbour.peer.udp(neighbour[family], 45_000);
      const seen = await other.ask(server[family], UDP_PORT);
      t.ok(seen?.startsWith(`${router[family]} `));
      t.not(seen, `${router[family]} 45000`, "no neighbour's socket gets the port");
      const hairpin = await neighbour.peer.udp(neighbour[family], 41_000);
      await hairpin.send('hairpin', router[family], 45_000);
      const got = await inside.receive();
      t.match(
        got,
        { address: router[family], port: 41_000 },
        'a neighbour comes in by it, too, and is seen from outside',
      );

      const tcp = await pcp.map({ proto: 'tcp', port: 4001, externalPort: 45_000 });
      t.match(tcp, { result: OK, externalPort: 45_000 }, "TCP's ports are its own");
      await client.peer.serve(client[family], { tcp: 4001 });
      const host = router[family];
      const came = await servers[1]!.peer.tcp({ host, port: 45_000, localAddress: servers[1]![family] });
      t.equal(await came.echo('hello'), 'hello');

      const listed = await asked(here);
      t.match(listed, [{ proto: 'udp', external: { port: 45_000 }, remote: null }, { proto: 'tcp' }]);
      t.ok(listed[0]!.lifetime! > 500 && listed[0]!.lifetime! <= 600);
      const { stdout } = await ctnat.run(['bpf', 'nat', 'list']);
      t.match(stdout, /UDP OUT \S+ -> \*:\* XLATE_SRC \S+:45000 .* Lifetime=\d+sec/i);
    },
  );
}

t.test("PCP: a mapping is renewed, is its nonce's alone, and goes when it is deleted", only, async (t) => {
  const here = await place(t);
  const { clients, servers, server, router } = here;
  const [client, neighbour] = clients as [SceneHost, SceneHost];
  const pcp = await PcpClient.open(client, LAN4);
  const rival = await PcpClient.open(neighbour, LAN4);
  const inside = await client.peer.udp(client.ipv4, 4000);
  const first = await pcp.map({ port: 4000, externalPort: 45_000, lifetime: 200 });
  t.match(first, { result: OK, lifetime: 200, externalPort: 45_000 });

  const again = await pcp.map({ port: 4000, externalPort: 46_000, lifetime: 900 });
  t.match(
    again,
    { result: OK, lifetime: 900, externalPort: 45_000 },
    'it stays what it is, and lives longer',
  );
  t.ok(again.epoch >= first.epoch);
  const strange = await pcp.map({ port: 4000, nonce: Buffer.alloc(12, 1) });
  t.match(strange, { result: NOT_AUTHORIZED, port: 4000 }, 'another nonce may not renew it');
  t.ok(strange.lifetime > 800 && strange.lifetime <= 900, 'and hears how long that is so');
  const theft = await pcp.map({ port: 4000, lifetime: 0, nonce: Buffer.alloc(12, 1) });
  t.match(theft, { result: NOT_AUTHORIZED }, 'nor delete it');

  t.match(await rival.map({ port: 4000, externalPort: 45_000, options: [PREFER_FAILURE] }), {
    result: CANNOT_PROVIDE_EXTERNAL,
    lifetime: 30,
  });
  const instead = await rival.map({ port: 4000, externalPort: 45_000 });
  t.match(instead, { result: OK, externalPort: 4000 }, 'another host gets another port');
  t.match(await rival.map({ port: 9, externalPort: 80, options: [PREFER_FAILURE] }), {
    result: CANNOT_PROVIDE_EXTERNAL,
  });

  t.match(await pcp.map({ port: 4000, lifetime: 0 }), { result: OK, lifetime: 0 });
  t.notOk(await knocks(servers[1]!, router.ipv4, 45_000, inside), 'nobody comes in by what is deleted');
  t.match(await pcp.map({ port: 4000, lifetime: 0 }), { result: OK, lifetime: 0 }, 'which may be said twice');
  const taken = await rival.map({ port: 4001, externalPort: 45_000, options: [PREFER_FAILURE] });
  t.match(taken, { result: OK, externalPort: 45_000 }, "the port is anybody's again");
  t.match(taken.bytes.subarray(60), Buffer.from([2, 0, 0, 0]), 'an option that was heeded is in the answer');

  const socket = await client.peer.udp(client.ipv4, 4100);
  const seen = await socket.ask(server.ipv4, UDP_PORT);
  t.equal(seen, `${router.ipv4} 4100`);
  t.match(await pcp.map({ port: 4100, externalPort: 47_000 }), { result: OK, externalPort: 4100 });
  t.ok(await knocks(servers[1]!, router.ipv4, 4100, socket), 'what packets had made is opened to anybody');
  t.match(await pcp.map({ port: 4100, lifetime: 0 }), { result: OK });
  t.equal(await socket.ask(server.ipv4, UDP_PORT), seen, 'and deleted it is what it was before');
  t.notOk(await knocks(servers[1]!, router.ipv4, 4100, socket));
});

t.test('PCP: a mapping ends with its lifetime, with and without the agent', only, async (t) => {
  const here = await place(t, 'lifetime: { min: 1s }');
  const { clients, servers, router, agent, ctnat } = here;
  const client = clients[0]!;
  const pcp = await PcpClient.open(client, LAN4);
  const inside = await client.peer.udp(client.ipv4, 4000);
  const late = await client.peer.udp(client.ipv4, 4001);
  t.match(await pcp.map({ port: 4000, lifetime: 2 }), { result: OK, lifetime: 2, externalPort: 4000 });
  t.ok(await knocks(servers[0]!, router.ipv4, 4000, inside));
  await agent.printed(/pcp: expired/);
  t.notOk(await knocks(servers[1]!, router.ipv4, 4000, inside), 'no stranger comes in');

  t.match(await pcp.map({ port: 4001, lifetime: 2 }), { result: OK, lifetime: 2 });
  await agent.stop('SIGKILL');
  t.ok(await knocks(servers[0]!, router.ipv4, 4001, late), 'it works without the agent');
  await until('the mapping is listed no more', async () => (await asked(here)).length === 0);
  t.notOk(await knocks(servers[1]!, router.ipv4, 4001, late), 'and ends without it');
  t.same(await ctnat.mappings(), [], 'nothing is left');
});

t.test('PCP: the agent knows its mappings after a restart, and says when they are lost', only, async (t) => {
  const here = await place(t);
  const { clients, servers, router, ctnat, agent, config } = here;
  const client = clients[0]!;
  const pcp = await PcpClient.open(client, LAN4);
  const ears = await client.peer.udp('0.0.0.0', 5350);
  const given = await pcp.map({ port: 4000, externalPort: 45_000 });
  await elapse(1100); // the epoch has a second to show
  const { epoch } = await pcp.announce();
  t.ok(epoch >= 1);
  await agent.stop('SIGKILL');

  const next = await ctnat.agent(config);
  t.ok((await pcp.announce()).epoch >= epoch, 'the epoch goes on: nothing is lost');
  t.match(await pcp.map({ port: 4000, nonce: Buffer.alloc(12, 1) }), { result: NOT_AUTHORIZED });
  const renewed = await pcp.map({ port: 4000 });
  t.match(renewed, { result: OK, externalPort: given.externalPort });

  while (await ears.receive(50)); // what was told at the first start
  await ctnat.run(['bpf', 'nat', 'flush']);
  const told = await until(
    'clients are told',
    async () => {
      const got = (await ears.receive(1000))?.data;
      return got && got[0] === 2 ? readResponse(got) : undefined;
    },
    30_000,
  );
  t.match(told, { version: 2, opcode: 0x80, result: OK });
  t.ok(told.epoch < renewed.epoch, 'the epoch begins anew');
  t.match(next.output, /pcp: lost/);
  const inside = await client.peer.udp(client.ipv4, 4000);
  t.match(await pcp.map({ port: 4000, externalPort: 45_000 }), { result: OK, externalPort: 45_000 });
  t.ok(await knocks(servers[1]!, router.ipv4, 45_000, inside), 'who asks again has it again');
});

t.test(
  'PCP: a host has its share; another address, a stranger and half a request are refused',
  only,
  async (t) => {
    const here = await place(t, 'limit: 2, natPmp: false, allow: [0.0.0.0/0]');
    const { clients, servers, router } = here;
    const [client, neighbour] = clients as [SceneHost, SceneHost];
    const pcp = await PcpClient.open(client, LAN4);
    t.match(await pcp.map({ port: 1 }), { result: OK });
    t.match(await pcp.map({ port: 2 }), { result: OK });
    t.match(await pcp.map({ port: 3 }), { result: USER_EX_QUOTA, lifetime: 30 });
    t.match(await (await PcpClient.open(neighbour, LAN4)).map({ port: 3 }), { result: OK });
    t.match(await pcp.map({ port: 2, lifetime: 0 }), { result: OK });
    t.match(await pcp.map({ port: 3 }), { result: OK }, 'what is deleted may be had again');
    t.match(await pcp.map({ port: 4, client: neighbour.ipv4 }), { result: ADDRESS_MISMATCH, lifetime: 1800 });
    t.match(await pcp.request(header(1, client.ipv4, 600)), { result: MALFORMED_REQUEST });
    t.match(await pcp.request(Buffer.from([0, 0])), { version: 2, result: UNSUPP_VERSION }, 'NAT-PMP is off');

    await servers[0]!.ns.ip('route', 'add', '10.0.0.0/24', 'via', '203.0.113.1');
    await here.topology.hop!.ip('route', 'add', '10.0.0.0/24', 'via', router.ipv4);
    for (const server of [LAN4, router.ipv4]) {
      const outside = await servers[0]!.peer.udp(servers[0]!.ipv4);
      await outside.send(header(0, servers[0]!.ipv4), server, PCP_PORT);
      t.equal(await outside.receive(400), undefined, 'nobody is heard from outside');
    }
    const forged = router.ipv4.replace(/\d+$/, '77');
    await client.ns.ip('address', 'add', `${forged}/32`, 'dev', 'eth0');
    const forger = await client.peer.udp(forged);
    await forger.send(mapRequest(forged, { port: 5 }), LAN4, PCP_PORT);
    t.equal(await forger.receive(400), undefined);
    t.same(
      (await asked(here)).filter(({ internal }) => internal.port === 5),
      [],
      "who writes another network's address is not believed",
    );
  },
);

t.test('NAT-PMP: natpmpc asks for a port, and has it', only, async (t) => {
  const here = await place(t);
  const { clients, servers, router } = here;
  const client = clients[0]!;
  const natpmpc = async (...args: string[]) => (await client.ns.run(['natpmpc', '-g', LAN4, ...args])).stdout;
  t.match(await natpmpc(), new RegExp(`Public IP address : ${router.ipv4.replaceAll('.', '\\.')}`));
  const mapped = await natpmpc('-a', '45000', '4000', 'udp', '600');
  t.match(mapped, /Mapped public port 45000 protocol UDP to local port 4000 lif\w*ime 600/);
  const inside = await client.peer.udp(client.ipv4, 4000);
  t.ok(await knocks(servers[1]!, router.ipv4, 45_000, inside));
  t.match(await asked(here), [{ proto: 'udp', external: { port: 45_000 }, internal: { port: 4000 } }]);
  await natpmpc('-a', '0', '4000', 'udp', '0');
  t.same(await asked(here), []);
  t.notOk(await knocks(servers[0]!, router.ipv4, 45_000, inside));
});

t.test('PCP: the example of docs/nat.md', only, async (t) => {
  const { topology, clients, servers, router } = await network(t, { servers: 2 });
  t.setTimeout(slowly(120_000));
  const doc = readFileSync(fileURLToPath(new URL('../../../docs/nat.md', import.meta.url)), 'utf8');
  const yaml = /^## Mappings on request\n\n```yaml\n([\s\S]*?)^```$/m.exec(doc)![1]!;
  await ctnatFor(topology).agent(yaml);
  const pcp = await PcpClient.open(clients[0]!, LAN4);
  const inside = await clients[0]!.peer.udp(clients[0]!.ipv4, 4000);
  t.match(await pcp.map({ port: 4000 }), { result: OK, externalPort: 4000 });
  t.ok(await knocks(servers[1]!, router.ipv4, 4000, inside));
});
