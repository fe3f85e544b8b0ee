// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The tables about whole routers. What is printed goes into the run's figures as well, by which ratios are made.
import { FULL, flowsName, listingName, rateName, talkName } from './aims.js';
import { type ForwardingRow, LOADS, type LoadName } from './forwarding.js';
import type { FullCosts } from './full-costs.js';
import { FLOW_COUNTS, type ManyFlowsRow } from './many-flows.js';
import { digits, percent, table } from './markdown.js';
import { plot } from './plot.js';
import { ROUTER, type RouterName } from './routers.js';
import type { Summary } from './statistics.js';
import { TALK, type TalkRow } from './talks.js';
import type { Figures } from './targets.js';

const MILLION = 1_000_000;
/** Those that others are compared with. */
const REFERENCES = [ROUTER.plain, ROUTER.nftables, ROUTER.bare] as const;

const spread = ({ median, spread }: Summary, unit = 1): string =>
  `${digits(median / unit)} ±${percent(spread)}`;

/** A table for each load, and one of the rates of Lencse and Shima. */
export function printForwarding(rows: readonly ForwardingRow[], rounds: number, figures: Figures): void {
  const loads = Object.keys(LOADS) as LoadName[];
  for (const load of loads) {
    for (const { name, rates } of rows) figures.set(rateName(load, name), rates.get(load)!.median);
    const ratio = (of: RouterName, to: RouterName): string => {
      const value = figures.ratio(rateName(load, of), rateName(load, to));
      return value === undefined ? 'not measured' : digits(value);
    };
    console.log(`\n## Packets through a router: ${load}; ${rounds} readings\n`);
    console.log(
      table(
        [
          'million packets a second',
          'delivered',
          'CPU ns a packet',
          ...REFERENCES.map((name) => `to ${name}`),
        ],
        rows.map(({ name, rates, cpu }) => [
          name,
          spread(rates.get(load)!, MILLION),
          spread(cpu.get(load)!, 1e-9),
          ...REFERENCES.map((other) => ratio(name, other)),
        ]),
      ),
    );
  }
  console.log(`\n## Stateful rates; ${rounds} readings\n`);
  console.log(
    table(
      ['a second', 'connections established', 'packets, throughput', 'connections torn down'],
      rows.map(({ name, rates, teardown }) => [
        name,
        Math.round(rates.get('64 bytes, each a new flow')!.median).toLocaleString('en'),
        Math.round(rates.get('64 bytes, established')!.median).toLocaleString('en'),
        teardown ? Math.round(teardown.median).toLocaleString('en') : '',
      ]),
    ),
  );
  console.log(
    '\nCPU: what all CPUs were busy with, the sender and the sink included. Torn down: by `conntrack -F` or ' +
      '`ctnat bpf ct flush global`, less what that takes of an empty table.',
  );
  for (const { name, lost } of rows) if (lost > 0) console.log(`\n${name}: ${lost} packets lost`);
}

export function printManyFlows(rows: readonly ManyFlowsRow[], rounds: number, figures: Figures): void {
  for (const { name, rates, listing, full } of rows) {
    for (const [flows, { median }] of rates) figures.set(flowsName(flows, name), median);
    if (listing) figures.set(listingName(name), listing.median);
    if (!full) continue;
    figures.set(FULL.sweep, full.sweepSeconds);
    figures.set(FULL.sweepLoss, full.sweepLoss);
    figures.set(FULL.agentCpu, full.agentCpu);
    figures.set(FULL.agentMb, full.agentMb);
  }
  console.log(`\n## Packets over flows, 64 bytes, flows in random order; ${rounds} readings\n`);
  console.log(
    table(
      ['million packets a second', ...FLOW_COUNTS.map((flows) => flows.toLocaleString('en'))],
      rows.map(({ name, rates }) => [
        name,
        ...FLOW_COUNTS.map((flows) => spread(rates.get(flows)!, MILLION)),
      ]),
    ),
  );
  const most = FLOW_COUNTS.at(-1)!.toLocaleString('en');
  console.log(`\n## Listing ${most} flows\n`);
  const listed = rows.filter(({ listing }) => listing);
  console.log(
    table(
      ['', 'seconds'],
      listed.map(({ name, listing }) => [name, spread(listing!)]),
    ),
  );
  for (const { name, full } of rows) if (full) printFull(name, most, full);
}

/** Packets beside sweeps, and beside a loop that does nothing: the difference is the sweeps' own. */
function printFull(name: string, flows: string, { sweepLoss, loopLoss }: FullCosts): void {
  console.log(
    `\n${name}, fewer packets while ${flows} flows are swept, one sweep behind the other: ${percent(sweepLoss)}; while ` +
      `a loop that does nothing keeps the other processor busy: ${percent(loopLoss)}.`,
  );
}

/** Of the same rows, as SVG. */
export function plotManyFlows(rows: readonly ManyFlowsRow[]): string {
  const lines = rows.map(({ name, rates }) => ({
    name,
    points: FLOW_COUNTS.map((flows) => [flows, rates.get(flows)!.median / MILLION] as const),
  }));
  return plot(lines, {
    title: 'Packets of 64 bytes through a router',
    xLabel: 'flows',
    yLabel: 'million packets a second',
  });
}

export function printTalks(rows: readonly TalkRow[], rounds: number, figures: Figures): void {
  for (const { name, figures: own } of rows)
    for (const [talk, { median }] of own) figures.set(talkName(talk, name), median);
  const talks = Object.values(TALK);
  console.log(`\n## Between two hosts; ${rounds} readings\n`);
  console.log(
    table(
      ['', ...talks],
      rows.map(({ name, figures: own }) => [name, ...talks.map((talk) => spread(own.get(talk)!))]),
    ),
  );
  for (const { name, failed } of rows) if (failed > 0) console.log(`\n${name}: ${failed} failed`);
}
