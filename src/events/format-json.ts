// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** An event as one JSON object: type, time, sequence, CPU, and then the flow's members as in `ctnat bpf ct list`. */
import { flowJson } from '../format-flow.js';
import type { CtEvent, KernelEvent } from './event.js';

/** On one line, without its end. `time` is in seconds since 1970. */
export function eventJson(event: CtEvent): string {
  switch (event.type) {
    case 'new':
    case 'update':
      return `${head(event)},${flowJson(event.flow).slice(1)}`;
    case 'destroy':
      return `${head(event)},"cause":"${event.cause}",${flowJson(event.flow).slice(1)}`;
    case 'drop': {
      const { reason, direction, suppressed, packet, iface } = event;
      return `${head(event)},${JSON.stringify({ reason, direction, iface, suppressed, packet }).slice(1)}`;
    }
    case 'lost':
      return `{"type":"lost",${times(event)},"count":${event.count},"total":${event.total}}`;
  }
}

function head(event: KernelEvent): string {
  return `{"type":"${event.type}",${times(event)},"sequence":${event.sequence},"cpu":${event.cpu}`;
}

/** Nanoseconds of a clock that began with the machine stay below 2^53, which JSON's readers keep, for 104 days. */
function times({ unixMs, timeNs }: CtEvent): string {
  return `"time":${(unixMs / 1000).toFixed(6)},"monotonicNs":${timeNs}`;
}
