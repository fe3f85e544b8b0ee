// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What an administrator does while packets flow: attach again, apply, reload, kill the agent, start it again. No
// packet is lost for it, none leaves untranslated (invariants 3 and 8), and open connections go on.

import { readFileSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import { gatewayConfig } from '../helpers/ctnat.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import type { UdpSocket } from '../helpers/peer.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { elapse, until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };

/** Questions and answers all the time; ends with how many there were, and those that had no answer. */
function traffic(
  sockets: readonly UdpSocket[],
  to: string,
): { stop(): Promise<{ asked: number; lost: number; seen: Set<string> }> } {
  let busy = true;
  let [asked, lost] = [0, 0];
  const seen = new Set<string>();
  const all = sockets.map(async (socket) => {
    while (busy) {
      const answer = await socket.ask(to, UDP_PORT);
      asked++;
      if (answer === undefined) lost++;
      else seen.add(answer);
      await elapse(1);
    }
  });
  return {
    async stop() {
      busy = false;
      await Promise.all(all);
      return { asked, lost, seen };
    },
  };
}

/** A gateway with traffic, during which something is done. */
async function during(
  t: Test,
  work: (scene: {
    ctnat: ReturnType<typeof ctnatFor>;
    base: Awaited<ReturnType<typeof network>>;
  }) => Promise<void>,
): Promise<void> {
  const base = await network(t);
  const { topology, clients, server, router } = base;
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const capture = await Capture.start(server.ns, 'eth0', 'net 10.0.0.0/8');
  const sockets = await Promise.all(clients.map(({ peer, ipv4 }) => peer.udp(ipv4, 40_000)));
  const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
  for (const socket of sockets) t.ok(await socket.ask(server.ipv4, UDP_PORT));
  const running = traffic(sockets, server.ipv4);
  await work({ ctnat, base });
  const { asked, lost, seen } = await running.stop();

  t.equal(lost, 0, `${asked} packets each way, none is lost`);
  t.equal(seen.size, 2, 'each flow has kept its mapping');
  for (const each of seen) t.match(each, new RegExp(`^${router.ipv4} `));
  t.equal(await connection.echo('still'), 'still', 'a connection that was open goes on');
  t.same((await capture.stopIp()).length, 0, 'no packet has left with an inside address');
}

t.test('attach again, with other options and back', only, (t) =>
  during(t, async ({ ctnat, base: { router } }) => {
    for (let i = 0; i < 3; i++) {
      await ctnat.run(['attach', ...router.lan, router.wan, '--masquerade=all']);
      await ctnat.run(['attach', router.wan, '--masquerade', '--mapping', 'apdm']);
    }
  }),
);

t.test('rules come and go, a configuration is applied', only, (t) =>
  during(t, async ({ ctnat, base: { topology, clients, router } }) => {
    const file = await ctnat.writeConfig(gatewayConfig(topology));
    for (let i = 0; i < 2; i++) {
      const to = `${clients[0]!.ipv4}:80`;
      await ctnat.run(['nat', 'add', 'dnat', '-i', router.wan, '-p', 'tcp', '--dport', '81', '--to', to]);
      await ctnat.run([
        'nat',
        'add',
        'snat',
        '-o',
        router.wan,
        '-s',
        '10.0.0.0/8',
        '--to',
        router.ipv4Second,
      ]);
      await ctnat.run(['nat', 'flush']);
      await ctnat.run(['apply', file]);
    }
  }),
);

t.test('the agent is killed, started and reloaded; it sweeps all the time', only, (t) =>
  during(t, async ({ ctnat, base: { topology } }) => {
    const config = gatewayConfig(topology, {}, 'gc: { minInterval: 1s, maxInterval: 1s }');
    for (let i = 0; i < 2; i++) {
      const agent = await ctnat.agent(config);
      const file = agent.argv.at(-1)!;
      for (const timeout of [250, 300]) {
        await writeFile(file, gatewayConfig(topology, { timeouts: { udpStream: timeout } }));
        const before = agent.output.split('reloaded').length;
        process.kill(agent.pid, 'SIGHUP');
        await until('it has reloaded', () => agent.output.split('reloaded').length > before);
      }
      t.equal(await agent.stop('SIGKILL'), 137);
    }
  }),
);

/** Milliseconds of processor time that a process has used (proc(5), utime and stime, in 10 ms). */
function processorMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

t.test('an idle agent uses next to nothing of a processor', only, async (t) => {
  const { topology, clients, server } = await network(t, { clients: 1 });
  const ctnat = ctnatFor(topology);
  const agent = await ctnat.agent(gatewayConfig(topology));
  t.equal(await clients[0]!.peer.call('crowdOpen', { host: server.ipv4, port: TCP_PORT }, 500, 10_000), 500);
  const [began, before] = [performance.now(), processorMs(agent.pid)];
  await elapse(8_000);

  const share = (processorMs(agent.pid) - before) / (performance.now() - began);
  t.ok(share < 0.05, `${(share * 100).toFixed(1)} % of one processor, with 500 connections`);
});
