// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets a second through whole routers, under live frames over veth (Linux 5.18): each kind of router in network
// namespaces of its own, read in turns, so that what the machine does besides falls on all of them. Established
// flows are RFC 8219's throughput, new ones the connection establishment rate, and what it takes to end them the
// connection tear-down rate of Lencse and Shima (draft-ietf-bmwg-benchmarking-stateful).
import { openBuilt } from '../helpers/datapath/load.js';
import { Teardown } from '../helpers/teardown.js';
import { Lane, type Load } from './lane.js';
import type { Room, RouterKind, RouterName } from './routers.js';
import { type Summary, summarize } from './statistics.js';

const FLOWS = 1000;
const ESTABLISHED_PACKETS = 200_000;
const NEW_FLOWS = 150_000;
/** Behind the flows that are established, whatever a lane's number of readings is. */
const FIRST_NEW = 200_000;

/** Frames, their checksum counted, of flows that are known, or each of another one. */
export const LOADS = {
  '64 bytes, established': { bytes: 60 },
  '1,518 bytes, established': { bytes: 1514 },
  'mixed sizes, established': { bytes: 'mixed' },
  '64 bytes, each a new flow': 'new',
} as const satisfies Record<string, Pick<Load, 'bytes'> | 'new'>;

export type LoadName = keyof typeof LOADS;

export interface Readings {
  /** Packets that came through a second. */
  rates: number[];
  /** Seconds that all CPUs were busy a packet that came through, those that send and receive included. */
  cpu: number[];
}

export interface ForwardingRow {
  name: RouterName;
  rates: Map<LoadName, Summary>;
  cpu: Map<LoadName, Summary>;
  /** Flows ended a second; undefined: it has none. */
  teardown: Summary | undefined;
  lost: number;
}

/** A router under measurement. */
export interface Track {
  kind: RouterKind;
  lane: Lane;
  /** Of the next flow that is new. */
  cursor: number;
  lost: number;
}

/**
 * Sets up those of the kinds that this machine has the commands for, and hands them to `measure`.
 * @param missing is told which kinds it has not, and why
 */
export async function withTracks<T>(
  kinds: readonly RouterKind[],
  missing: (name: string, why: string) => void,
  measure: (tracks: readonly Track[]) => Promise<T>,
  room?: Room,
): Promise<T> {
  const teardown = Teardown.create();
  const load = openBuilt('test/load.bpf.o');
  try {
    load.load();
    const tracks: Track[] = [];
    for (const kind of kinds) {
      const lane = await Lane.create(load, teardown);
      try {
        await kind.set(lane, room);
      } catch (error) {
        missing(kind.name, (error as Error).message.split('\n')[0]!);
        continue;
      }
      tracks.push({ kind, lane, cursor: FIRST_NEW, lost: 0 });
    }
    return await measure(tracks);
  } finally {
    await teardown.run();
    load.close();
  }
}

/** Every track once a round, each round beginning with another one. */
export async function inTurns(
  tracks: readonly Track[],
  rounds: number,
  read: (track: Track) => Promise<void>,
): Promise<void> {
  for (let round = 0; round < rounds; round++)
    for (let i = 0; i < tracks.length; i++) await read(tracks[(i + round) % tracks.length]!);
}

/** Begins flows, by packets both ways. */
export async function begin({ lane }: Track, flows: number): Promise<void> {
  for (const back of [false, true, false]) await lane.run({ flows, packets: flows * 2, back });
}

/** Measures these kinds of routers under every load. `missing` as withTracks() has it. */
export function measureForwarding(
  kinds: readonly RouterKind[],
  rounds: number,
  missing: (name: string, why: string) => void,
): Promise<ForwardingRow[]> {
  return withTracks(kinds, missing, async (tracks) => {
    const readings = new Map(tracks.map((track) => [track, new Map<LoadName, Readings>()]));
    const teardowns = new Map(tracks.map((track) => [track, [] as number[]]));
    for (const track of tracks) await begin(track, FLOWS);
    for (const [name, load] of Object.entries(LOADS) as [LoadName, (typeof LOADS)[LoadName]][]) {
      for (const track of tracks) readings.get(track)!.set(name, { rates: [], cpu: [] });
      await inTurns(tracks, rounds, async (track) => {
        const into = readings.get(track)!.get(name)!;
        if (load !== 'new') return read(track, into, { ...load, flows: FLOWS, packets: ESTABLISHED_PACKETS });
        const rest = await forget(track);
        await read(track, into, { flows: 1 << 30, cursor: track.cursor, packets: NEW_FLOWS });
        track.cursor += NEW_FLOWS;
        const seconds = (await forget(track)) - rest;
        if (seconds > 0) teardowns.get(track)!.push(NEW_FLOWS / seconds);
      });
    }
    return tracks.map((track) => {
      const of = readings.get(track)!;
      const ended = teardowns.get(track)!;
      return {
        name: track.kind.name,
        rates: new Map([...of].map(([name, { rates }]) => [name, summarize(rates)])),
        cpu: new Map([...of].map(([name, { cpu }]) => [name, summarize(cpu)])),
        teardown: ended.length > 0 ? summarize(ended) : undefined,
        lost: track.lost,
      };
    });
  });
}

/** Ends all flows; how many seconds it took, the command's start included. */
async function forget({ kind, lane }: Track): Promise<number> {
  const start = performance.now();
  await kind.forget?.(lane);
  return kind.forget ? (performance.now() - start) / 1000 : 0;
}

export async function read(track: Track, into: Readings, load: Load): Promise<void> {
  const { packets, delivered, seconds, cpuSeconds } = await track.lane.run(load);
  into.rates.push(delivered / seconds);
  into.cpu.push(cpuSeconds / delivered);
  track.lost += packets - delivered;
}
