// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What stands around the items of a listing that is written while it is made. */

/** How one kind of thing is written. */
export interface Formatter<T> {
  readonly text: (item: T) => string;
  /** JSON on one line. */
  readonly json: (item: T) => string;
}

export interface Frame {
  readonly begin: string;
  readonly between: string;
  readonly end: string;
  /** In place of all that, if there are no items. */
  readonly empty: string;
}

/** A line for each item. */
export const LINES: Frame = { begin: '', between: '\n', end: '\n', empty: '' };

/** A JSON array with an item on each line. */
export const ARRAY: Frame = { begin: '[\n', between: ',\n', end: '\n]\n', empty: '[]\n' };

/** Characters in a chunk: large enough to make the cost of a write vanish. */
const CHUNK = 64 * 1024;

/** The listing's text, in chunks. */
export function* framed<T>(
  items: Iterable<T>,
  format: (item: T) => string,
  { begin, between, end, empty }: Frame,
): Generator<string, void, undefined> {
  let chunk = '';
  let before = begin;
  let count = 0;
  for (const item of items) {
    chunk += before + format(item);
    before = between;
    count++;
    if (chunk.length < CHUNK) continue;
    yield chunk;
    chunk = '';
  }
  yield chunk + (count === 0 ? empty : end);
}
