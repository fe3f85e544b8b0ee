// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `make bench`: measures, and prints tables in markdown. Figures are of this machine and this run; compare
// rows of one table, not tables of two runs.
//
//   node dist/test/bench/main.js [--flavour NAME] [--flows N,N,...] [--only packets|cli]
import { parseArgs } from 'node:util';
import { flavours } from '../helpers/datapath/load.js';
import { enterRouter } from '../helpers/datapath/network.js';
import type { Network } from '../helpers/datapath/step.js';
import { type CommandCost, measureCommand } from './cli-cost.js';
import { FullTable } from './full-table.js';
import { machineFacts } from './machine.js';
import { digits, percent, table } from './markdown.js';
import { type CostRow, measurePackets } from './packet-cost.js';
import { summarize } from './statistics.js';

const MILLION = 1_000_000;
const RUNS = 5;

const { values: options } = parseArgs({
  options: {
    flavour: { type: 'string' },
    flows: { type: 'string', default: `1000,100000,${MILLION}` },
    only: { type: 'string' },
  },
});

function printPackets(flavour: string, rows: readonly CostRow[], sizes: readonly number[]): void {
  const made = rows.find(({ name }) => name === 'making the packet')!;
  const bare = rows.find(({ name }) => name === 'parsing and one hash look-up')!;
  const net = (row: CostRow, size: number): number =>
    row.costs.get(size)!.median - made.costs.get(size)!.median;
  const cell = (row: CostRow, size: number): string => {
    const { median, spread, readings } = row.costs.get(size)!;
    const trust = readings > 1 ? ` ±${percent(spread)}` : '';
    if (!row.name.startsWith('ctnat') && row !== bare) return `${digits(median)}${trust}`;
    return `${digits(net(row, size))}${trust} (${digits(net(row, size) / net(bare, size), 2)}×)`;
  };
  const header = ['ns a packet', ...sizes.map((size) => `${size.toLocaleString('en')} flows`)];
  console.log(`\n## A packet's cost, flavour ${flavour}\n`);
  console.log(
    table(
      header,
      rows.map((row) => [row.name, ...sizes.map((size) => cell(row, size))]),
    ),
  );
  console.log(
    '\nLook-ups and ctnat without what making the packet costs; in brackets as multiples of parsing and one look-up.',
  );
}

async function repeated(name: string, limit: string, argv: readonly string[]): Promise<string[]> {
  const costs: CommandCost[] = [];
  for (let i = 0; i < RUNS; i++) costs.push(await measureCommand(argv));
  const { median, spread } = summarize(costs.map(({ seconds }) => seconds));
  const peak = Math.max(...costs.map(({ peakMb }) => peakMb));
  return [name, `${digits(median)} ±${percent(spread)}`, digits(peak), String(costs[0]!.lines), limit];
}

async function printCli(network: Network): Promise<void> {
  const full = new FullTable();
  try {
    await full.attach(1 << 20);
    const rows = [
      await repeated('bpf ct list global, empty table', '0.25 s', full.argv('bpf', 'ct', 'list', 'global')),
    ];
    full.fill(network, MILLION);
    rows.push(
      await repeated(
        'bpf ct list global -o jsonl',
        '5 s, 300 MB',
        full.argv('bpf', 'ct', 'list', 'global', '-o', 'jsonl'),
      ),
    );
    rows.push(await repeated('gc, nothing expired', '0.5 s', full.argv('gc')));
    console.log(`\n## Commands, with ${MILLION.toLocaleString('en')} flows unless said otherwise\n`);
    console.log(table(['command', 'seconds', 'peak MB', 'lines', 'aim'], rows));
  } finally {
    await full.remove();
  }
}

async function main(): Promise<void> {
  const undo: (() => unknown)[] = [];
  const sizes = options.flows.split(',').map(Number);
  const flavour = options.flavour ?? flavours().at(-1);
  if (!flavour) throw new Error('Cannot measure: nothing was built (run "make build")');
  try {
    console.log(
      `# Bench\n\n${machineFacts()
        .map((fact) => `- ${fact}`)
        .join('\n')}`,
    );
    const network = await enterRouter({ teardown: (step: () => unknown) => void undo.push(step) } as never);
    if (options.only !== 'cli') printPackets(flavour, measurePackets(network, flavour, sizes), sizes);
    if (options.only !== 'packets') await printCli(network);
  } finally {
    for (const step of undo.reverse()) await step();
  }
}

try {
  await main();
} catch (error) {
  console.error(`bench: ${error instanceof Error ? error.message : error}`);
  process.exitCode = 1;
}
