// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Decodes the kernel's records (struct event of bpf/types.h). A flow's fields go to where they are in a slot, so that
 * an event shows the flow just as a listing does.
 */
import { endianness } from 'node:os';
import { formatIpv4, formatIpv6 } from '../address.js';
import { decodeFlow, flowTimeout } from '../decode-flow.js';
import type { Flow } from '../flow.js';
import {
  CtDir,
  EVENT,
  EventType,
  FLOW,
  FLOW_COUNT,
  FLOW_EXTRA,
  HookDir,
  Layout,
  TUPLE6,
} from '../generated/layouts.gen.js';
import type { InterfaceNames } from '../interface-names.js';
import { REASONS } from '../metrics-table.js';
import { hasPorts, isIcmp, protocolName } from '../protocol.js';
import type { RawPredicate } from '../raw-filter.js';
import { countsAt, RawFlow } from '../raw-flow.js';
import type { Clock } from './clock.js';
import { DESTROY_CAUSES, type DroppedPacket, type EventOrigin, type KernelEvent } from './event.js';

const LITTLE_ENDIAN = endianness() === 'LE';
const { offset: AT } = EVENT;
const { offset: HEAD } = FLOW;

const REASON_NAMES = new Map<number, string>(REASONS.map(([name, number]) => [number, name]));

/** Fields that are the same in a record and in a slot: where, where to, and their bytes. */
const SHARED: readonly (readonly [from: number, to: number, bytes: number])[] = [
  [AT.gen, HEAD.gen, 2],
  [AT.status, HEAD.status, 2],
  [AT.proto, HEAD.proto, 1],
  [AT.state, HEAD.state, 1],
  [AT.nat, HEAD.nat, 1],
  [AT.flags, HEAD.flags, 1],
  [AT.zone, HEAD.zone, 2],
  [AT.rule, HEAD.rule, 2],
  [AT.created, HEAD.created, 4],
  [AT.deadline, HEAD.deadline, 4],
  ...[CtDir.ORIGINAL, CtDir.REPLY].flatMap((dir): [from: number, to: number, bytes: number][] => [
    [AT.packets + dir * 8, countsAt(dir) + FLOW_COUNT.offset.packets, 8],
    [AT.bytes + dir * 8, countsAt(dir) + FLOW_COUNT.offset.bytes, 8],
  ]),
];

/** One record, of whichever type. What it shows is overwritten by the next take(). */
export class EventRecord {
  readonly #flows = { 4: new RawFlow(4), 6: new RawFlow(6) };
  readonly #names: InterfaceNames;
  #bytes: Buffer = Buffer.alloc(EVENT.size);
  #view = new DataView(this.#bytes.buffer);

  constructor(names: InterfaceNames) {
    this.#names = names;
  }

  /** @returns false for what is no record of this version */
  take(bytes: Buffer): boolean {
    if (bytes.length < EVENT.size) return false;
    this.#bytes = bytes;
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, EVENT.size);
    return (this.family === 4 || this.family === 6) && this.type < EventType.TYPE_COUNT;
  }

  get timeNs(): bigint {
    return this.#view.getBigUint64(AT.time, LITTLE_ENDIAN);
  }

  get sequence(): number {
    return Number(this.#view.getBigUint64(AT.sequence, LITTLE_ENDIAN));
  }

  get cpu(): number {
    return this.#view.getUint32(AT.cpu, LITTLE_ENDIAN);
  }

  get type(): number {
    return this.#bytes[AT.type]!;
  }

  get family(): 4 | 6 {
    return this.#bytes[AT.family] as 4 | 6;
  }

  /** Whether the predicate, which is for flows of the filter's families, lets it through. */
  matches(predicate: RawPredicate): boolean {
    return predicate(this.#flow());
  }

  decode(clock: Clock): KernelEvent {
    const { timeNs } = this;
    const origin: EventOrigin = {
      timeNs,
      unixMs: clock.unixMs(timeNs),
      sequence: this.sequence,
      cpu: this.cpu,
    };
    switch (this.type) {
      case EventType.NEW:
        return { type: 'new', ...origin, flow: this.#decodeFlow(timeNs) };
      case EventType.UPDATE:
        return { type: 'update', ...origin, flow: this.#decodeFlow(timeNs) };
      case EventType.DESTROY: {
        const cause = DESTROY_CAUSES[this.#bytes[AT.cause]!] ?? 'deleted';
        return { type: 'destroy', ...origin, cause, flow: this.#decodeFlow(timeNs) };
      }
      default:
        return { type: 'drop', ...origin, ...this.#decodeDrop() };
    }
  }

  #decodeFlow(timeNs: bigint): Flow {
    const now = Number(BigInt.asUintN(32, timeNs >> BigInt(Layout.TICK_SHIFT)));
    const raw = this.#flow();
    const flow = decodeFlow(raw, now, this.#names);
    flow.timeout = Math.max(0, flowTimeout(raw, now));
    return flow;
  }

  /** As a slot would hold it. Of a dropped packet: its tuple, and no state. */
  #flow(): RawFlow {
    const raw = this.#flows[this.family];
    for (const [from, to, bytes] of SHARED) raw.bytes.set(this.#bytes.subarray(from, from + bytes), to);
    this.#copy(raw, AT.ifindex, raw.extra + FLOW_EXTRA.offset.ifindex, 4);
    this.#copy(raw, AT.mark, raw.extra + FLOW_EXTRA.offset.mark, 4);
    raw.slot = this.#view.getUint32(AT.slot, LITTLE_ENDIAN);
    for (const dir of [CtDir.ORIGINAL, CtDir.REPLY]) {
      const tuple = AT.tuple + dir * TUPLE6.size;
      const { saddr, daddr, sport, dport } = raw.tuple[dir];
      this.#copy(raw, tuple + TUPLE6.offset.saddr, saddr, raw.addressSize);
      this.#copy(raw, tuple + TUPLE6.offset.daddr, daddr, raw.addressSize);
      this.#copy(raw, tuple + TUPLE6.offset.sport, sport, 2);
      this.#copy(raw, tuple + TUPLE6.offset.dport, dport, 2);
    }
    return raw;
  }

  #copy(raw: RawFlow, from: number, to: number, bytes: number): void {
    raw.bytes.set(this.#bytes.subarray(from, from + bytes), to);
  }

  #decodeDrop(): {
    reason: string;
    direction: 'ingress' | 'egress';
    suppressed: number;
    packet: DroppedPacket;
    iface: string;
    ifindex: number;
  } {
    const number = this.#bytes[AT.cause]!;
    const ifindex = this.#view.getUint32(AT.ifindex, LITTLE_ENDIAN);
    return {
      reason: REASON_NAMES.get(number) ?? `reason_${number}`,
      direction: this.#bytes[AT.hook] === HookDir.INGRESS ? 'ingress' : 'egress',
      suppressed: this.#view.getUint32(AT.suppressed, LITTLE_ENDIAN),
      packet: this.#decodePacket(),
      iface: this.#names.of(ifindex),
      ifindex,
    };
  }

  #decodePacket(): DroppedPacket {
    const { family } = this;
    const format = family === 4 ? formatIpv4 : formatIpv6;
    const { saddr, daddr, sport, dport } = TUPLE6.offset;
    const protonum = this.#bytes[AT.proto]!;
    const ports = [this.#view.getUint16(AT.tuple + sport), this.#view.getUint16(AT.tuple + dport)] as const;
    return {
      family: family === 4 ? 'ipv4' : 'ipv6',
      proto: protocolName(protonum),
      protonum,
      src: format(this.#bytes, AT.tuple + saddr),
      dst: format(this.#bytes, AT.tuple + daddr),
      ...(hasPorts(protonum) && { sport: ports[0], dport: ports[1] }),
      ...(isIcmp(protonum) && { type: this.#bytes[AT.state]!, id: ports[0] }),
      bytes: this.#view.getUint32(AT.length, LITTLE_ENDIAN),
    };
  }
}
