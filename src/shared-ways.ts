// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Vouches to the programs that no way of a packet depends on its ports, so that all flows between two addresses share
 * what the kernel has answered within a timer tick (bpf/way.h). It is good for some seconds: who vouches does it again
 * before that, and looks at once when a rule comes.
 */
import { setImmediate } from 'node:timers/promises';
import { listRules } from 'libbpf-ts';
import { Datapath } from './datapath.js';
import { Layout } from './generated/layouts.gen.js';
import { netSysctl } from './sysctl.js';
import { nowTicks, TICK_MS } from './ticks.js';

/** At most what the programs believe. */
const GOOD_FOR_TICKS = Layout.WAYS_SHARED_TICKS >> 1;

/** Three times before it is over. */
const EVERY_MS = (GOOD_FOR_TICKS * TICK_MS) / 3;

/** For what is loaded below a pin path, by the network namespace that the process is in. */
export class SharedWays {
  readonly #pinPath: string;
  /** Whether a rule names ports; undefined: to be looked at. */
  #rulesNamePorts: boolean | undefined;
  #endPause: () => void = () => {};

  constructor(pinPath: string) {
    this.#pinPath = pinPath;
  }

  /** Rules have come or gone, or may have: looked at once what is told now has been read to its end. */
  rulesChanged(): void {
    this.#rulesNamePorts = undefined;
    this.#endPause();
  }

  /**
   * Vouches again and again, and takes it back at the end.
   * @throws NotAttachedError when somebody has purged what is loaded
   */
  async keep(until: AbortSignal): Promise<void> {
    try {
      while (!until.aborted) {
        this.#setUntil(this.#portsChooseNoWay() ? (nowTicks() + GOOD_FOR_TICKS) >>> 0 : 0);
        await this.#pause(until);
        await setImmediate(); // one look for a thousand rules that come at once
      }
    } finally {
      if (Datapath.isLoaded(this.#pinPath)) this.#setUntil(0);
    }
  }

  #pause(until: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      const end = (): void => {
        clearTimeout(timer);
        until.removeEventListener('abort', end);
        this.#endPause = () => {};
        resolve();
      };
      const timer = setTimeout(end, EVERY_MS);
      until.addEventListener('abort', end);
      this.#endPause = end;
    });
  }

  #setUntil(tick: number): void {
    using datapath = Datapath.open(this.#pinPath);
    datapath.maps.ways_shared.set(0, tick);
  }

  /**
   * Ports choose by rules that name some, and where a route has several next hops, by what is hashed of a packet:
   * fib_multipath_hash_policy. 0 are the addresses, with IPv6 also flow label and protocol, which ways tell apart.
   */
  #portsChooseNoWay(): boolean {
    const policies = ['ipv4', 'ipv6'].map((family) => netSysctl(`${family}/fib_multipath_hash_policy`) ?? 0);
    if (policies.some((policy) => policy !== 0)) return false;
    this.#rulesNamePorts ??= listRules().some((rule) => rule.sourcePorts ?? rule.destinationPorts);
    return !this.#rulesNamePorts;
  }
}
