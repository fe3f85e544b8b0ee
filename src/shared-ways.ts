// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Vouches to the programs that no way of a packet depends on its ports, so that all flows between two addresses share
 * what the kernel has answered within a timer tick (bpf/way.h). It is good for some seconds: who vouches does it again
 * before that, and looks at once when a rule comes.
 */
import { setTimeout } from 'node:timers/promises';
import { listRules } from 'libbpf-ts';
import { Datapath } from './datapath.js';
import { Layout } from './generated/layouts.gen.js';
import { netSysctl } from './sysctl.js';
import { nowTicks, TICK_MS } from './ticks.js';

/** At most what the programs believe. */
const GOOD_FOR_TICKS = Layout.WAYS_SHARED_TICKS >> 1;

/** Three times before it is over. */
const EVERY_MS = (GOOD_FOR_TICKS * TICK_MS) / 3;

/**
 * Vouches, or takes it back, by the rules and switches of the network namespace that the process is in.
 * @throws NotAttachedError
 */
export function vouchForWays(pinPath: string): void {
  setUntil(pinPath, portsChooseNoWay() ? (nowTicks() + GOOD_FOR_TICKS) >>> 0 : 0);
}

/** Vouches again and again, and takes it back at the end. */
export async function keepVouching(pinPath: string, until: AbortSignal): Promise<void> {
  try {
    while (!until.aborted) {
      vouchForWays(pinPath);
      await setTimeout(EVERY_MS, undefined, { signal: until }).catch(() => {});
    }
  } finally {
    if (Datapath.isLoaded(pinPath)) setUntil(pinPath, 0);
  }
}

function setUntil(pinPath: string, tick: number): void {
  using datapath = Datapath.open(pinPath);
  datapath.maps.ways_shared.set(0, tick);
}

/**
 * Ports choose by rules that name some, and where a route has several next hops, by what is hashed of a packet:
 * fib_multipath_hash_policy. 0 are the addresses, with IPv6 also flow label and protocol, which ways tell apart.
 */
function portsChooseNoWay(): boolean {
  const policies = ['ipv4', 'ipv6'].map((family) => netSysctl(`${family}/fib_multipath_hash_policy`) ?? 0);
  if (policies.some((policy) => policy !== 0)) return false;
  return listRules().every(({ sourcePorts, destinationPorts }) => !sourcePorts && !destinationPorts);
}
