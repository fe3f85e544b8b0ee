// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What ctnat aims at, and the names under which a run keeps what it has measured of it.
import type { LoadName } from './forwarding.js';
import { ROUTER, type RouterName } from './routers.js';
import type { TalkName } from './talks.js';
import { TALK } from './talks.js';
import type { Target } from './targets.js';

export const rateName = (load: LoadName, router: RouterName): string => `${load}: ${router}`;
export const talkName = (talk: TalkName, router: RouterName): string => `${talk}: ${router}`;
export const flowsName = (flows: number, router: RouterName): string => `${flows} flows: ${router}`;
export const listingName = (router: RouterName): string => `listing: ${router}`;

/** Of a million flows, in a table that has no more room. */
export const FULL = {
  sweep: 'sweep, seconds',
  sweepLoss: 'fewer packets during a sweep',
  agentCpu: 'agent, CPUs',
  agentMb: 'agent, MB',
} as const;

const ESTABLISHED: LoadName = '64 bytes, established';
const NEW: LoadName = '64 bytes, each a new flow';

function rates(load: LoadName, what: string, of: RouterName, to: RouterName, bound: number): Target {
  return {
    figure: `${of}, ${what}, to ${to}`,
    bound,
    is: 'at least',
    measured: (figures) => figures.ratio(rateName(load, of), rateName(load, to)),
  };
}

export const TARGETS: readonly Target[] = [
  rates(ESTABLISHED, 'established flows', ROUTER.xdp, ROUTER.nftables, 2.6),
  rates(ESTABLISHED, 'established flows', ROUTER.xdp, ROUTER.bare, 0.75),
  rates(NEW, 'all new flows', ROUTER.xdp, ROUTER.nftables, 2.6),
  rates(ESTABLISHED, 'established flows', ROUTER.redirect, ROUTER.plain, 1),
  rates(NEW, 'all new flows', ROUTER.tc, ROUTER.nftables, 1.5),
  {
    figure: `${ROUTER.tc}, bulk TCP with GSO, to ${ROUTER.nftables}`,
    bound: 1,
    is: 'at least',
    measured: (figures) =>
      figures.ratio(talkName(TALK.bulk, ROUTER.tc), talkName(TALK.bulk, ROUTER.nftables)),
  },
  {
    figure: `${ROUTER.xdp} at 1,000,000 flows, to 1,000`,
    bound: 0.6,
    is: 'at least',
    measured: (figures) => figures.ratio(flowsName(1_000_000, ROUTER.xdp), flowsName(1000, ROUTER.xdp)),
  },
  {
    figure: 'bpf ct list global of 1,000,000 flows, to conntrack -L',
    bound: 0.6,
    is: 'at most',
    measured: (figures) => figures.ratio(listingName(ROUTER.tc), listingName(ROUTER.nftables)),
  },
  {
    figure: 'a sweep of 1,000,000 entries',
    bound: 0.3,
    is: 'at most',
    unit: 's',
    measured: (figures) => figures.get(FULL.sweep),
  },
  {
    figure: 'fewer packets meanwhile',
    bound: 0.03,
    is: 'at most',
    measured: (figures) => figures.get(FULL.sweepLoss),
  },
  {
    figure: 'agent, idle with 1,000,000 flows',
    bound: 0.01,
    is: 'at most',
    unit: 'CPU',
    measured: (figures) => figures.get(FULL.agentCpu),
  },
  {
    figure: 'its memory',
    bound: 120,
    is: 'at most',
    unit: 'MB',
    measured: (figures) => figures.get(FULL.agentMb),
  },
];
