// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The forms in which events are written. */
import type { CtEvent } from './event.js';

export const EVENT_FORMATS = ['text', 'jsonl', 'protobuf'] as const;

export type EventFormat = (typeof EVENT_FORMATS)[number];

/** An event's bytes, whole: a line with its end, or a message with its length. */
export type EventEncoder = (event: CtEvent) => string | Uint8Array;

/** Loads what the form needs. */
export async function eventEncoder(format: EventFormat): Promise<EventEncoder> {
  switch (format) {
    case 'text': {
      const { eventText } = await import('./format-text.js');
      return (event) => `${eventText(event)}\n`;
    }
    case 'jsonl': {
      const { eventJson } = await import('./format-json.js');
      return (event) => `${eventJson(event)}\n`;
    }
    case 'protobuf': {
      const { protobufEncoder } = await import('./format-protobuf.js');
      return protobufEncoder();
    }
  }
}

/** Many events' bytes in one piece. */
export function encodeAll(events: readonly CtEvent[], encode: EventEncoder): Uint8Array {
  return Buffer.concat(
    events.map((event) => {
      const bytes = encode(event);
      return typeof bytes === 'string' ? Buffer.from(bytes) : bytes;
    }),
  );
}
