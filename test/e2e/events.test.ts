// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Events of real traffic: ctnat monitor, several of them, slow ones and dead ones; the agent's files.

import { readFile, rename } from 'node:fs/promises';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { type Ctnat, gatewayConfig } from '../helpers/ctnat.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import { Daemon } from '../helpers/process.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { until } from '../helpers/wait.js';

const only = { skip: CTNAT_ONLY };

interface Line {
  type: string;
  sequence?: number;
  cause?: string;
  state?: string;
  proto?: string;
  total?: number;
  original?: { src: string; sport?: number; packets: number };
}

/** Starts a monitor; resolves when it listens. */
async function monitor(t: Test, ctnat: Ctnat, ...args: string[]): Promise<Daemon> {
  const daemon = Daemon.start(ctnat.argv(['monitor', '-o', 'jsonl', ...args]));
  t.teardown(() => daemon.stop('SIGKILL'));
  await daemon.printed(/listening to/);
  return daemon;
}

function linesOf(text: string): Line[] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('{') && line.endsWith('}'))
    .map((line) => JSON.parse(line) as Line);
}

const readers = async (ctnat: Ctnat): Promise<{ pid: number; types: string[] }[]> =>
  (await ctnat.json<{ readers: { pid: number; types: string[] }[] }>(['status'])).readers;

/** Places that the datapath looks at, whether their readers live or not. */
async function places(ctnat: Ctnat): Promise<number> {
  const { maps } = await ctnat.json<{ maps: { name: string; entries: number }[] }>(['status']);
  return maps.find(({ name }) => name === 'event_readers')!.entries;
}

/** Sends a datagram to each of so many ports, each the first packet of a flow. */
function manyFlows(server: string, count: number): string[] {
  const script = `
    const socket = require('node:dgram').createSocket('udp4');
    const send = (port) => {
      if (port > ${count}) return socket.close();
      socket.send('x', port, '${server}', () => port % 64 ? send(port + 1) : setImmediate(send, port + 1));
    };
    socket.on('error', () => {});
    socket.bind(50000, () => send(1));`;
  return [process.execPath, '-e', script];
}

/** Starts ctnat as on a kernel without the ring buffer, or with it. */
async function startWith(ctnat: Ctnat, transport: 'ringbuf' | 'perf'): Promise<void> {
  const before = process.env.LIBBPF_TS_DISABLE;
  if (transport === 'perf') process.env.LIBBPF_TS_DISABLE = [before, 'ringbuf'].filter(Boolean).join(',');
  try {
    await ctnat.start();
  } finally {
    if (before === undefined) delete process.env.LIBBPF_TS_DISABLE;
    else process.env.LIBBPF_TS_DISABLE = before;
  }
}

for (const transport of ['ringbuf', 'perf'] as const) {
  t.test(`${transport}: a flow's life, in order, without gaps`, only, async (t) => {
    const { topology, clients, server } = await network(t);
    const ctnat = ctnatFor(topology);
    await startWith(ctnat, transport);
    const daemon = await monitor(t, ctnat, '-s', clients[0]!.ipv4, '-p', 'tcp');
    const connection = await clients[0]!.peer.tcp({ host: server.ipv4, port: TCP_PORT, localPort: 40_000 });
    for (let i = 0; i < 20; i++) await connection.echo(`line ${i}`);
    await clients[1]!.peer.tcp({ host: server.ipv4, port: TCP_PORT });
    await ctnat.run(['bpf', 'ct', 'delete', '-s', clients[0]!.ipv4]);
    await daemon.printed(/"type":"destroy"/);
    t.match(await readers(ctnat), [{ pid: daemon.pid, types: ['new', 'update', 'destroy', 'drop'] }]);

    t.equal(await daemon.stop('SIGINT'), 0);
    const lines = linesOf(daemon.output);
    t.strictSame(
      lines.map(({ type, state }) => `${type} ${state}`),
      ['new SYN_SENT', 'update SYN_RECV', 'update ESTABLISHED', 'destroy ESTABLISHED'],
    );
    t.match(lines.at(-1), { cause: 'deleted', original: { src: clients[0]!.ipv4, sport: 40_000 } });
    t.ok(lines.at(-1)!.original!.packets > 20, 'with its last counts');
    t.notMatch(daemon.output, /lost/);
    t.strictSame(await readers(ctnat), []);
    t.equal(await places(ctnat), 0, 'nothing is left on');
  });

  t.test(`${transport}: a reader that stands still loses events, and knows how many`, only, async (t) => {
    const { topology, clients, server } = await network(t);
    const ctnat = ctnatFor(topology);
    await startWith(ctnat, transport);
    const daemon = await monitor(t, ctnat, '--type', 'new', '-p', 'udp');
    const other = await monitor(t, ctnat, '--type', 'new', '-p', 'udp', '-s', clients[1]!.ipv4);
    process.kill(daemon.pid, 'SIGSTOP');
    await clients[0]!.ns.run(manyFlows(server.ipv4, 30_000), { limitMs: 120_000 });
    await (await clients[1]!.peer.udp(clients[1]!.ipv4, 41_000)).ask(server.ipv4, UDP_PORT);
    await other.printed(/"sport":41000/);
    t.strictSame(
      linesOf(other.output).map(({ type }) => type),
      ['new'],
      'who does not want them loses none',
    );
    const begun = Number((await ctnat.run(['bpf', 'ct', 'count', '-p', 'udp'])).stdout);
    process.kill(daemon.pid, 'SIGCONT');
    await daemon.printed(/events lost/, 30_000);
    t.equal(await daemon.stop('SIGTERM'), 0);

    const lines = linesOf(daemon.output);
    const came = lines.filter(({ type }) => type === 'new').length;
    const lost = lines.filter(({ type }) => type === 'lost').at(-1)!.total!;
    t.ok(lost > 0, `${came} came, ${lost} lost`);
    t.equal(came + lost, begun, 'together they are all');
  });
}

t.test('two monitors at once: each gets all that it wants', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const one = await monitor(t, ctnat, '--type', 'new,destroy');
  const two = await monitor(t, ctnat, '--type', 'new', '-s', clients[1]!.ipv4);
  for (const { peer, ipv4 } of clients) await (await peer.udp(ipv4, 41_000)).ask(server.ipv4, UDP_PORT);
  await two.printed(/"sport":41000/);
  t.equal((await readers(ctnat)).length, 2);
  await two.stop('SIGINT');
  await ctnat.run(['bpf', 'ct', 'flush', 'global']);
  await until('both ends', () => linesOf(one.output).filter(({ type }) => type === 'destroy').length >= 2);
  await one.stop('SIGINT');

  const udp = (daemon: Daemon) => linesOf(daemon.output).filter(({ proto }) => proto === 'udp');
  t.strictSame(
    udp(two).map(({ type, original }) => `${type} ${original!.src}`),
    [`new ${clients[1]!.ipv4}`],
  );
  t.equal(udp(one).filter(({ type }) => type === 'new').length, clients.length);
  t.equal(udp(one).filter(({ type }) => type === 'destroy').length, clients.length);
});

t.test('flows that several commands end at once end once', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const daemon = await monitor(t, ctnat, '--type', 'destroy', '-p', 'udp');
  await clients[0]!.ns.run(manyFlows(server.ipv4, 5_000), { limitMs: 60_000 });
  const begun = Number((await ctnat.run(['bpf', 'ct', 'count', '-p', 'udp'])).stdout);
  const flush = ['bpf', 'ct', 'flush', 'global'];
  await Promise.all([ctnat.run(flush), ctnat.run(flush), ctnat.run(['bpf', 'ct', 'delete', '-p', 'udp'])]);
  await until('as many ends as flows', () => linesOf(daemon.output).length >= begun, 20_000);
  await daemon.stop('SIGINT');

  const ends = linesOf(daemon.output);
  t.equal(ends.length, begun, 'as many ends as flows');
  t.equal(new Set(ends.map((line) => JSON.stringify(line.original))).size, begun, 'each another flow');
});

t.test('a killed monitor leaves nothing on', only, async (t) => {
  const { topology } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const daemon = await monitor(t, ctnat);
  await daemon.stop('SIGKILL');
  t.strictSame(await readers(ctnat), [], 'status knows that it is dead');
  t.equal(await places(ctnat), 1, 'its place is still taken');
  await ctnat.run(['gc']);
  t.equal(await places(ctnat), 0, 'gc clears it');

  await (await monitor(t, ctnat)).stop('SIGKILL');
  const next = await monitor(t, ctnat);
  t.equal(await places(ctnat), 1, 'the next monitor takes the dead one’s place');
  await next.stop();
});

t.test('no more readers than places; one that ends makes room', only, async (t) => {
  const { topology } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const all = await Promise.all(Array.from({ length: 8 }, () => monitor(t, ctnat)));
  const refused = await ctnat.run(['monitor'], { mayFail: true });
  t.equal(refused.status, 1);
  t.match(refused.stderr, /^ctnat: can not listen to events of \S+: 8 readers do already/);
  t.equal(await all[3]!.stop(), 0);
  await monitor(t, ctnat);
});

t.test('a monitor ends quietly with its reader, and says so when ctnat is purged', only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  await ctnat.start();
  const piped = Daemon.start([
    'bash',
    '-c',
    'set -o pipefail; "$@" | head -n 1',
    'bash',
    ...ctnat.argv(['monitor', '-o', 'jsonl']),
  ]);
  t.teardown(() => piped.stop('SIGKILL'));
  await piped.printed(/listening to/);
  const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, 40_000);
  await until('the pipe has ended', async () => {
    await socket.ask(server.ipv4, UDP_PORT);
    await ctnat.run(['bpf', 'ct', 'flush', 'global']);
    return !piped.running;
  });
  t.equal(await piped.ended, 0);

  const daemon = await monitor(t, ctnat);
  await ctnat.run(['detach', '--all', '--purge']);
  t.equal(await daemon.ended, 1);
  t.match(daemon.output, /ctnat: the events of \S+ have ended: ctnat was purged; attach again/);
});

t.test("the agent's files: their types, their rotation, and no gap between", only, async (t) => {
  const { topology, clients, server } = await network(t);
  const ctnat = ctnatFor(topology);
  const config = await ctnat.writeConfig('');
  const folder = join(config, '..');
  const file = join(folder, 'events.jsonl');
  const options = (types: string) =>
    gatewayConfig(
      topology,
      {},
      `events: [{ file: ${file}, types: [${types}] }, { file: ${folder}/text, format: text, types: [destroy] }]`,
    );
  const agent = await ctnat.agent(options('new'));
  t.match(await readers(ctnat), [{ pid: agent.pid, types: ['new', 'destroy'] }]);
  const ask = async (port: number) => {
    const socket = await clients[0]!.peer.udp(clients[0]!.ipv4, port);
    await socket.ask(server.ipv4, UDP_PORT);
    await socket.close();
  };
  const has = (path: string, port: number) =>
    until(`${port} in ${path}`, async () => (await readFile(path, 'utf8')).includes(String(port)));
  await ask(40_001);
  await has(file, 40_001);
  await rename(file, `${file}.1`);
  await ask(40_002);
  await has(`${file}.1`, 40_002);
  process.kill(agent.pid, 'SIGHUP');
  await agent.printed(/reloaded the configuration/);
  await ask(40_003);
  await has(file, 40_003);
  await ctnat.run(['bpf', 'ct', 'delete', '--sport', '40003', '-p', 'udp']);
  await has(join(folder, 'text'), 40_003);

  t.equal(await agent.stop(), 0);
  const events = linesOf(await readFile(file, 'utf8')).filter(({ proto }) => proto === 'udp');
  t.match(events, [{ type: 'new', original: { sport: 40_003 } }]);
  t.match(await readFile(join(folder, 'text'), 'utf8'), / DESTROY UDP .* Cause=deleted\n/);
  t.equal(await places(ctnat), 0);
});
