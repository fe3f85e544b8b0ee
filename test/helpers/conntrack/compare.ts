// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Two outcomes of one command, made comparable: flows come in any order, ids are the table's own, and a second may
// have passed between the two.
import type { Outcome } from './real.js';

/** What stands for a timeout; the numbers themselves are compared apart. */
const TIMEOUTS = [
  /^((?: *\[\w+\] )?(?:ipv[46] +\d+ )?\w+ +\d+ )(\d+)( )/,
  /( -t )(\d+)( )/,
  /(<timeout>)(\d+)(<)/,
];

/** The table's own ids, and times of day. */
const TIMES: readonly (readonly [pattern: RegExp, name: string])[] = [
  [/\bid=\d+/, 'id=ID'],
  [/<id>\d+</, '<id>ID<'],
  [/^\[\d{10}\.\d{6}\]\t(.*)/, '$1 [TIME]'],
  [/\[start=\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]/, '[start=TIME]'],
  [/\[stop=\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]/, '[stop=TIME]'],
  [/delta-time=\d+/, 'delta-time=N'],
  [/<start>\d{19}</, '<start>TIME<'],
  [/<stop>\d{19}</, '<stop>TIME<'],
  [/<deltatime>\d+</, '<deltatime>N<'],
  [/<when>(<(hour|min|sec|wday|day|month|year)>\d+<\/\2>){7}<\/when>/, '<when/>'],
];

export interface Comparable {
  status: number;
  stderr: string;
  /** Sorted. */
  lines: string[];
  /** Of the lines, in their order. */
  timeouts: number[];
}

export function comparable({ status, stdout, stderr }: Outcome): Comparable {
  const rows = stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      let timeout = 0;
      let text = TIMES.reduce((text, [pattern, name]) => text.replace(pattern, name), line);
      for (const pattern of TIMEOUTS) {
        text = text.replace(pattern, (_, before: string, seconds: string, behind: string) => {
          timeout = Number(seconds);
          return `${before}TIMEOUT${behind}`;
        });
      }
      return { text, timeout };
    })
    .sort((a, b) => (a.text < b.text ? -1 : a.text > b.text ? 1 : 0));
  return {
    status,
    stderr,
    lines: rows.map(({ text }) => text),
    timeouts: rows.map(({ timeout }) => timeout),
  };
}

/** Whether all timeouts are no further apart than a slow machine explains. */
export function areNear(a: readonly number[], b: readonly number[], seconds: number): boolean {
  return a.length === b.length && a.every((value, i) => Math.abs(value - b[i]!) <= seconds);
}
