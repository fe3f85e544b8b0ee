// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { type EventFormat, encodeAll, eventEncoder } from '../events/encoder.js';
import { type CtEvent, EVENT_TYPES } from '../events/event.js';
import { eventJson } from '../events/format-json.js';
import { parseEventTypes } from '../events/parse-types.js';
import type { EventSource } from '../events/source.js';
import { ARRAY } from '../frame.js';
import type { CommandFunction, Context, OptionValues } from './command.js';
import { counted, optionValue } from './values.js';

/** `ctnat monitor`: ends with a signal, with its reader, or behind --count events. */
export const monitor: CommandFunction = async (context) => {
  const { host, options, filter, note } = context;
  const types = options.type === undefined ? EVENT_TYPES : readTypes(options.type as string);
  const limit = readCount(options);
  const write = await writer(context);
  const stop = new AbortController();
  const onStop = () => stop.abort();
  host.signals.on('SIGINT', onStop);
  host.signals.on('SIGTERM', onStop);
  try {
    const product = await context.product();
    const source = await product.events({ types, filter, signal: stop.signal });
    note(`listening to ${types.join(', ')}`);
    await write.begin();
    await pass(source, limit, write, note);
    await write.end();
  } finally {
    host.signals.off('SIGINT', onStop);
    host.signals.off('SIGTERM', onStop);
  }
};

async function pass(source: EventSource, limit: number, write: Writer, note: Context['note']): Promise<void> {
  let left = limit;
  try {
    for await (const batch of source.batches()) {
      const events = firstOf(batch, left);
      for (const event of events) {
        if (event.type === 'lost')
          note(`${counted(event.count, 'event')} lost, ${event.total} in all: too many came at a time`);
        else left--;
      }
      await write.events(events);
      if (left <= 0) break;
    }
  } finally {
    await source.close();
  }
}

/** The events up to the last one that counts; those that tell of losses do not. */
function firstOf(batch: readonly CtEvent[], count: number): readonly CtEvent[] {
  let left = count;
  const end = batch.findIndex(({ type }) => type !== 'lost' && --left === 0);
  return end < 0 ? batch : batch.slice(0, end + 1);
}

function readTypes(text: string): ReturnType<typeof parseEventTypes> {
  return optionValue('--type', () => parseEventTypes(text));
}

function readCount({ count }: OptionValues): number {
  if (count === undefined) return Number.POSITIVE_INFINITY;
  return optionValue('--count', () => {
    const number = Number(count);
    if (Number.isSafeInteger(number) && number > 0) return number;
    throw new RangeError(`expected a number from 1 on, got "${String(count)}"`);
  });
}

/** What stands around the events, and the events. */
interface Writer {
  begin(): Promise<void>;
  events(events: readonly CtEvent[]): Promise<void>;
  end(): Promise<void>;
}

async function writer({ out, options }: Context): Promise<Writer> {
  const format = (options.output ?? 'text') as EventFormat | 'json';
  const nothing = async () => {};
  if (format !== 'json') {
    const encode = await eventEncoder(format);
    // in text the note on stderr is enough
    const isShown = ({ type }: CtEvent) => format !== 'text' || type !== 'lost';
    return {
      begin: nothing,
      events: (events) => out.write(encodeAll(events.filter(isShown), encode)),
      end: nothing,
    };
  }
  let count = 0;
  return {
    begin: nothing,
    events: (events) => {
      const text = events.map((event) => (count++ === 0 ? ARRAY.begin : ARRAY.between) + eventJson(event));
      return out.write(text.join(''));
    },
    end: () => out.write(count === 0 ? ARRAY.empty : ARRAY.end),
  };
}
