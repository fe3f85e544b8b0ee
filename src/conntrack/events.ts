// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-E`: each event as it comes, until a signal. */
import type { CtEvent, EventType, FlowEvent } from '../events/event.js';
import { eventJson } from '../events/format-json.js';
import { TCP } from '../protocol.js';
import { told } from './failure.js';
import { flowLine } from './line.js';
import { flowQuery } from './match.js';
import type { EventName } from './request.js';
import { saveLine } from './save.js';
import type { Call, Status } from './session.js';
import { flowId, type Shown, type ShowOptions } from './shown.js';
import { stopOnSignal } from './signals.js';
import { flowElement, XML_BEGIN, XML_END } from './xml.js';

/** Event types by their names behind `-e`. */
const TYPES: Readonly<Record<EventName, EventType>> = { NEW: 'new', UPDATES: 'update', DESTROY: 'destroy' };

/** Nine characters wide, to the right. */
const TAGS = { new: '    [NEW]', update: ' [UPDATE]', destroy: '[DESTROY]' } as const;

const COMMANDS = { new: 'A', update: 'U', destroy: 'D' } as const;

/** What conntrack(8) says when the kernel has more to tell than it can read; what to do about it is ctnat's own. */
const LOST =
  'WARNING: We have hit ENOBUFS! We are losing events.\n' +
  'Too many came at a time for the kernel to keep them until they were read.\n' +
  'Ask for fewer, by -e, -p, -s or -d, or write them to a faster reader.\n';

export async function events(call: Call): Promise<Status> {
  const { request, product, session } = call;
  const { filter, matches } = flowQuery(request.flow, product.flowEditor());
  const names: readonly EventName[] =
    request.events.size > 0 ? [...request.events] : ['NEW', 'UPDATES', 'DESTROY'];
  const { stop, release } = stopOnSignal(session);
  const writer = new EventWriter(call);
  let isComplete = true;
  try {
    const source = await product.events({ types: names.map((name) => TYPES[name]), filter, signal: stop });
    try {
      for await (const batch of source.batches()) {
        const shown = batch
          .filter(isFlowEvent)
          .flatMap((event) => asConntrack(event) ?? [])
          .filter(({ flow }) => matches(flow));
        await session.write(shown.map((event) => writer.text(event)).join(''));
        isComplete = !batch.some(({ type }) => type === 'lost');
        if (!isComplete) break;
      }
    } finally {
      await source.close();
    }
  } finally {
    release();
  }
  await session.write(writer.end());
  if (!isComplete) await session.tell(LOST);
  await session.tell(told(`${writer.count} flow events have been shown.`));
  return isComplete ? 0 : 1;
}

function isFlowEvent(event: CtEvent): event is FlowEvent {
  return event.type === 'new' || event.type === 'update' || event.type === 'destroy';
}

/**
 * A connection whose only answer was a RST is over with it. conntrack(8) tells its end alone, of an entry that was never
 * answered; ctnat keeps it without a state until the RST has left, which is not told there.
 */
function asConntrack(event: FlowEvent): FlowEvent | undefined {
  const { type, flow } = event;
  if (type === 'new' || flow.protonum !== TCP || flow.state !== 'NONE') return event;
  if (type === 'update') return flow.timeout === 0 ? undefined : event;
  if (flow.reply.packets === 0) return event; // made so by a command
  const status = flow.status.filter((name) => name !== 'SEEN_REPLY');
  return { ...event, flow: { ...flow, state: 'CLOSE', status } };
}

class EventWriter {
  readonly #call: Call;
  readonly #options: ShowOptions;
  count = 0;

  constructor(call: Call) {
    const { outputs, labelNames } = call.request;
    this.#call = call;
    this.#options = {
      isExtended: outputs.has('extended'),
      hasId: outputs.has('id'),
      hasTimes: outputs.has('ktimestamp'),
      hasStart: true,
      labelNames,
    };
  }

  /** The event with its line's end, and what stands before the first one. */
  text(event: FlowEvent): string {
    const { outputs } = this.#call.request;
    const isFirst = this.count++ === 0;
    if (outputs.has('json')) return `${isFirst ? '[\n' : ',\n'}${eventJson(event)}`;
    if (outputs.has('jsonl')) return `${eventJson(event)}\n`;
    const origin = isByCommand(event) ? ' [USERSPACE]' : '';
    if (outputs.has('save')) return `${saveLine(event.flow, COMMANDS[event.type])}${origin}\n`;
    const hasTime = outputs.has('timestamp');
    if (outputs.has('xml')) {
      const when = hasTime ? { when: new Date(event.unixMs) } : {};
      const xml = flowElement(this.#shown(event), this.#id(event), this.#options, {
        type: event.type,
        ...when,
      });
      return `${isFirst ? XML_BEGIN : ''}${xml}${origin}\n`;
    }
    const time = hasTime ? `[${(event.unixMs / 1000).toFixed(6)}]\t` : '';
    return `${time}${TAGS[event.type]} ${flowLine(this.#shown(event), this.#id(event), this.#options)}${origin}\n`;
  }

  /** What stands behind the last one. */
  end(): string {
    const { outputs } = this.#call.request;
    if (outputs.has('json')) return this.count === 0 ? '[]\n' : '\n]\n';
    return outputs.has('xml') && this.count > 0 ? XML_END : '';
  }

  #id({ flow }: FlowEvent): number {
    return flowId(flow, this.#call.product.flowEditor().slots(flow.family));
  }

  #shown(event: FlowEvent): Shown {
    const { flow, type, unixMs } = event;
    return {
      flow,
      hasCounters: type === 'destroy',
      hasZeroMark: false,
      labels: this.#options.labelNames ? this.#call.product.flowEditor().labelsOf(flow) : 0n,
      startMs: unixMs - flow.age * 1000,
      ...(type === 'destroy' && { stopMs: unixMs }),
    };
  }
}

/** A flow that no interface has seen was made by a command. Of changes nobody knows who made them. */
function isByCommand(event: FlowEvent): boolean {
  if (event.type === 'destroy') return event.cause === 'deleted' || event.cause === 'flushed';
  return event.type === 'new' && event.flow.ifindex === 0;
}
