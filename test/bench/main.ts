// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `make bench`: measures and prints a table with the machine's facts. Judges nothing: a figure above its limit is
// marked, on a busy machine it says little.
// usage: node main.js [NAME...], names of suites; all by default
import { tableText } from '../../src/cli/table.js';
import { type Figure, HEAD, NUMBERS, row } from './figure.js';
import { machineFacts } from './machine.js';
import { measureTables } from './tables.js';

type Suite = (progress: (what: string) => void) => Promise<Figure[]>;

const SUITES: Readonly<Record<string, Suite>> = { tables: measureTables };

const asked = process.argv.slice(2);
const unknown = asked.filter((name) => !(name in SUITES));
if (unknown.length > 0) {
  console.error(`bench: no suite ${unknown.join(', ')}; there is ${Object.keys(SUITES).join(', ')}`);
  process.exit(2);
}

const facts = machineFacts();
const figures: Figure[] = [];
for (const [name, suite] of Object.entries(SUITES)) {
  if (asked.length > 0 && !asked.includes(name)) continue;
  figures.push(...(await suite((what) => console.error(`==> ${what}`))));
}
console.log(facts.join('\n'));
console.log();
process.stdout.write(
  tableText(HEAD, figures.map(row), { numbers: NUMBERS, colour: process.stdout.isTTY === true }),
);
