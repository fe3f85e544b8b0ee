// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Tables as docs/ carries them.

/** A markdown table, columns padded to one width; numbers to the right. */
export function table(header: readonly string[], rows: readonly (readonly string[])[]): string {
  const widths = header.map((cell, i) => Math.max(cell.length, ...rows.map((row) => row[i]!.length), 3));
  const line = (cells: readonly string[]): string =>
    `| ${cells.map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!))).join(' | ')} |`;
  const rule = widths.map((width, i) => (i === 0 ? '-'.repeat(width) : `${'-'.repeat(width - 1)}:`));
  return [line(header), line(rule), ...rows.map(line)].join('\n');
}

/** A number with so many significant digits, without an exponent. */
export function digits(value: number, count = 3): string {
  if (value === 0 || !Number.isFinite(value)) return String(value);
  const decimals = Math.max(0, count - 1 - Math.floor(Math.log10(Math.abs(value))));
  return value.toFixed(decimals);
}

export const percent = (share: number): string => `${Math.round(share * 100)} %`;
