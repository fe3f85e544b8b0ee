// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** An event as a line to read: when, what, and the flow as `ctnat bpf ct list` shows it. */
import { endpointText, FLOW_FORMATTER, ifaceText, protoText } from '../format-flow.js';
import type { CtEvent, DropEvent } from './event.js';

/** The line, without its end. */
export function eventText(event: CtEvent): string {
  const time = timeText(event.unixMs);
  switch (event.type) {
    case 'new':
    case 'update':
      return `${time} ${event.type.toUpperCase()} ${FLOW_FORMATTER.text(event.flow)}`;
    case 'destroy':
      return `${time} DESTROY ${FLOW_FORMATTER.text(event.flow)} Cause=${event.cause}`;
    case 'drop':
      return `${time} DROP ${dropText(event)}`;
    case 'lost':
      return `${time} LOST ${event.count} events, ${event.total} in all`;
  }
}

/** Universal time, to the microsecond (RFC 3339). */
function timeText(unixMs: number): string {
  const whole = Math.floor(unixMs);
  const micros = Math.round((unixMs - whole) * 1000);
  // rounding may have made a millisecond of them
  const carried = micros === 1000 ? 1 : 0;
  const text = new Date(whole + carried).toISOString().slice(0, -1);
  return `${text}${String(carried ? 0 : micros).padStart(3, '0')}Z`;
}

function dropText({ reason, direction, suppressed, packet, iface }: DropEvent): string {
  const { proto, src, dst, sport, dport, type, id, bytes } = packet;
  const icmp = type === undefined ? '' : ` Type=${type}`;
  const more = suppressed > 0 ? ` Suppressed=${suppressed}` : '';
  return (
    `${protoText(proto)} ${endpointText(src, sport ?? id)} -> ${endpointText(dst, dport)}${icmp}` +
    ` Reason=${reason} Bytes=${bytes} Iface=${ifaceText(iface)} Direction=${direction}${more}`
  );
}
