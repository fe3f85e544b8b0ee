// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Judges docs/rfc-compliance.md (or the file named): every row says yes, no or n/a, a no and an n/a say why, and every yes
// names tests that are in the sources. Prints what is wrong, a line each, and exits 1.
import { existsSync, readFileSync } from 'node:fs';
import { pathToFileURL } from 'node:url';

export const DOCUMENT = 'docs/rfc-compliance.md';

/**
 * @typedef {{ line: number, rfc: string, item: string, answer: string, why: string, tests: { file: string, title: string }[] }} Row
 */

/** The rows of all tables. @returns {Row[]} */
export function readRows(text) {
  const rows = [];
  let rfc = '';
  for (const [i, line] of text.split('\n').entries()) {
    if (line.startsWith('## ')) rfc = line.slice(3).split(':')[0];
    const cells = line.startsWith('|') ? line.split('|').map((cell) => cell.trim()).slice(1, -1) : [];
    if (cells.length === 0 || cells[0] === 'item' || /^-+$/.test(cells[0])) continue;
    const [item, , , answer, why = '', shown = ''] = cells;
    const tests = [...shown.matchAll(/`(\S+\.test\.ts): ([^`]+)`/g)].map(([, file, title]) => ({ file, title }));
    rows.push({ line: i + 1, rfc, item, answer, why, tests, isWhole: cells.length === 6 });
  }
  return rows;
}

/** What is wrong with the rows, without running anything. */
export function faults(rows) {
  const found = [];
  if (rows.length === 0) found.push('no row was found');
  for (const row of rows) {
    const where = `line ${row.line}: ${row.rfc} ${row.item}`;
    if (!row.isWhole) found.push(`${where} has not six cells`);
    else if (!['yes', 'no', 'n/a'].includes(row.answer)) found.push(`${where} says neither yes, no nor n/a`);
    else if (row.answer === 'yes' && row.tests.length === 0) found.push(`${where} says yes and names no test`);
    else if (row.answer === 'n/a' && !row.why) found.push(`${where} says n/a and not why`);
    for (const { file, title } of row.answer === 'yes' ? row.tests : []) {
      if (!existsSync(file)) found.push(`${where} names ${file}, which is not there`);
      else if (!hasTitle(readFileSync(file, 'utf8'), title) && !isPutTogether(file, title))
        found.push(`${where} names a test that ${file} has not: ${title}`);
    }
  }
  return found;
}

/** Whether a text of the source can be the title: as it stands, or a template with something in its places. */
function hasTitle(source, title) {
  if (["'", '"', '`'].some((quote) => source.includes(quote + title.replaceAll("'", quote === "'" ? "\\'" : "'") + quote)))
    return true;
  return [...source.matchAll(/`([^`\n]*\$\{[^`\n]*)`/g)].some(([, template]) => {
    const parts = template.split(/\$\{[^}]*\}/);
    if (parts.join('').length < 8) return false;
    return new RegExp(`^${parts.map((part) => part.replace(/[.*+?^${}()|[\]\\/]/g, '\\$&')).join('.+')}$`).test(title);
  });
}

/** The scenarios of TCP are written down once, for the machine and for the comparison with Netfilter. */
function isPutTogether(file, title) {
  return file === 'test/e2e/tcp-netfilter.test.ts' && hasTitle(readFileSync('test/helpers/tcp/rules.ts', 'utf8'), title);
}

if (import.meta.url === pathToFileURL(process.argv[1] ?? '').href) {
  const found = faults(readRows(readFileSync(process.argv[2] ?? DOCUMENT, 'utf8')));
  for (const fault of found) console.log(fault);
  process.exitCode = found.length > 0 ? 1 : 0;
}
