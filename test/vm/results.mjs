// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The table of what runs on which kernel: as text, and in docs/kernels.md between two marks. Rows of kernels that
// a run was not about stay as they are.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';

const BEGIN = '<!-- matrix: written by `test/vm/run --record` -->';
const END = '<!-- matrix: end -->';
const COLUMNS = ['kernel', 'flavour', 'hooks', 'tests passed', 'instructions per program', 'load time'];

/** A row of what a guest has written into results.json; facts that no test has told are a dash. */
function row({ kernel, facts, files }) {
  const sum = (key) => files.reduce((total, file) => total + file[key], 0);
  const skipped = files.reduce((total, file) => total + file.skipped.length, 0);
  const tests = [`${sum('passed')} of ${sum('passed') + sum('failed')}`, ...(skipped ? [`${skipped} skipped`] : [])];
  const programs = Object.entries(facts.instructions ?? {}).sort(([, left], [, right]) => right - left);
  return [
    kernel,
    facts.flavour ?? '–',
    facts.hooks?.join(', ') ?? '–',
    tests.join(', '),
    programs.length ? `${programs.length} programs, at most ${programs[0][1]} (${programs[0][0]})` : '–',
    facts.loadMs === undefined ? '–' : `${Math.round(facts.loadMs)} ms`,
  ];
}

/** 4.19.108 and 4.19.325 are one row, and so are Debian's 6.1.0-56-amd64 and 6.1.0-57-amd64. */
function series(kernel) {
  return /^\d+\.\d+/.exec(kernel)?.[0] ?? kernel;
}

function bySeries([left], [right]) {
  const [leftMajor, leftMinor] = series(left).split('.').map(Number);
  const [rightMajor, rightMinor] = series(right).split('.').map(Number);
  return leftMajor - rightMajor || leftMinor - rightMinor;
}

/** The results as a table in columns, for a terminal. */
export function resultsTable(results) {
  const rows = [COLUMNS, ...results.map(row).sort(bySeries)];
  const widths = COLUMNS.map((_, column) => Math.max(...rows.map((cells) => cells[column].length)));
  return rows.map((cells) => cells.map((cell, column) => cell.padEnd(widths[column])).join('  ').trimEnd()).join('\n');
}

/**
 * Puts the results into the table between the marks of a document.
 *
 * @returns {string[]} the kernels whose rows are of an earlier run
 * @throws {Error} if it has no marks
 */
export function recordResults(path, results) {
  const text = existsSync(path) ? readFileSync(path, 'utf8') : '';
  const [begin, end] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (begin < 0 || end < begin) throw new Error(`${path} has no place for the table: it needs the lines ${BEGIN} and ${END}`);
  const old = text
    .slice(begin + BEGIN.length, end)
    .split('\n')
    .filter((line) => /^\| \d/.test(line))
    .map((line) => line.slice(2, -2).split(' | '));
  const fresh = results.map(row);
  const replaced = new Set(fresh.map(([kernel]) => series(kernel)));
  const kept = old.filter(([kernel]) => !replaced.has(series(kernel)));
  const rows = [...kept, ...fresh].sort(bySeries);
  const table = [COLUMNS, COLUMNS.map(() => '---'), ...rows].map((cells) => `| ${cells.join(' | ')} |`).join('\n');
  const names = kept.map(([kernel]) => kernel);
  const note = names.length > 0 ? `\nOf an earlier run than the others: ${names.join(', ')}.\n` : '';
  writeFileSync(path, `${text.slice(0, begin)}${BEGIN}\n\n${table}\n${note}\n${text.slice(end)}`);
  return names;
}
