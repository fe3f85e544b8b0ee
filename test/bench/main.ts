// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `make bench`: measures, and prints tables in markdown. Figures are of this machine and this run; compare
// rows of one table, not tables of two runs. --before measures the object files of another build beside this
// one's, --beside the routers of another checkout that was built, whose tables may look different.
//
//   node dist/test/bench/main.js [--flavour NAME] [--flows N,N,...] [--family 4|6]
//     [--only forward|flows|talks|packets|memory|new|cli] [--before DIR] [--beside DIR] [--rounds N] [--plot FILE.svg]
import { writeFileSync } from 'node:fs';
import { parseArgs } from 'node:util';
import { flavours } from '../helpers/datapath/load.js';
import { enterRouter } from '../helpers/datapath/network.js';
import type { Network } from '../helpers/datapath/step.js';
import { Teardown } from '../helpers/teardown.js';
import { TARGETS } from './aims.js';
import { mend } from './borrowed.js';
import { type CommandCost, measureCommand } from './cli-cost.js';
import { measureForwarding } from './forwarding.js';
import { FullTable } from './full-table.js';
import { machineFacts } from './machine.js';
import { measureManyFlows } from './many-flows.js';
import { digits, percent, table } from './markdown.js';
import { measureMemory } from './memory-cost.js';
import { measureNewFlows, type NewFlowRow } from './new-flow-cost.js';
import { type CostRow, measurePackets, ROW } from './packet-cost.js';
import { plotManyFlows, printForwarding, printManyFlows, printTalks } from './print-routers.js';
import { routersWith } from './routers.js';
import { summarize } from './statistics.js';
import { measureTalks } from './talks.js';
import { Figures, targetTable } from './targets.js';

const MILLION = 1_000_000;
const RUNS = 5;
const MEMORY_FLOWS = 1 << 18;

const { values: options } = parseArgs({
  options: {
    flavour: { type: 'string' },
    flows: { type: 'string', default: `1000,100000,${MILLION}` },
    only: { type: 'string' },
    family: { type: 'string' },
    before: { type: 'string' },
    beside: { type: 'string' },
    rounds: { type: 'string', default: '5' },
    plot: { type: 'string' },
  },
});

function printPackets(title: string, rows: readonly CostRow[], sizes: readonly number[]): void {
  const named = (name: string): CostRow => rows.find((row) => row.name === name)!;
  const net = ({ costs, besides }: CostRow, size: number): number =>
    costs.get(size)!.median - (besides ? named(besides).costs.get(size)!.median : 0);
  const cell = (row: CostRow, size: number): string => {
    const { spread } = row.costs.get(size)!;
    const cost = `${digits(net(row, size))} ±${percent(spread)}`;
    if (!row.besides) return cost;
    const multiple = `${digits(net(row, size) / net(named(ROW.bare), size), 2)}×`;
    const nat = row.tracked && `, NAT ${digits(net(row, size) / net(named(row.tracked), size))}×`;
    return `${cost} (${multiple}${nat ?? ''})`;
  };
  const header = ['ns a packet', ...sizes.map((size) => `${size.toLocaleString('en')} flows`)];
  console.log(`\n## A packet's cost, ${title}\n`);
  console.log(
    table(
      header,
      rows.map((row) => [row.name, ...sizes.map((size) => cell(row, size))]),
    ),
  );
  console.log(
    `\nParsing and looking up without "${ROW.made}", what a hook does without "${ROW.reached}". In brackets as ` +
      'multiples of parsing and one look-up, and of the same packet of a flow that is not translated.',
  );
}

function printMemory(flavour: string): void {
  const rows = measureMemory(flavour, MEMORY_FLOWS);
  console.log(`\n## Kernel memory a flow, of ${MEMORY_FLOWS.toLocaleString('en')}\n`);
  console.log(
    table(
      ['bytes', 'slot, both directions', 'keys', 'hints', 'together'],
      rows.map(({ name, ...bytes }) => [name, ...Object.values(bytes).map((value) => value.toFixed(2))]),
    ),
  );
}

function printNewFlows(flavour: string, rows: readonly NewFlowRow[]): void {
  let tracked = 0;
  console.log(`\n## A new flow's first packet, flavour ${flavour}\n`);
  console.log(
    table(
      ['ns a packet', 'cost', 'to not translating'],
      rows.map(({ name, cost: { median, spread } }) => {
        if (name.endsWith('not translated')) tracked = median;
        return [name, `${digits(median)} ±${percent(spread)}`, `${digits(median / tracked)}×`];
      }),
    ),
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
  const teardown = Teardown.create();
  teardown.defer('the table of the commands', () => full.remove());
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
    await teardown.run();
  }
}

async function main(): Promise<void> {
  const undo: (() => unknown)[] = [];
  const sizes = options.flows.split(',').map(Number);
  const flavour = options.flavour ?? flavours().at(-1);
  if (!flavour) throw new Error('Cannot measure: nothing was built (run "make build")');
  try {
    for (const path of mend())
      console.error(`bench: ${path}: put back, which a run that was killed has left`);
    console.log(
      `# Bench\n\n${machineFacts()
        .map((fact) => `- ${fact}`)
        .join('\n')}`,
    );
    const wants = (part: string): boolean => options.only === undefined || options.only === part;
    const figures = new Figures();
    const rounds = Number(options.rounds);
    const routers = routersWith(options.beside);
    const missing = (name: string, why: string): void => console.log(`\n${name}: not measured, ${why}`);
    if (wants('forward')) printForwarding(await measureForwarding(routers, rounds, missing), rounds, figures);
    if (wants('flows')) {
      const rows = await measureManyFlows(routers, rounds, missing);
      printManyFlows(rows, rounds, figures);
      if (options.plot) writeFileSync(options.plot, plotManyFlows(rows));
    }
    if (wants('talks')) printTalks(await measureTalks(rounds, missing), rounds, figures);
    const network = await enterRouter({ teardown: (step: () => unknown) => void undo.push(step) } as never);
    for (const family of [4, 6] as const) {
      if (!wants('packets') || (options.family ?? `${family}`) !== `${family}`) continue;
      const rows = measurePackets(network, flavour, family, sizes, options.before);
      printPackets(`IPv${family}, flavour ${flavour}`, rows, sizes);
    }
    if (wants('memory')) printMemory(flavour);
    if (wants('new')) printNewFlows(flavour, measureNewFlows(network, flavour, options.before));
    if (wants('cli')) await printCli(network);
    console.log(`\n## What is aimed at\n\n${targetTable(TARGETS, figures)}`);
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
