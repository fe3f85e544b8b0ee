// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Flows as lines of text, as `conntrack -L` prints them. */
import type { Flow, FlowTuple, ZoneDirection } from '../flow.js';
import { DCCP, GRE } from '../protocol.js';
import { familyNumber, lifetime, type Shown, type ShowOptions, shownProtocol } from './shown.js';

/** The line without its end; @param id as shown.ts's flowId makes it */
export function flowLine(shown: Shown, id: number, options: ShowOptions): string {
  const { flow, hasCounters } = shown;
  const { protonum } = flow;
  const family = options.isExtended ? `${flow.family.padEnd(8)} ${familyNumber(flow)} ` : '';
  const state = flow.state === undefined ? '' : `${flow.state} `;
  const head = `${family}${shownProtocol(protonum).padEnd(8)} ${protonum} ${flow.timeout} ${state}`;
  const original = tupleText(flow.original, protonum, zoneText(flow, 'original'), hasCounters);
  const reply = tupleText(flow.reply, protonum, zoneText(flow, 'reply'), hasCounters);
  const unreplied = flow.status.includes('SEEN_REPLY') ? '' : '[UNREPLIED] ';
  const assured = flow.status.includes('ASSURED') ? '[ASSURED] ' : '';
  return `${head}${original}${unreplied}${reply}${assured}${tail(shown, id, options)}`.trimEnd();
}

/** Of a zone that is of one direction. */
function zoneText({ zone, zoneDirection }: Flow, direction: ZoneDirection): string {
  if (zoneDirection !== direction) return '';
  return `zone-${direction === 'original' ? 'orig' : 'reply'}=${zone} `;
}

function tupleText(tuple: FlowTuple, protonum: number, zone: string, hasCounters: boolean): string {
  const counters = hasCounters ? `packets=${tuple.packets} bytes=${tuple.bytes} ` : '';
  return `src=${tuple.src} dst=${tuple.dst} ${portsText(tuple, protonum)}${zone}${counters}`;
}

function portsText(tuple: FlowTuple, protonum: number): string {
  if (protonum === GRE) return `srckey=${keyText(tuple.key)} dstkey=${keyText(tuple.key)} `;
  if (protonum === DCCP) return 'sport=0 dport=0 '; // known by its addresses alone
  if (tuple.sport !== undefined) return `sport=${tuple.sport} dport=${tuple.dport} `;
  if (tuple.type !== undefined) return `type=${tuple.type} code=${tuple.code} id=${tuple.id} `;
  return '';
}

/** GRE's key; 0 for a flow without one. */
export function keyText(key = 0): string {
  return `0x${key.toString(16)}`;
}

/** What stands behind the tuples, each field with a blank behind it. */
function tail(shown: Shown, id: number, { hasId, hasTimes, hasStart, labelNames }: ShowOptions): string {
  const { flow, use, labels, stopMs } = shown;
  let text = flow.mark !== 0 || shown.hasZeroMark ? `mark=${flow.mark} ` : '';
  if (flow.zone !== 0 && flow.zoneDirection === undefined) text += `zone=${flow.zone} `;
  if (hasTimes) {
    text += `delta-time=${lifetime(shown)} `;
    if (hasStart) text += `[start=${timeText(shown.startMs)}] `;
    if (stopMs !== undefined) text += `[stop=${timeText(stopMs)}] `;
  }
  if (use !== undefined) text += `use=${use} `;
  if (hasId) text += `id=${id} `;
  if (labelNames && labels !== 0n) text += `labels=${labelNames.namesOf(labels).join(',')} `;
  return text;
}

const DAYS = ['Sun', 'Mon', 'Tue', 'Wed', 'Thu', 'Fri', 'Sat'];
const MONTHS = ['Jan', 'Feb', 'Mar', 'Apr', 'May', 'Jun', 'Jul', 'Aug', 'Sep', 'Oct', 'Nov', 'Dec'];

/** Local time as ctime(3) writes it. */
function timeText(unixMs: number): string {
  const time = new Date(unixMs);
  const clock = [time.getHours(), time.getMinutes(), time.getSeconds()]
    .map((part) => String(part).padStart(2, '0'))
    .join(':');
  const date = String(time.getDate()).padStart(2, ' ');
  return `${DAYS[time.getDay()]} ${MONTHS[time.getMonth()]} ${date} ${clock} ${time.getFullYear()}`;
}
