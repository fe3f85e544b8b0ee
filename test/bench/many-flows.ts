// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets a second over the number of flows, up to a million: what the caches do to a table. With it what needs as
// many flows: listing them.
import { Teardown } from '../helpers/teardown.js';
import { borrow } from './borrowed.js';
import { measureCommand } from './cli-cost.js';
import { begin, inTurns, type Readings, read, withTracks } from './forwarding.js';
import { type FullCosts, measureFullCosts } from './full-costs.js';
import { ROUTER, type RouterKind, type RouterName } from './routers.js';
import { type Summary, summarize } from './statistics.js';

export const FLOW_COUNTS = [1, 1000, 100_000, 1_000_000] as const;
const PACKETS = 300_000;
const ROOM = { flows: 1 << 20, timeoutSeconds: 900 };

/** How many flows Netfilter may have, and how many buckets for them, of the whole machine. */
const LIMITS = {
  '/proc/sys/net/netfilter/nf_conntrack_max': 1 << 21,
  '/sys/module/nf_conntrack/parameters/hashsize': 1 << 20,
};

export interface ManyFlowsRow {
  name: RouterName;
  /** Packets a second, by the number of flows. */
  rates: Map<number, Summary>;
  /** Seconds to list as many flows as were last; undefined: it has none. */
  listing?: Summary;
  /** With as many, of XDP mode. */
  full?: FullCosts;
}

/** @param missing is told which kinds of routers this machine has not, and why */
export async function measureManyFlows(
  routers: readonly RouterKind[],
  rounds: number,
  missing: (name: string, why: string) => void,
): Promise<ManyFlowsRow[]> {
  const kinds = routers.filter(({ name }) => name !== ROUTER.iptables); // it tracks as nftables does
  return withTracks(
    kinds,
    missing,
    (tracks) =>
      withRoom(async () => {
        const rows: ManyFlowsRow[] = tracks.map(({ kind }) => ({ name: kind.name, rates: new Map() }));
        for (const flows of FLOW_COUNTS) {
          const readings = tracks.map((): Readings => ({ rates: [], cpu: [] }));
          for (const track of tracks) if (track.kind.forget) await begin(track, flows);
          let cursor = 0;
          await inTurns(tracks, rounds, async (track) => {
            cursor += PACKETS;
            await read(track, readings[tracks.indexOf(track)]!, {
              flows,
              cursor,
              packets: PACKETS,
              scattered: true,
            });
          });
          for (const [i, { rates }] of readings.entries()) rows[i]!.rates.set(flows, summarize(rates));
        }
        const seconds = tracks.map((): number[] => []);
        await inTurns(tracks, rounds, async (track) => {
          const argv = track.kind.list?.(track.lane);
          if (argv) seconds[tracks.indexOf(track)]!.push((await measureCommand(argv)).seconds);
        });
        for (const [i, each] of seconds.entries()) if (each.length > 0) rows[i]!.listing = summarize(each);
        const xdp = tracks.find(({ kind }) => kind.name === ROUTER.xdp);
        const most = FLOW_COUNTS.at(-1)!;
        if (xdp) rows[tracks.indexOf(xdp)]!.full = await measureFullCosts(xdp, most, rounds);
        return rows;
      }),
    ROOM,
  );
}

/** Also a signal that ends the bench puts the limits back. */
async function withRoom<T>(work: () => Promise<T>): Promise<T> {
  const teardown = Teardown.create();
  try {
    teardown.defer("Netfilter's limits", borrow(LIMITS));
    return await work();
  } finally {
    await teardown.run();
  }
}
