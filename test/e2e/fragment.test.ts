// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Datagrams larger than the MTU cross the router in fragments; only the first has ports.

import t from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import { flowsOf } from '../helpers/flow.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { bytes, find, fragments, type Ipv4, type Ipv6, parse, udp } from '../helpers/packet.js';
import { network, scene, UDP_PORT } from '../helpers/scene.js';
import { checksumFaults } from '../helpers/wire/checksum.js';

t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file

import { Wire } from '../helpers/wire.js';

for (const tx of [true, false]) {
  t.test(
    `a UDP datagram of 4000 bytes and its answer cross in fragments, checksum offload ${tx ? 'on' : 'off'}`,
    async (t) => {
      const { clients, server, router } = await scene(t);
      for (const { ns } of [...clients, server]) await ns.offload('eth0', { tx });
      const capture = await Capture.start(server.ns, 'eth0', `ip and src ${router.ipv4}`);
      const seen = [];
      for (const { peer, ipv4 } of clients) {
        const socket = await peer.udp(ipv4, 40_000);
        for (let i = 0; i < 3; i++)
          seen.push(await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(4_000, i)));
      }
      const packets = await capture.stopIp();

      t.equal(seen[0], `${router.ipv4} 40000`);
      t.notOk(seen.includes(undefined), 'every datagram came, and every answer');
      t.equal(new Set(seen).size, 2, 'each client kept its mapping');
      t.ok(
        packets.some((packet) => packet.fragmentOffset > 0),
        'they were fragments on the wire',
      );
      t.same(
        packets.flatMap((packet) => checksumFaults(packet)),
        [],
      );
    },
  );
}

t.test('a ping of 4000 bytes', async (t) => {
  const { clients, server } = await scene(t);
  for (const { ns } of clients) {
    const { stdout } = await ns.run([
      'ping',
      '-e',
      '5',
      '-s',
      '4000',
      '-c',
      '2',
      '-i',
      '0.2',
      '-W',
      '3',
      server.ipv4,
    ]);
    t.match(stdout, /2 received/);
  }
});

t.test('a datagram too large for the outside is fragmented, or its sender told', async (t) => {
  const { clients, server, router } = await scene(t);
  for (const ns of [router.ns, server.ns])
    await ns.ip('link', 'set', ns === router.ns ? router.wan : 'eth0', 'mtu', '1000');
  const client = clients[0]!;
  await client.ns.offload('eth0', { tx: false });
  const outside = await Capture.start(server.ns, 'eth0', `udp and src ${router.ipv4}`);
  const inside = await Capture.start(client.ns, 'eth0', 'icmp');
  // 0: IP_PMTUDISC_DONT, so that packets leave the client without DF
  await client.ns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 1 });
  const socket = await client.peer.udp(client.ipv4, 40_000);

  t.equal(
    await socket.ask(server.ipv4, UDP_PORT, Buffer.alloc(1_400, 1)),
    `${router.ipv4} 40000`,
    'RFC 4787 REQ-13a',
  );
  const packets = await outside.stopIp();
  t.strictSame(
    packets.map(({ fragmentOffset }) => fragmentOffset > 0),
    [false, true],
    'in order',
  );

  await client.ns.sysctl({ 'net.ipv4.ip_no_pmtu_disc': 0 });
  await client.ns.run(['ping', '-M', 'do', '-s', '1400', '-c', '1', '-W', '1', server.ipv4], {
    mayFail: true,
  });
  const [error] = (await inside.stopIp()).filter(({ type }) => type === 3);
  t.match(error, { dst: client.ipv4, type: 3, code: 4 }, 'RFC 4787 REQ-13');
  t.strictSame(checksumFaults(error!), []);
});

for (const family of [4, 6] as const) {
  t.test(
    `IPv${family}: fragments in another order than they were cut in`,
    { skip: CTNAT_ONLY },
    async (t) => {
      const scenery = await scene(t, { ipv6: true });
      const ctnat = scenery.nat as Ctnat;
      const wire = await Wire.of(scenery, family);
      if (family === 6) await scenery.server.peer.serve(scenery.server.ipv6, { udp: UDP_PORT });
      const cut = (id: number): Buffer[] =>
        fragments(wire.fromClient(0, [udp({ sport: 40_000, dport: UDP_PORT }), bytes(3000)]), 1200, id);
      const filter = family === 4 ? 'ip and not icmp' : 'ip6 and not icmp6';

      const [first, second, third] = cut(1);
      const turned = await wire.out(filter, [first!, third!, second!]);
      t.strictSame(
        turned.map(isFollower),
        [false, true, true],
        'the first leads, each follower finds its flow',
      );
      t.strictSame(
        turned.map((frame) => ipOf(frame).src),
        [wire.outside, wire.outside, wire.outside],
      );

      const [head, middle, tail] = cut(2);
      const late = await wire.out(filter, [middle!, head!, tail!]);
      t.strictSame(late.map(isFollower), [false, true], 'one that comes before the first does not leave');
      t.strictSame(
        late.map((frame) => ipOf(frame).src),
        [wire.outside, wire.outside],
        'nor does anything untranslated',
      );
      t.equal((await ctnat.drops()).get('drop_fragment'), 1, 'and is counted');

      const again = await wire.exchange(filter, cut(3));
      t.equal(again.out.length, 3, 'the flow goes on');
      t.ok(again.back.length > 0, 'the whole datagram was answered');
      for (const frame of again.back) t.equal(ipOf(frame).dst, wire.client(0));
      t.match(
        flowsOf(await ctnat.flows(), 'udp'),
        [{ original: { sport: 40_000 }, reply: { dport: 40_000 } }],
        'one flow of all three',
      );
    },
  );

  t.test(
    `IPv${family}: where nothing is translated a follower before its first passes`,
    { skip: CTNAT_ONLY },
    async (t) => {
      const scenery = await network(t);
      const ctnat = ctnatFor(scenery.topology);
      const { router } = scenery;
      await ctnat.run(['attach', ...router.lan, router.wan]);
      const wire = await Wire.of({ ...scenery, nat: ctnat }, family);
      const datagram = wire.fromClient(0, [udp({ sport: 40_000, dport: 9 }), bytes(3000)]);
      const [first, second, third] = fragments(datagram, 1200, 1);

      const filter = family === 4 ? 'ip and not icmp' : 'ip6 and not icmp6';
      const passed = await wire.out(filter, [second!, third!, first!]);

      t.strictSame(passed.map(isFollower), [true, true, false], 'in the order in which they came');
      for (const frame of passed) t.equal(ipOf(frame).src, wire.client(0));
      const counted = (await ctnat.metrics()).filter(({ reason }) => reason === 'passed_fragment');
      t.strictSame(
        counted.map(({ direction, packets }) => [direction, packets]).sort(),
        [
          ['egress', 2],
          ['ingress', 2],
        ],
        'and is counted',
      );
      t.match(flowsOf(await ctnat.flows(), 'udp'), [{ original: { sport: 40_000, packets: 1 } }]);
    },
  );
}

function ipOf(frame: Buffer): Ipv4 | Ipv6 {
  const layers = parse(frame);
  return find(layers, 'ipv4') ?? find(layers, 'ipv6')!;
}

function isFollower(frame: Buffer): boolean {
  const layers = parse(frame);
  return (find(layers, 'ipv4')?.offset ?? find(layers, 'fragment6')?.offset ?? 0) > 0;
}
