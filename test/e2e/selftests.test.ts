// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The scenarios of Linux's own selftests for connection tracking and NAT (tools/testing/selftests/net/netfilter),
// by their names; conntrack_clash and conntrack_resize have files of their own (clash, churn).

import t from 'tap';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { HTTP_PORT, network, TCP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };
/** An address behind the server's interface at which nobody is. */
const DEAD = '192.0.2.7';

t.test(
  'conntrack_tcp_unreplied: SYNs again do not keep a flow from expiring, a new rule takes effect',
  only,
  async (t) => {
    const { topology, clients, server, router } = await network(t, { clients: 1 });
    const ctnat = ctnatFor(topology);
    await router.ns.ip('route', 'add', `${DEAD}/32`, 'via', server.ipv4);
    await ctnat.apply(
      `interfaces: [{ name: ${router.wan}, masquerade: 4 }, { name: ${router.lan[0]} }]\n` +
        'timeouts: { tcp: { syn_sent: 2s } }\n',
    );
    // SYNs come after 1, 3 and 7 s, since Linux 6.5 after 1, 2, 3, 4 and 6 s
    const began = performance.now();
    const argv = ['curl', '-sS', '--fail', '--max-time', '20', `http://${DEAD}/`];
    const connecting = clients[0]!.ns.run(argv);
    connecting.catch(() => {});
    await until('the flow is there', async () => (await ctnat.flows())[0]?.state === 'SYN_SENT');
    const target = ['--dport', '80', '--to', `${server.ipv4}:${HTTP_PORT}`];
    await ctnat.run(['nat', 'add', 'dnat', '-i', router.lan[0]!, '-d', DEAD, '-p', 'tcp', ...target]);
    const { stdout } = await connecting;

    t.match(stdout, new RegExp(`^${router.ipv4} `));
    const seconds = (performance.now() - began) / 1000;
    t.ok(seconds < 6, `an early SYN found the flow expired and the rule there: ${seconds.toFixed(1)} s`);
  },
);

for (const masquerade of [false, true]) {
  t.test(
    `nf_nat_edemux: a source port that is in use to a forward's target is changed, masquerade: ${masquerade}`,
    only,
    async (t) => {
      const { topology, clients, server, router } = await network(t, { clients: 1 });
      const ctnat = ctnatFor(topology);
      await ctnat.run(['attach', router.lan[0]!]);
      await ctnat.run(['attach', router.wan, ...(masquerade ? ['--masquerade'] : [])]);
      await server.ns.ip('route', 'add', '10.0.0.0/24', 'via', router.ipv4);
      const target = ['--dport', '443', '--to', `${server.ipv4}:${TCP_PORT}`];
      await ctnat.run(['nat', 'add', 'dnat', '-i', router.lan[0]!, '-d', DEAD, '-p', 'tcp', ...target]);
      const { peer, ipv4 } = clients[0]!;
      const direct = await peer.tcp({
        host: server.ipv4,
        port: TCP_PORT,
        localAddress: ipv4,
        localPort: 10_000,
      });
      const forwarded = await peer.tcp({ host: DEAD, port: 443, localAddress: ipv4, localPort: 10_000 });

      const from = masquerade ? router.ipv4 : ipv4;
      t.equal(direct.seen, `${from} 10000`);
      t.match(forwarded.seen, new RegExp(`^${from} \\d+$`));
      t.not(forwarded.seen, direct.seen, 'the server sees another port');
      for (const each of [direct, forwarded, direct]) t.equal(await each.echo('a line'), 'a line');
    },
  );
}

for (const family of [4, 6] as const) {
  t.test(
    `conntrack_icmp_related: "too big" of a router on the way reaches who is behind masquerade, IPv${family}`,
    only,
    async (t) => {
      const { topology, clients, servers, router } = await network(t, {
        clients: 1,
        hop: true,
        hopMtu: 1280,
      });
      const ctnat = ctnatFor(topology);
      await ctnat.run(['attach', ...router.lan]);
      await ctnat.run(['attach', router.wan, '--masquerade=all']);
      const [client, target] = [clients[0]!, servers[0]!];
      const address = family === 4 ? target.ipv4 : target.ipv6;
      const ping = ['ping', `-${family}`, '-M', 'do', '-c', '1', '-W', '1', '-s', '1300', address];
      t.not((await client.ns.run(ping, { mayFail: true })).status, 0, 'the first one is too big');

      t.match(
        await client.ns.ip(`-${family}`, 'route', 'get', address),
        /mtu 1280/,
        'its sender has been told',
      );
      const related = (await ctnat.metrics()).filter(({ reason }) => reason === 'related');
      t.ok(related.reduce((sum, { packets }) => sum + packets, 0) > 0, 'and the error counted as related');
      t.equal((await client.ns.run(ping.map((word) => (word === '1300' ? '1200' : word)))).status, 0);
      t.equal(
        [...(await ctnat.drops()).values()].reduce((a, b) => a + b, 0),
        0,
        'nothing was dropped',
      );
    },
  );
}

t.test(
  'conntrack_reverse_clash: both ends begin at once while the table is flushed; no port is ever changed',
  only,
  async (t) => {
    const { topology, clients, router } = await network(t, { lan: 'ports' });
    const ctnat = ctnatFor(topology);
    await ctnat.run(['attach', ...router.lan]);
    await ctnat.run(['attach', router.wan, '--masquerade']);
    const [a, b] = [clients[0]!, clients[1]!];
    const [one, two] = [await a.peer.udp(a.ipv4, 40_000), await b.peer.udp(b.ipv4, 40_001)];
    const end = performance.now() + 3_000;
    let flushes = 0;
    const flushing = (async (): Promise<void> => {
      while (performance.now() < end) {
        await ctnat.run(['bpf', 'ct', 'flush', 'global']);
        flushes++;
      }
    })();
    let rounds = 0;
    const wrong: unknown[] = [];
    while (performance.now() < end) {
      await Promise.all([one.send('x', b.ipv4, 40_001), two.send('y', a.ipv4, 40_000)]);
      const [atOne, atTwo] = await Promise.all([one.receive(), two.receive()]);
      const seen = [atOne?.address, atOne?.port, atTwo?.address, atTwo?.port];
      if (seen.join() !== [b.ipv4, 40_001, a.ipv4, 40_000].join()) wrong.push(seen);
      rounds++;
    }
    await flushing;

    t.same(wrong.slice(0, 3), [], `${rounds} datagrams each way, ${flushes} flushes`);
    t.ok(flushes > 1 && rounds > 20);
  },
);
