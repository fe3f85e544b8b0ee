// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Prints results in the form that -o asks for. */
import { ARRAY, type Formatter, type Frame, framed, LINES } from '../frame.js';
import type { Context, OutputFormat } from './command.js';

export type { Formatter } from '../frame.js';

/** Streams many things: a line each, or one JSON array. */
export function printStream<T>(
  { out, format }: Context,
  items: Iterable<T>,
  as: Formatter<T>,
): Promise<void> {
  return out.chunks(framed(items, format === 'text' ? as.text : as.json, frameOf(format)));
}

/** What -o puts around the items of a listing. */
export function frameOf(format: OutputFormat): Frame {
  return format === 'json' ? ARRAY : LINES;
}

/** Prints one object, or its text. The text ends with a newline unless it is empty. */
export function printObject({ out, format }: Context, value: unknown, text: () => string): Promise<void> {
  if (format === 'text') return out.write(text());
  return out.write(`${JSON.stringify(value, null, format === 'json' ? 2 : undefined)}\n`);
}

/** Prints a short list: as text the whole at once, such as a table. */
export function printList<T>(
  { out, format }: Context,
  list: readonly T[],
  text: () => string,
): Promise<void> {
  if (format === 'text') return out.write(text());
  return out.chunks(framed(list, (item) => JSON.stringify(item), frameOf(format)));
}
