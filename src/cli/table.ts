// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Tables for people: columns without frames, so that awk and eyes both find them. Colour only on a terminal. */
import Table from 'cli-table3';
import pc from 'picocolors';
import { printable } from '../errors.js';

const NO_FRAME = {
  top: '',
  'top-mid': '',
  'top-left': '',
  'top-right': '',
  bottom: '',
  'bottom-mid': '',
  'bottom-left': '',
  'bottom-right': '',
  left: '',
  'left-mid': '',
  mid: '',
  'mid-mid': '',
  right: '',
  'right-mid': '',
  middle: '  ',
};

export interface TableOptions {
  /** Columns of numbers, by index: set to the right. */
  readonly numbers?: readonly number[];
  readonly colour: boolean;
}

type Cell = string | number;

/** The table's text, a newline behind each row; without rows nothing. */
export function tableText(
  head: readonly string[],
  rows: readonly (readonly Cell[])[],
  options: TableOptions,
): string {
  if (rows.length === 0) return '';
  const colours = pc.createColors(options.colour);
  const table = new Table({
    head: head.map((title) => colours.bold(title)),
    chars: NO_FRAME,
    style: { head: [], border: [], 'padding-left': 0, 'padding-right': 0 },
    colAligns: head.map((_, i) => (options.numbers?.includes(i) ? 'right' : 'left')),
  });
  for (const row of rows) table.push(row.map((cell) => printable(String(cell))));
  const lines = table.toString().split('\n');
  return lines.map((line) => `${line.trimEnd()}\n`).join('');
}
