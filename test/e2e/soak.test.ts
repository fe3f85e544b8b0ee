// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A mix of traffic through a masquerading router with sweeps each second and short timeouts: bulk both ways, short
// connections, datagrams, pings. Nothing fails meanwhile, and when it is over not a slot or key is left.
//
//   SOAK_SECONDS=N  how long (default 20; a long soak is 600)

import t from 'tap';
import { Datapath } from '../../src/datapath.js';
import { verifyTables } from '../../src/table-check.js';
import { gatewayConfig } from '../helpers/ctnat.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import type { RunResult } from '../helpers/process.js';
import { HTTP_PORT, network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { slowly, until } from '../helpers/wait.js';

const SECONDS = Number(process.env.SOAK_SECONDS ?? 20);
const IPERF = { up: 5201, down: 5202, datagrams: 5203 } as const;
/** Of what can only come from a mistake of the datapath, or of a table that leaks. */
const MISTAKES = /drop_(internal|race|table_full|tuple_map|rewrite|no_port|no_address|clash)/;

t.test(`${SECONDS} s of everything leave nothing behind`, { skip: CTNAT_ONLY }, async (t) => {
  const { topology, clients, server } = await network(t);
  t.setTimeout(slowly(SECONDS * 2_000 + 90_000));
  const ctnat = ctnatFor(topology);
  const config = gatewayConfig(topology, {}, 'gc: { minInterval: 1s, maxInterval: 1s }');
  const closing = ['fin_wait', 'close_wait', 'last_ack', 'time_wait', 'close'].map((name) => `${name}: 3s`);
  const timeouts = `timeouts: { udp: { timeout: 3s, stream: 3s }, icmp: 3s, tcp: { ${closing.join(', ')} } }`;
  const agent = await ctnat.agent(`${config}${timeouts}\n`);
  for (const port of Object.values(IPERF)) {
    const iperf = server.ns.start(['iperf3', '-s', '--forceflush', '-B', server.ipv4, '-p', String(port)]);
    await iperf.printed(/listening/);
  }
  const end = performance.now() + SECONDS * 1000;
  const [a, b] = [clients[0]!, clients[1]!];
  const did = { curl: 0, tcp: 0, udp: 0, ping: 0 };
  const failed: string[] = [];
  const iperf = (ns: typeof a.ns, port: number, ...more: string[]): Promise<RunResult> =>
    ns.run(['iperf3', '-c', server.ipv4, '-p', String(port), '-t', String(SECONDS), '-b', '20M', ...more], {
      limitMs: SECONDS * 1000 + 60_000,
    });
  const again = async (
    what: keyof typeof did,
    once: (i: number) => Promise<string | undefined>,
  ): Promise<void> => {
    for (let i = 0; performance.now() < end; i++) {
      const wrong = await once(i);
      if (wrong) failed.push(`${what} ${i}: ${wrong}`);
      did[what]++;
    }
  };
  await Promise.all([
    iperf(a.ns, IPERF.up),
    iperf(b.ns, IPERF.down, '-R'),
    iperf(b.ns, IPERF.datagrams, '-u'),
    again('curl', async () => {
      const argv = [
        'curl',
        '-sS',
        '--fail',
        '--max-time',
        '10',
        `http://${server.ipv4}:${HTTP_PORT}/download/100000`,
      ];
      const { status, stderr } = await a.ns.run([...argv, '-o', '/dev/null'], { mayFail: true });
      return status === 0 ? undefined : stderr;
    }),
    again('tcp', async (i) => {
      const connection = await b.peer.tcp({ host: server.ipv4, port: TCP_PORT });
      const back = await connection.echo(`line ${i}`);
      await connection.close(i % 3 === 0);
      return back === `line ${i}` ? undefined : `got ${back}`;
    }),
    again('udp', async (i) => {
      const socket = await a.peer.udp(a.ipv4, 20_000 + (i % 10_000));
      const answer = await socket.ask(server.ipv4, UDP_PORT);
      await socket.close();
      return answer === undefined ? 'no answer' : undefined;
    }),
    again('ping', async () => {
      const { status } = await b.ns.run(['ping', '-c', '3', '-i', '0.2', '-W', '3', server.ipv4], {
        mayFail: true,
      });
      return status === 0 ? undefined : 'no answer';
    }),
  ]);

  t.same(failed.slice(0, 5), [], JSON.stringify(did));
  t.same(
    [...(await ctnat.drops())].filter(([reason, packets]) => packets > 0 && MISTAKES.test(reason)),
    [],
    'no packet was dropped by mistake',
  );
  await until(
    'every flow is swept',
    async () => {
      const { maps } = await ctnat.json<{ maps: { name: string; entries: number }[] }>(['status']);
      return maps.every(({ name, entries }) => !/^(flows|tuple)/.test(name) || entries === 0);
    },
    30_000,
  );
  using datapath = Datapath.open(ctnat.pinPath);
  t.same(verifyTables(datapath), [], 'no key is left without its flow');
  t.equal((await ctnat.flows()).length, 0);
  t.ok(agent.running);
  t.notMatch(agent.output, /repaired half pairs/);
});
