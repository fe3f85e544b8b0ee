// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// MSS clamping where path MTU discovery fails: the outside line is narrower than both ends know, and nobody tells them.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network } from '../helpers/scene.js';
import { checksumFaults } from '../helpers/wire/checksum.js';
import { SYN } from '../helpers/wire/packet.js';

const only = { skip: CTNAT_ONLY };
const LINE_MTU = 1300;

/** The MSS option of a SYN whose first option it is, as with Linux. */
function mssOf(payload: Buffer): number {
  return payload[20] === 2 ? payload.readUInt16BE(22) : 0;
}

for (const family of ['ipv4', 'ipv6'] as const) {
  t.test(`${family}: a transfer through a line with a smaller MTU that nobody tells of`, only, async (t) => {
    const { topology, clients, server, router } = await network(t, { lan: 'ports' });
    const nat = ctnatFor(topology);
    const client = clients[0]!;
    // frames longer than that are lost on their way in, as on a line whose far end knows no better
    await router.ns.ip('link', 'set', router.wan, 'mtu', String(LINE_MTU));
    await server.ns.offload('eth0', { tso: false, gso: false, tx: false });
    await client.ns.offload('eth0', { tso: false, gso: false, tx: false });
    if (family === 'ipv6') await server.peer.serve(server.ipv6, { http: HTTP_PORT });
    const host = family === 'ipv4' ? server.ipv4 : `[${server.ipv6}]`;
    const argv = ['curl', '-sS', '--fail', '-o', '/dev/null', '--max-time', '3'];
    const download = [...argv, `http://${host}:${HTTP_PORT}/download/300000`];

    await nat.run(['attach', ...router.lan]);
    await nat.run(['attach', router.wan, '--masquerade=all']);
    const stuck = await client.ns.run(download, { mayFail: true });
    t.not(stuck.status, 0, 'without clamping it does not arrive');

    await nat.run(['attach', router.wan, '--masquerade=all', '--mss', 'pmtu']);
    const outside = await Capture.start(server.ns, 'eth0', `tcp port ${HTTP_PORT} or (ip6 and tcp)`, 200);
    const inside = await Capture.start(client.ns, 'eth0', `tcp port ${HTTP_PORT} or (ip6 and tcp)`, 200);
    await client.ns.run(download);
    const headers = family === 'ipv4' ? 40 : 60;
    for (const [name, capture, address] of [
      ['the SYN as the server sees it', outside, router[family]],
      ['the SYN+ACK as the client sees it', inside, server[family]],
    ] as const) {
      const syns = (await capture.stopIp()).filter(({ flags, src }) => (flags ?? 0) & SYN && src === address);
      t.ok(syns.length > 0, name);
      for (const syn of syns) {
        t.equal(mssOf(syn.payload), LINE_MTU - headers, name);
        t.strictSame(checksumFaults(syn), [], `${name}: checksums`);
      }
    }

    await nat.run(['attach', router.wan, '--masquerade=all', '--mss', '700']);
    const fixed = await Capture.start(server.ns, 'eth0', `tcp port ${HTTP_PORT} or (ip6 and tcp)`, 200);
    await client.ns.run(download);
    const [syn] = (await fixed.stopIp()).filter(
      ({ flags, src }) => (flags ?? 0) & SYN && src === router[family],
    );
    t.equal(mssOf(syn!.payload), 700);
    const { interfaces } = await nat.json<{ interfaces: { name: string; mss: unknown }[] }>(['status']);
    t.equal(interfaces.find(({ name }) => name === router.wan)?.mss, 700);
  });
}

t.test('an MTU that changes changes the MSS, with the agent', only, async (t) => {
  const { topology, clients, server, router } = await network(t, { lan: 'ports' });
  const nat = ctnatFor(topology);
  const config = [
    'interfaces:',
    `  - { name: ${router.wan}, masquerade: 4, mss: pmtu }`,
    ...router.lan.map((name) => `  - { name: ${name} }`),
  ];
  await nat.agent(config.join('\n'));
  const agent = await nat.json<{ agent: { pid: number } }>(['status']);
  t.ok(agent.agent.pid);
  await server.ns.offload('eth0', { tx: false });
  const seen = async (): Promise<number> => {
    const capture = await Capture.start(server.ns, 'eth0', `tcp port ${HTTP_PORT}`, 200);
    await clients[0]!.ns.run(['curl', '-sS', '--fail', `http://${server.ipv4}:${HTTP_PORT}/`]);
    const [syn] = (await capture.stopIp()).filter(
      ({ flags, src }) => (flags ?? 0) & SYN && src === router.ipv4,
    );
    return mssOf(syn!.payload);
  };
  t.equal(await seen(), 1460);
  await router.ns.ip('link', 'set', router.wan, 'mtu', '1492');
  const { until } = await import('../helpers/wait.js');
  await until('the MSS follows', async () => (await seen()) === 1452);
});
