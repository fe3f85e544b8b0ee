// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets a second through whole routers, under live frames over veth (Linux 5.18): each kind of router in network
// namespaces of its own, read in turns, so that what the machine does besides falls on all of them.

import { openBuilt } from '../helpers/datapath/load.js';
import { Teardown } from '../helpers/teardown.js';
import { Lane, type Load } from './lane.js';
import { type Summary, summarize } from './statistics.js';

/** Those that others are compared with. */
export const ROUTER = {
  plain: 'plain forwarding',
  nftables: 'nftables masquerade',
  bare: 'bare XDP forwarder',
} as const;

const FLOWS = 1000;
const ESTABLISHED_PACKETS = 200_000;
const NEW_FLOWS = 50_000;
/** Behind the flows that are established, whatever a lane's number of readings is. */
const FIRST_NEW = 100_000;

interface Kind {
  name: string;
  set: (lane: Lane) => Promise<void>;
  /** Between readings of new flows, which would fill the table. */
  forget?: (lane: Lane) => Promise<unknown>;
}

/** Frames of so many bytes of flows that are known, or each of another one. */
export const LOADS = [
  '60 bytes, established',
  '1,514 bytes, established',
  '60 bytes, each a new flow',
] as const;

export interface ForwardingRow {
  name: string;
  /** Packets that came through a second, by load. */
  rates: Map<(typeof LOADS)[number], Summary>;
  lost: number;
}

const NFTABLES = `table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}`;

function attach(...options: string[]): (lane: Lane) => Promise<void> {
  return async ({ ctnat }) => {
    await ctnat.run(['attach', 'lan0', ...options], { limitMs: 180_000 });
    await ctnat.run(['attach', 'wan0', '--masquerade', ...options], { limitMs: 180_000 });
  };
}

const forgetNetfilter = ({ router }: Lane) => router.run(['conntrack', '-F'], { mayFail: true });
const forgetCtnat = ({ ctnat }: Lane) => ctnat.run(['bpf', 'ct', 'flush', 'global']);

const KINDS: readonly Kind[] = [
  { name: ROUTER.plain, set: async () => {} },
  {
    name: ROUTER.nftables,
    set: async ({ router }) => void (await router.run(['nft', '-f', '-'], { input: NFTABLES })),
    forget: forgetNetfilter,
  },
  {
    name: 'iptables masquerade',
    set: async ({ router }) =>
      void (await router.run([
        'iptables',
        '-t',
        'nat',
        '-A',
        'POSTROUTING',
        '-o',
        'wan0',
        '-j',
        'MASQUERADE',
      ])),
    forget: forgetNetfilter,
  },
  { name: 'ctnat TC', set: attach('--mode', 'tc'), forget: forgetCtnat },
  { name: 'ctnat TC with redirect', set: attach('--mode', 'tc', '--redirect'), forget: forgetCtnat },
  { name: 'ctnat XDP', set: attach('--mode', 'xdp'), forget: forgetCtnat },
  { name: ROUTER.bare, set: async (lane) => lane.attach('load_bare') },
];

interface Track {
  kind: Kind;
  lane: Lane;
  cursor: number;
  readings: Map<(typeof LOADS)[number], number[]>;
  lost: number;
}

/**
 * Measures every kind of router that this machine has the commands for.
 * @param missing is told which kinds it has not, and why
 */
export async function measureForwarding(
  rounds: number,
  missing: (name: string, why: string) => void,
): Promise<ForwardingRow[]> {
  const undo: (() => unknown)[] = [];
  const teardown = Teardown.of({ teardown: (step: () => unknown) => void undo.push(step) } as never);
  const load = openBuilt('test/load.bpf.o');
  try {
    load.load();
    const tracks: Track[] = [];
    for (const kind of KINDS) {
      const lane = await Lane.create(load, teardown);
      try {
        await kind.set(lane);
      } catch (error) {
        missing(kind.name, (error as Error).message.split('\n')[0]!);
        continue;
      }
      await warm(lane);
      tracks.push({
        kind,
        lane,
        cursor: FIRST_NEW,
        readings: new Map(LOADS.map((name) => [name, []])),
        lost: 0,
      });
    }
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < tracks.length; i++) await readEstablished(tracks[(i + round) % tracks.length]!);
    }
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < tracks.length; i++) await readNew(tracks[(i + round) % tracks.length]!);
    }
    return tracks.map(({ kind, readings, lost }) => ({
      name: kind.name,
      rates: new Map([...readings].map(([name, values]) => [name, summarize(values)])),
      lost,
    }));
  } finally {
    for (const step of undo.reverse()) await step();
    load.close();
  }
}

/** Begins the flows, by packets both ways. */
async function warm(lane: Lane): Promise<void> {
  for (const back of [false, true, false]) await lane.run({ flows: FLOWS, packets: FLOWS * 2, back });
}

async function readEstablished(track: Track): Promise<void> {
  const flows = { flows: FLOWS, packets: ESTABLISHED_PACKETS };
  await read(track, LOADS[0], flows);
  await read(track, LOADS[1], { ...flows, bytes: 1514 });
}

async function readNew(track: Track): Promise<void> {
  track.cursor += NEW_FLOWS;
  await track.kind.forget?.(track.lane);
  await read(track, LOADS[2], { flows: 1 << 30, cursor: track.cursor, packets: NEW_FLOWS });
}

async function read(track: Track, name: (typeof LOADS)[number], load: Load): Promise<void> {
  const { packets, delivered, seconds } = await track.lane.run(load);
  track.readings.get(name)!.push(delivered / seconds);
  track.lost += packets - delivered;
}
