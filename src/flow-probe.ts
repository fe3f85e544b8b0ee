// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Finds the flow of a tuple by its key, without a look at any other flow. */
import { endianness } from 'node:os';
import type { Datapath } from './datapath.js';
import type { TupleQuery } from './flow-editor.js';
import { CtDir, FLOW, FlowFlags } from './generated/layouts.gen.js';
import { isIcmp } from './protocol.js';
import { type FlowDir, RawFlow } from './raw-flow.js';
import { SlotReader } from './slot-reader.js';
import { nowTicks } from './ticks.js';
import { tupleKeys } from './tuple-keys.js';
import { TupleTable } from './tuple-table.js';

const LITTLE_ENDIAN = endianness() === 'LE';

/** Keys under which a tuple may stand: a local socket's flow may have one of its own. */
const KEY_FLAGS = [0, FlowFlags.LOCAL_KEY];

const DIRECTIONS = [CtDir.ORIGINAL, CtDir.REPLY] as const;

/** The flow before its deadline that has this tuple in one of its directions. */
export function findRaw(datapath: Datapath, tuple: TupleQuery): RawFlow | undefined {
  const family = tuple.src.family === 'ipv4' ? 4 : 6;
  const probe = probeOf(tuple, family);
  const table = new TupleTable(datapath, family);
  for (const flags of KEY_FLAGS) {
    probe.bytes[FLOW.offset.flags] = flags;
    const ref = table.find(tupleKeys(probe)[0]!.bytes);
    if (!ref) continue;
    const raw = new SlotReader(datapath.maps, family).get(ref.slot);
    if (!raw.isUsed || raw.gen !== ref.gen || raw.ticksLeft(nowTicks()) < 0) continue;
    if (DIRECTIONS.some((dir) => hasTuple(raw, dir, probe))) return raw;
  }
  return undefined;
}

/** A slot's bytes as those of an untranslated flow of that tuple would be, as far as its key hangs on them. */
function probeOf({ src, dst, protonum, sport, dport, icmpType, zone }: TupleQuery, family: 4 | 6): RawFlow {
  const raw = new RawFlow(family);
  const places = raw.tuple[CtDir.ORIGINAL];
  raw.bytes.set(src.bytes, places.saddr);
  raw.bytes.set(dst.bytes, places.daddr);
  raw.view.setUint16(places.sport, sport);
  raw.view.setUint16(places.dport, dport);
  raw.bytes[FLOW.offset.proto] = protonum;
  if (isIcmp(protonum) && icmpType !== undefined) raw.bytes[FLOW.offset.state] = icmpType;
  raw.view.setUint16(FLOW.offset.zone, zone, LITTLE_ENDIAN);
  return raw;
}

/** A key says nothing of the direction: a translated flow's also finds the packet that only looks turned round. */
function hasTuple(raw: RawFlow, dir: FlowDir, probe: RawFlow): boolean {
  const here = raw.tuple[dir];
  const there = probe.tuple[CtDir.ORIGINAL];
  const size = raw.addressSize;
  if (raw.zoneOf(dir) !== probe.zone) return false;
  return (
    isSame(raw.bytes, here.saddr, probe.bytes, there.saddr, size) &&
    isSame(raw.bytes, here.daddr, probe.bytes, there.daddr, size) &&
    isSame(raw.bytes, here.sport, probe.bytes, there.sport, 2) &&
    isSame(raw.bytes, here.dport, probe.bytes, there.dport, 2)
  );
}

function isSame(a: Uint8Array, from: number, b: Uint8Array, start: number, size: number): boolean {
  for (let i = 0; i < size; i++) if (a[from + i] !== b[start + i]) return false;
  return true;
}
