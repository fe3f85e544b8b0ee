// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Flows as XML, as `conntrack -o xml` prints them; ICMP's fields, which that leaves out, are added. */
import type { Flow, FlowTuple } from '../flow.js';
import { DCCP, GRE } from '../protocol.js';
import { keyText } from './line.js';
import { familyNumber, lifetime, type Shown, type ShowOptions, shownProtocol } from './shown.js';

export const XML_BEGIN = '<?xml version="1.0" encoding="utf-8"?>\n<conntrack>\n';
export const XML_END = '</conntrack>\n';

/** What an event has besides its flow. */
export interface XmlEvent {
  readonly type: 'new' | 'update' | 'destroy';
  /** When it came, if that is to be shown. */
  readonly when?: Date;
}

/** The element without a line's end. */
export function flowElement(shown: Shown, id: number, options: ShowOptions, event?: XmlEvent): string {
  const { flow, hasCounters } = shown;
  const type = event ? ` type="${event.type}"` : '';
  const when = event?.when ? whenElement(event.when) : '';
  return (
    `<flow${type}>${direction('original', flow, flow.original, hasCounters)}` +
    `${direction('reply', flow, flow.reply, hasCounters)}` +
    `<meta direction="independent">${independent(shown, id, options)}</meta>${when}</flow>`
  );
}

function direction(name: string, flow: Flow, tuple: FlowTuple, hasCounters: boolean): string {
  const { family, protonum } = flow;
  const counters = hasCounters
    ? `<counters>${element('packets', tuple.packets)}${element('bytes', tuple.bytes)}</counters>`
    : '';
  return (
    `<meta direction="${name}"><layer3 protonum="${familyNumber(flow)}" protoname="${family}">` +
    `${element('src', tuple.src)}${element('dst', tuple.dst)}</layer3>` +
    `<layer4 protonum="${protonum}" protoname="${shownProtocol(protonum)}">${ports(tuple, protonum)}</layer4>` +
    `${flow.zoneDirection === name ? element('zone', flow.zone) : ''}${counters}</meta>`
  );
}

function ports(tuple: FlowTuple, protonum: number): string {
  if (protonum === GRE) {
    return element('srckey', keyText(tuple.key)) + element('dstkey', keyText(tuple.key));
  }
  if (protonum === DCCP) return element('sport', 0) + element('dport', 0);
  if (tuple.sport !== undefined) return element('sport', tuple.sport) + element('dport', tuple.dport!);
  if (tuple.type === undefined) return '';
  return element('type', tuple.type) + element('code', tuple.code!) + element('id', tuple.id!);
}

function independent(shown: Shown, id: number, { hasTimes, hasStart, labelNames }: ShowOptions): string {
  const { flow, use, startMs, stopMs, labels } = shown;
  let text = flow.state === undefined ? '' : element('state', flow.state);
  text += element('timeout', flow.timeout);
  if (flow.mark !== 0 || shown.hasZeroMark) text += element('mark', flow.mark);
  if (labelNames && labels !== 0n) {
    const names = labelNames.namesOf(labels).map((name) => element('label', escapeText(name)));
    text += `<labels>${names.join('')}</labels>`;
  }
  if (flow.zone !== 0 && flow.zoneDirection === undefined) text += element('zone', flow.zone);
  if (use !== undefined) text += element('use', use);
  text += element('id', id);
  if (flow.status.includes('ASSURED')) text += '<assured/>';
  if (!flow.status.includes('SEEN_REPLY')) text += '<unreplied/>';
  if (hasTimes) {
    const stop = stopMs === undefined ? '' : element('stop', nanoseconds(stopMs));
    if (hasStart) text += `<timestamp>${element('start', nanoseconds(startMs))}${stop}</timestamp>`;
    text += element('deltatime', lifetime(shown));
  }
  return text;
}

function whenElement(when: Date): string {
  const parts: readonly (readonly [string, number])[] = [
    ['hour', when.getHours()],
    ['min', when.getMinutes()],
    ['sec', when.getSeconds()],
    ['wday', when.getDay() + 1],
    ['day', when.getDate()],
    ['month', when.getMonth() + 1],
    ['year', when.getFullYear()],
  ];
  return `<when>${parts.map(([name, value]) => element(name, value)).join('')}</when>`;
}

function element(name: string, value: string | number | bigint): string {
  return `<${name}>${value}</${name}>`;
}

/** Names of labels come from a file: it may hold anything. */
function escapeText(text: string): string {
  return text.replaceAll('&', '&amp;').replaceAll('<', '&lt;');
}

/** Since 1970. */
function nanoseconds(unixMs: number): bigint {
  return BigInt(Math.round(unixMs * 1000)) * 1000n;
}
