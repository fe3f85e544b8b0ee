// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a flow's first packet costs: without a translation, with one that keeps the port, and with one that has to
// look for a port because the flow's own is taken, as nearly all ports toward that destination are.
import type { Network } from '../helpers/datapath/step.js';
import { Bench, inTurn, OUT, SYN, TCP, UDP } from './bench.js';
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

/** Ns a new flow in a table of half a million, each reading of flows that the others have not made. */
export function measureNewFlows(network: Network, flavour: string): NewFlowRow[] {
  const rows: NewFlowRow[] = [];
  for (const [proto, name, begin] of [
    [UDP, 'UDP', { ...OUT, proto: UDP }],
    [TCP, 'TCP', { ...OUT, proto: TCP, tcpFlags: SYN, seq: 1000 }],
  ] as const) {
    const tracking = new Bench(network, { flavour, translates: false });
    const translating = new Bench(network, { flavour, translates: true });
    try {
      for (const bench of [tracking, translating]) bench.fill(FLOWS, proto, PORTS_USED);
      let made = FLOWS;
      let clients = 0;
      const unused = (bench: Bench) => (): number => {
        const request = inTurn({ ...begin, ports: PORTS_USED }, made);
        made += BATCH;
        return bench.run('bench_hook', request, BATCH);
      };
      const taken = (): number => {
        clients += 1 << 22; // hosts that have not sent before
        return translating.run('bench_hook', { ...begin, flows: FLOWS, ports: PORTS_USED, clients }, BATCH);
      };
      const reached = (): number =>
        tracking.run('bench_hook', inTurn({ ...begin, hook: 2, ports: PORTS_USED }, made), BATCH);
      const variants: Variant[] = [
        { name: 'making the packet and reaching a hook', read: reached },
        { name: `new ${name} flow, not translated`, read: unused(tracking) },
        { name: `new ${name} flow, translated, port kept`, read: unused(translating) },
        { name: `new ${name} flow, translated, 90 % of the ports in use`, read: taken },
      ];
      const summaries = [...interleave(variants, ROUNDS)];
      const bare = summaries[0]![1].median;
      for (const [row, cost] of summaries.slice(1))
        rows.push({ name: row, cost: { ...cost, median: cost.median - bare } });
    } finally {
      tracking.close();
      translating.close();
    }
  }
  return rows;
}
