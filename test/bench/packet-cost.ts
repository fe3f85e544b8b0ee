// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a packet of a known flow costs in the datapath, by BPF_PROG_TEST_RUN. Each run is a packet of a flow
// picked at random, so that with many flows look-ups miss the caches as they do in the field.
import type { Network } from '../helpers/datapath/step.js';
import {
  ACK,
  BACK,
  Bench,
  CLIENT_ACK,
  type Family,
  inTurn,
  OUT,
  SERVER_ACK,
  SLOTS,
  SYN,
  TCP,
  UDP,
} from './bench.js';
import type { BenchRequest } from './bench-request.js';
import { interleave, type Summary, type Variant } from './statistics.js';

const REPEAT = 200_000;
const ROUNDS = 9;

/** Names of the rows that others are compared with. */
export const ROW = {
  made: 'making the packet',
  reached: 'making the packet and reaching a hook',
  bare: 'parsing and one hash look-up',
} as const;

export interface CostRow {
  name: string;
  /** What a packet costs besides: this row's costs are to be subtracted. Left out: nothing. */
  besides?: string;
  /** The row without translation that this one is the translated case of. */
  tracked?: string;
  /** ns a packet, by the number of flows. */
  costs: Map<number, Summary>;
}

interface Shape {
  name: string;
  besides?: string;
  tracked?: string;
  read: () => number;
}

interface Pair {
  tracking: Bench;
  translating: Bench;
}

const ESTABLISHED = [
  { name: 'UDP out (egress)', proto: UDP, request: OUT },
  { name: 'UDP back (ingress)', proto: UDP, request: BACK },
  { name: 'TCP out (egress)', proto: TCP, request: { ...OUT, ...CLIENT_ACK } },
  { name: 'TCP back (ingress)', proto: TCP, request: { ...BACK, ...SERVER_ACK } },
];

function shapes({ tracking, translating }: Pair, proto: number, flows: number, prefix: string): Shape[] {
  const random = { flows, proto };
  const hook = (bench: Bench, request: Partial<BenchRequest>) => (): number =>
    bench.run('bench_hook', { ...random, ...request }, REPEAT);
  const found: Shape[] = [];
  for (const { name, request } of ESTABLISHED.filter((entry) => entry.proto === proto)) {
    const tracked = `${prefix}tracked ${name}`;
    found.push({ name: tracked, besides: ROW.reached, read: hook(tracking, request) });
    found.push({
      name: `${prefix}translated ${name}`,
      besides: ROW.reached,
      tracked,
      read: hook(translating, request),
    });
  }
  if (proto === TCP) {
    const miss = { ...OUT, tcpFlags: SYN | ACK, flows: SLOTS, reply: 0 };
    found.push({
      name: `${prefix}no flow, refused (egress)`,
      besides: ROW.reached,
      read: hook(translating, miss),
    });
  }
  return found;
}

function common(bench: Bench, flows: number): Shape[] {
  const run =
    (program: string, request: Partial<BenchRequest> = {}) =>
    (): number =>
      bench.run(program, { flows, proto: UDP, ...request }, REPEAT);
  return [
    { name: 'empty program', read: run('bench_empty') },
    { name: ROW.made, read: run('bench_packet') },
    { name: ROW.reached, read: run('bench_hook', { hook: 2 }) },
    { name: 'parsing alone', besides: ROW.made, read: run('bench_parse') },
    { name: ROW.bare, besides: ROW.made, read: run('bench_lookup') },
  ];
}

function openPair(network: Network, flavour: string, family: Family, objects?: string): Pair {
  const options = { flavour, family, ...(objects && { objects }) };
  return {
    tracking: new Bench(network, { ...options, translates: false }),
    translating: new Bench(network, { ...options, translates: true }),
  };
}

/**
 * Cost of each kind of packet of one family at each number of flows, for one flavour.
 * @param before folder of other object files to measure in the same run
 */
export function measurePackets(
  network: Network,
  flavour: string,
  family: Family,
  sizes: readonly number[],
  before?: string,
): CostRow[] {
  const rows = new Map<string, CostRow>();
  for (const flows of sizes) {
    for (const proto of [UDP, TCP]) {
      const pairs: [prefix: string, pair: Pair][] = [['', openPair(network, flavour, family)]];
      if (before) pairs.push(['before: ', openPair(network, flavour, family, before)]);
      const benches = pairs.flatMap(([, { tracking, translating }]) => [tracking, translating]);
      try {
        for (const bench of benches) bench.fill(flows, proto);
        const [first] = benches;
        first!.run('bench_insert', inTurn({ proto: UDP }), flows);
        const all = [
          ...common(first!, flows),
          ...pairs.flatMap(([prefix, pair]) => shapes(pair, proto, flows, prefix)),
        ];
        note(rows, all, flows, interleave(all satisfies Variant[], ROUNDS));
      } finally {
        for (const bench of benches) bench.close();
      }
    }
  }
  return [...rows.values()];
}

function note(
  rows: Map<string, CostRow>,
  all: readonly Shape[],
  flows: number,
  summaries: Map<string, Summary>,
): void {
  for (const { name, besides, tracked } of all) {
    const row = rows.get(name) ?? {
      name,
      ...(besides && { besides }),
      ...(tracked && { tracked }),
      costs: new Map(),
    };
    row.costs.set(flows, summaries.get(name)!); // of the common rows the last reading counts
    rows.set(name, row);
  }
}
