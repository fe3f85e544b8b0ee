// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The keys under which a flow stands in the tuple map, as bytes (struct tuple4_key, tuple6_key; bpf/tuple.h). */
import { endianness } from 'node:os';
import {
  CtDir,
  FlowFlags,
  IcmpKind,
  KeyFlags,
  NatType,
  TUPLE4_KEY,
  TUPLE6_KEY,
  TupleForm,
} from './generated/layouts.gen.js';
import { isIcmp } from './protocol.js';
import type { RawFlow } from './raw-flow.js';

const LITTLE_ENDIAN = endianness() === 'LE';
const LAYOUTS = { 4: TUPLE4_KEY, 6: TUPLE6_KEY } as const;

/** A key and the form that its reference must have. */
export interface TupleKey {
  readonly bytes: Uint8Array;
  readonly form: number;
}

/** Where a tuple's address and port of one end are in the slot. */
interface End {
  readonly address: number;
  /** None: port 0. */
  readonly port?: number;
}

/** How many keys the flow has: one where nothing is translated and both directions are in one zone, for both. */
export function keyCount(raw: RawFlow): number {
  if (hasOneKey(raw)) return 1;
  return raw.flags & FlowFlags.MIDDLE_KEY ? 3 : 2;
}

function hasOneKey(raw: RawFlow): boolean {
  return raw.nat === NatType.NONE && raw.zoneDirection === undefined;
}

export function tupleKeys(raw: RawFlow): TupleKey[] {
  const original = ends(raw, CtDir.ORIGINAL);
  const reply = ends(raw, CtDir.REPLY);
  const kind = icmpFlags(raw) | (raw.flags & FlowFlags.ENDPOINT ? KeyFlags.ENDPOINT : 0);
  const local = raw.flags & FlowFlags.LOCAL_KEY ? KeyFlags.LOCAL : 0;
  const both = hasOneKey(raw) ? TupleForm.REPLY : 0;
  const keys = [makeKey(raw, original, kind | local, raw.zoneOf(CtDir.ORIGINAL), TupleForm.ORIGINAL | both)];
  if (keyCount(raw) > 1) keys.push(makeKey(raw, reply, kind, raw.zoneOf(CtDir.REPLY), TupleForm.REPLY));
  if (keyCount(raw) > 2) {
    // between the hooks: the source as it came, the destination as it leaves
    const middle = { source: original.source, destination: reply.source };
    const zone = raw.slot & KeyFlags.MIDDLE_SLOT_MASK;
    keys.push(makeKey(raw, middle, kind | KeyFlags.MIDDLE, zone, TupleForm.MIDDLE));
  }
  return keys;
}

/** The keys under which a flow may vouch for whom its endpoints have sent to, where their filters ask for it. */
export function peerKeys(raw: RawFlow): TupleKey[] {
  const original = ends(raw, CtDir.ORIGINAL).destination;
  const reply = ends(raw, CtDir.REPLY).destination;
  const keys: TupleKey[] = [];
  if (raw.flags & FlowFlags.SOURCE_ENDPOINT) keys.push(peerKey(raw, original, reply));
  if (raw.flags & FlowFlags.DESTINATION_ENDPOINT) keys.push(peerKey(raw, reply, original));
  return keys;
}

/** Of a remote address, whatever its port, and an outside endpoint. */
function peerKey(raw: RawFlow, { address }: End, outside: End): TupleKey {
  return makeKey(raw, { source: { address }, destination: outside }, KeyFlags.PEER, 0, TupleForm.PEER);
}

function ends(raw: RawFlow, dir: 0 | 1): { source: End; destination: End } {
  const { saddr, daddr, sport, dport } = raw.tuple[dir];
  return { source: { address: saddr, port: sport }, destination: { address: daddr, port: dport } };
}

function makeKey(
  raw: RawFlow,
  { source, destination }: { source: End; destination: End },
  flags: number,
  zone: number,
  form: number,
): TupleKey {
  const isHigh = isAbove(raw, source, destination);
  const [first, second] = isHigh ? [destination, source] : [source, destination];
  const { size, offset } = LAYOUTS[raw.family];
  const bytes = new Uint8Array(size);
  const { addressSize } = raw;
  bytes.set(raw.bytes.subarray(first.address, first.address + addressSize), offset.addr);
  bytes.set(raw.bytes.subarray(second.address, second.address + addressSize), offset.addr + addressSize);
  for (const [i, { port }] of [first, second].entries()) {
    if (port !== undefined) bytes.set(raw.bytes.subarray(port, port + 2), offset.port + i * 2);
  }
  bytes[offset.proto] = raw.proto;
  bytes[offset.flags] = flags;
  new DataView(bytes.buffer).setUint16(offset.zone, zone, LITTLE_ENDIAN);
  return { bytes, form: form | (isHigh && form !== TupleForm.PEER ? TupleForm.SOURCE_HIGH : 0) };
}

/** Endpoints are ordered as the datapath compares them: words and ports as numbers of this machine's byte order. */
function isAbove({ view, addressSize }: RawFlow, a: End, b: End): boolean {
  for (let i = 0; i < addressSize; i += 4) {
    const difference =
      view.getUint32(a.address + i, LITTLE_ENDIAN) - view.getUint32(b.address + i, LITTLE_ENDIAN);
    if (difference !== 0) return difference > 0;
  }
  const portOf = ({ port }: End): number => (port === undefined ? 0 : view.getUint16(port, LITTLE_ENDIAN));
  return portOf(a) > portOf(b);
}

const KINDS: ReadonlyMap<number, IcmpKind> = new Map([
  [13, IcmpKind.TIMESTAMP],
  [15, IcmpKind.INFO],
  [17, IcmpKind.ADDRESS],
]);

function icmpFlags(raw: RawFlow): number {
  if (!isIcmp(raw.proto)) return 0;
  return (KINDS.get(raw.state) ?? IcmpKind.ECHO) << KeyFlags.ICMP_SHIFT;
}
