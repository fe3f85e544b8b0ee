// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Flows as text and JSON. Both are joined by hand: a listing of a million flows is bound by this file.
 * Everything that goes into the JSON unquoted is a number or a word without characters to escape.
 */
import { printable } from './errors.js';
import { type Flow, type FlowStatus, type FlowTuple, statusBits } from './flow.js';
import type { Formatter } from './frame.js';

export const FLOW_FORMATTER: Formatter<Flow> = { text: flowText, json: flowJson };

/** The contract's object; members in its order. */
export function flowJson(flow: Flow): string {
  const state = flow.state === undefined ? '' : `,"state":"${flow.state}"`;
  const status = flow.status.length === 0 ? '' : `"${flow.status.join('","')}"`;
  const direction = flow.zoneDirection === undefined ? '' : `,"zoneDirection":"${flow.zoneDirection}"`;
  return (
    `{"family":"${flow.family}","proto":"${flow.proto}","protonum":${flow.protonum}${state}` +
    `,"status":[${status}],"original":${tupleJson(flow.original)},"reply":${tupleJson(flow.reply)}` +
    `,"timeout":${flow.timeout},"age":${tenths(flow.age)},"mark":${flow.mark},"zone":${flow.zone}${direction}` +
    `,"iface":${ifaceJson(flow.iface)}}`
  );
}

function tupleJson(tuple: FlowTuple): string {
  let ports = '';
  if (tuple.sport !== undefined) ports = `,"sport":${tuple.sport},"dport":${tuple.dport}`;
  else if (tuple.key !== undefined) ports = `,"key":${tuple.key}`;
  else if (tuple.id !== undefined) ports = `,"type":${tuple.type},"code":${tuple.code},"id":${tuple.id}`;
  return `{"src":"${tuple.src}","dst":"${tuple.dst}"${ports},"packets":${tuple.packets},"bytes":${tuple.bytes}}`;
}

const IFACES = new Map<string, string>();

/** An interface's name in JSON; the kernel allows quotes in it. */
export function ifaceJson(name: string): string {
  let json = IFACES.get(name);
  if (json === undefined) {
    json = JSON.stringify(name);
    IFACES.set(name, json);
  }
  return json;
}

const SAFE_IFACES = new Map<string, string>();

/** An interface's name in text; the kernel allows escape characters in it. */
export function ifaceText(name: string): string {
  let text = SAFE_IFACES.get(name);
  if (text === undefined) {
    text = printable(name);
    SAFE_IFACES.set(name, text);
  }
  return text;
}

/** Tenths of a second are as exact as an age can be. */
export function tenths(seconds: number): number {
  return Math.round(seconds * 10) / 10;
}

/**
 * One line in the shape of Cilium's: `TCP OUT SOURCE -> DESTINATION expires=… …`. The tuple is the original
 * one, expires counts the seconds left, Tx is the original direction. IN is what came for a translated
 * destination. ICMP's identifier and GRE's key stand in the source's port, as Cilium has it.
 */
function flowText(flow: Flow): string {
  const { original, reply, status } = flow;
  let line =
    `${protoText(flow.proto)} ${status.includes('DST_NAT') ? 'IN' : 'OUT'} ` +
    `${endpointText(original.src, original.sport ?? original.id ?? original.key)} -> ` +
    `${endpointText(original.dst, original.dport)} expires=${flow.timeout}`;
  if (flow.state !== undefined) line += ` State=${flow.state}`;
  if (original.type !== undefined) line += ` Type=${original.type} Code=${original.code}`;
  line +=
    ` TxPackets=${original.packets} TxBytes=${original.bytes}` +
    ` RxPackets=${reply.packets} RxBytes=${reply.bytes}` +
    ` Flags=${flagsText(status)}`;
  if (status.includes('SRC_NAT'))
    line += ` XLATE_SRC ${endpointText(reply.dst, reply.dport ?? reply.id ?? reply.key)}`;
  if (status.includes('DST_NAT'))
    line += ` XLATE_DST ${endpointText(reply.src, reply.sport ?? reply.id ?? reply.key)}`;
  const zone = `${flow.zone}${flow.zoneDirection === undefined ? '' : `:${flow.zoneDirection}`}`;
  return `${line} Mark=${flow.mark} Zone=${zone} Age=${tenths(flow.age)}sec Iface=${ifaceText(flow.iface)}`;
}

const FLAGS = new WeakMap<readonly FlowStatus[], string>();

/** Conntrack's status bits as a number and as names: `0x0016 [ SEEN_REPLY ASSURED SRC_NAT ]`. */
function flagsText(status: readonly FlowStatus[]): string {
  let text = FLAGS.get(status);
  if (text === undefined) {
    const bits = statusBits(status).toString(16).padStart(4, '0');
    text = `0x${bits} [ ${status.map((name) => `${name} `).join('')}]`;
    FLAGS.set(status, text);
  }
  return text;
}

const PROTOCOLS = new Map<string, string>();

/** A protocol's name as Cilium writes it. */
export function protoText(proto: string): string {
  let text = PROTOCOLS.get(proto);
  if (text === undefined) {
    text = proto === 'icmpv6' ? 'ICMPv6' : proto.toUpperCase();
    PROTOCOLS.set(proto, text);
  }
  return text;
}

/** An address and its port; protocols without ports have 0 there. */
export function endpointText(address: string, port = 0): string {
  return address.includes(':') ? `[${address}]:${port}` : `${address}:${port}`;
}
