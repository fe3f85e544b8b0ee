// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a flow's first packet costs: without a translation, with one that keeps the port, and with one that has to
// look for a port because the flow's own is taken, as nearly all ports toward that destination are.
import type { Network } from '../helpers/datapath/step.js';
import { Bench, inTurn, OUT, SYN, TCP, UDP } from './bench.js';
import type { BenchRequest } from './bench-request.js';
import { interleave, type Summary, type Variant } from './statistics.js';

/** 90 % of the ports 1024 to 65535. */
const PORTS_USED = Math.round(64_512 * 0.9);
const SERVERS = 8;
/** 90 % of the ports toward each of the servers. */
const FLOWS = PORTS_USED * SERVERS;
const ROUNDS = 9;
/** New flows a reading: the share of used ports grows by 1 % in all readings. */
const BATCH = Math.floor((64_512 * SERVERS * 0.01) / (ROUNDS + 1));

export interface NewFlowRow {
  name: string;
  cost: Summary;
}

/** A datapath without translation and one with it, and what their new flows cost. */
class NewFlows {
  readonly #tracking: Bench;
  readonly #translating: Bench;
  #made = FLOWS;
  #clients = 0;

  constructor(network: Network, flavour: string, proto: number, objects?: string) {
    const options = { flavour, ...(objects !== undefined && { objects }) };
    this.#tracking = new Bench(network, { ...options, translates: false });
    this.#translating = new Bench(network, { ...options, translates: true });
    for (const bench of [this.#tracking, this.#translating]) bench.fill(FLOWS, proto, PORTS_USED);
  }

  close(): void {
    this.#tracking.close();
    this.#translating.close();
  }

  variants(name: string, begin: Partial<BenchRequest>): Variant[] {
    const unused = (bench: Bench) => (): number => {
      const request = inTurn({ ...begin, ports: PORTS_USED }, this.#made);
      this.#made += BATCH;
      return bench.run('bench_hook', request, BATCH);
    };
    const taken = (): number => {
      this.#clients += 1 << 22; // hosts that have not sent before
      const request = { ...begin, flows: FLOWS, ports: PORTS_USED, clients: this.#clients };
      return this.#translating.run('bench_hook', request, BATCH);
    };
    const reached = (): number =>
      this.#tracking.run('bench_hook', inTurn({ ...begin, hook: 2, ports: PORTS_USED }, this.#made), BATCH);
    return [
      { name: 'making the packet and reaching a hook', read: reached },
      { name: `new ${name} flow, not translated`, read: unused(this.#tracking) },
      { name: `new ${name} flow, translated, port kept`, read: unused(this.#translating) },
      { name: `new ${name} flow, translated, 90 % of the ports in use`, read: taken },
    ];
  }
}

/**
 * Ns a new flow in a table of half a million, each reading of flows that the others have not made. `before`: folder
 * of the object files of another build, whose rows come first, read in turn with this one's.
 */
export function measureNewFlows(network: Network, flavour: string, before?: string): NewFlowRow[] {
  const rows: NewFlowRow[] = [];
  for (const [proto, name, begin] of [
    [UDP, 'UDP', { ...OUT, proto: UDP }],
    [TCP, 'TCP', { ...OUT, proto: TCP, tcpFlags: SYN, seq: 1000 }],
  ] as const) {
    const builds: NewFlows[] = [];
    try {
      if (before !== undefined) builds.push(new NewFlows(network, flavour, proto, before));
      builds.push(new NewFlows(network, flavour, proto));
      const variants = builds.flatMap((build, i) =>
        build.variants(builds.length > 1 && i === 0 ? `(before) ${name}` : name, begin),
      );
      const summaries = [...interleave(variants, ROUNDS)];
      const bare = summaries[0]![1].median;
      for (const [row, cost] of summaries)
        if (row !== summaries[0]![0]) rows.push({ name: row, cost: { ...cost, median: cost.median - bare } });
    } finally {
      for (const build of builds) build.close();
    }
  }
  return rows;
}
