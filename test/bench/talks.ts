// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What users of a router notice: bulk TCP with segmentation offload, short connections, and how long an answer
// takes while there is load. Two hosts with their own stacks, and each kind of router between them, read in turns.
import { join } from 'node:path';
import { Ctnat } from '../helpers/ctnat.js';
import { Namespace, veth } from '../helpers/netns.js';
import type { Daemon } from '../helpers/process.js';
import { compile, ROOT } from '../helpers/tcp/compile.js';
import { Teardown } from '../helpers/teardown.js';
import type { Topology } from '../helpers/topology.js';
import { busySeconds } from './machine.js';
import { ROUTERS, type Routed, type RouterName } from './routers.js';
import { type Summary, summarize } from './statistics.js';

const SERVER = '198.51.100.9';
const [TALK_PORT, BULK_PORT] = ['4000', '5201'];
const SECONDS = 2;
/** Of TCP, beside the questions: well below what any of the routers forwards. */
const LOAD = '500M';

export const TALK = {
  bulk: 'bulk TCP with GSO, Gbit/s',
  bulkCpu: 'CPU seconds a GB of it',
  connections: 'connect, request, response, close, a second',
  p50: 'answer under load, median, µs',
  p99: 'answer under load, 99th percentile, µs',
} as const;

export type TalkName = (typeof TALK)[keyof typeof TALK];

export interface TalkRow {
  name: RouterName;
  figures: Map<TalkName, Summary>;
  /** Connections that did not come to their end, and questions without an answer. */
  failed: number;
}

/** A client, a router and a server. */
class TalkLane implements Routed {
  readonly ctnat: Ctnat;

  private constructor(
    readonly client: Namespace,
    readonly router: Namespace,
    readonly server: Namespace,
  ) {
    this.ctnat = new Ctnat({ router: { ns: router, lan: ['lan0'], wan: 'wan0' } } as unknown as Topology);
  }

  static async create(talk: string, teardown: Teardown): Promise<TalkLane> {
    const [client, router, server] = [
      await Namespace.create('client', teardown),
      await Namespace.create('router', teardown),
      await Namespace.create('server', teardown),
    ];
    await router.sysctl({ 'net.ipv4.ip_forward': 1 });
    for (const [ns, near, own, address] of [
      [client, 'lan0', '10.0.0.2/24', '10.0.0.1'],
      [server, 'wan0', `${SERVER}/24`, '198.51.100.1'],
    ] as const) {
      await veth(ns, 'eth0', router, near);
      await ns.offload('eth0', { gro: true });
      await ns.ip('address', 'add', own, 'dev', 'eth0');
      await router.ip('address', 'add', `${address}/24`, 'dev', near);
      await ns.ip('route', 'add', 'default', 'via', address);
    }
    const lane = new TalkLane(client, router, server);
    await server.start([talk, 'serve', SERVER, TALK_PORT]).printed(/ready/);
    await server.start(['iperf3', '-s', '-B', SERVER, '-p', BULK_PORT, '--forceflush']).printed(/listening/i);
    return lane;
  }
}

/** Measures every kind of router. @param missing is told which kinds this machine has not, and why */
export async function measureTalks(
  rounds: number,
  missing: (name: string, why: string) => void,
): Promise<TalkRow[]> {
  const teardown = Teardown.create();
  try {
    const talk = await compile('talk', teardown, { sources: join(ROOT, 'test/bench') });
    const tracks: { name: RouterName; lane: TalkLane; readings: Map<TalkName, number[]>; failed: number }[] =
      [];
    for (const kind of ROUTERS) {
      const lane = await TalkLane.create(talk, teardown);
      try {
        await kind.set(lane);
      } catch (error) {
        missing(kind.name, (error as Error).message.split('\n')[0]!);
        continue;
      }
      const readings = new Map(Object.values(TALK).map((name) => [name, [] as number[]]));
      tracks.push({ name: kind.name, lane, readings, failed: 0 });
    }
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < tracks.length; i++) {
        const track = tracks[(i + round) % tracks.length]!;
        const add = (name: TalkName, value: number) => track.readings.get(name)!.push(value);
        const { gbits, cpuSecondsPerGb } = await bulk(track.lane);
        add(TALK.bulk, gbits);
        add(TALK.bulkCpu, cpuSecondsPerGb);
        const [rate, failed] = await numbers(track.lane, talk, 'connect');
        add(TALK.connections, rate!);
        const [p50, p99, lost] = await underLoad(track.lane, () => numbers(track.lane, talk, 'ask'));
        add(TALK.p50, p50!);
        add(TALK.p99, p99!);
        track.failed += failed! + lost!;
      }
    }
    return tracks.map(({ name, readings, failed }) => ({
      name,
      figures: new Map([...readings].map(([figure, values]) => [figure, summarize(values)])),
      failed,
    }));
  } finally {
    await teardown.run();
  }
}

interface Bulk {
  gbits: number;
  cpuSecondsPerGb: number;
}

async function bulk({ client }: TalkLane): Promise<Bulk> {
  const argv = ['iperf3', '-c', SERVER, '-p', BULK_PORT, '-t', String(SECONDS), '-O', '1', '-J'];
  const busy = busySeconds();
  const { stdout } = await client.run(argv);
  const cpu = busySeconds() - busy;
  const { end } = JSON.parse(stdout) as { end: { sum_received: { bits_per_second: number } } };
  const gbits = end.sum_received.bits_per_second / 1e9;
  return { gbits, cpuSecondsPerGb: cpu / ((gbits / 8) * (SECONDS + 1)) };
}

async function numbers({ client }: TalkLane, talk: string, what: 'ask' | 'connect'): Promise<number[]> {
  const { stdout } = await client.run([talk, what, SERVER, TALK_PORT, String(SECONDS)]);
  return stdout.trim().split(' ').map(Number);
}

/** While TCP is sent at an even rate. */
async function underLoad<T>({ client }: TalkLane, measure: () => Promise<T>): Promise<T> {
  const argv = ['iperf3', '-c', SERVER, '-p', BULK_PORT, '-t', '600', '-b', LOAD, '--forceflush'];
  const load: Daemon = client.start(argv);
  try {
    await load.printed(/bits\/sec/);
    return await measure();
  } finally {
    await load.stop();
  }
}
