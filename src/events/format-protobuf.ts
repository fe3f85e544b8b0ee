// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Events as messages of proto/ctnat/v1/event.proto, each behind its length as a varint. */
import { readFileSync } from 'node:fs';
import protobuf from 'protobufjs';
import type { Flow, FlowTuple } from '../flow.js';
import { packageFile } from '../version.js';
import type { CtEvent, DroppedPacket } from './event.js';

/** Name of the message's definition among the package's files. */
export const PROTO_FILE = 'proto/ctnat/v1/event.proto';

const FAMILIES = { ipv4: 4, ipv6: 6 } as const;

/** A 64-bit number as protobufjs takes it without a library for such. */
interface Long {
  readonly low: number;
  readonly high: number;
  readonly unsigned: true;
}

/** The message, as the file that is shipped defines it. */
export function eventMessage(): protobuf.Type {
  const text = readFileSync(packageFile(PROTO_FILE), 'utf8');
  return protobuf.parse(text).root.lookupType('ctnat.v1.Event');
}

/** Makes the function that encodes an event with its length. */
export function protobufEncoder(): (event: CtEvent) => Uint8Array {
  const message = eventMessage();
  const types = message.root.lookupEnum('ctnat.v1.Type').values;
  const causes = message.root.lookupEnum('ctnat.v1.Cause').values;
  return (event) =>
    message
      .encodeDelimited({
        type: types[`TYPE_${event.type.toUpperCase()}`],
        timeNs: long(BigInt(Math.round(event.unixMs * 1000)) * 1000n),
        monotonicNs: long(event.timeNs),
        ...('sequence' in event && { sequence: event.sequence, cpu: event.cpu }),
        ...('cause' in event && { cause: causes[`CAUSE_${event.cause.toUpperCase()}`] }),
        ...('flow' in event && { flow: flowFields(event.flow) }),
        ...(event.type === 'drop' && { drop: { ...event, ...packetFields(event.packet) } }),
        ...(event.type === 'lost' && { lost: { count: event.count, total: event.total } }),
      })
      .finish();
}

function long(value: bigint): Long {
  return {
    low: Number(BigInt.asIntN(32, value)),
    high: Number(BigInt.asIntN(32, value >> 32n)),
    unsigned: true,
  };
}

function flowFields(flow: Flow): object {
  const { state, status, timeout, age, mark, zone, zoneDirection, iface, ifindex } = flow;
  return {
    family: FAMILIES[flow.family],
    proto: flow.protonum,
    ...(state !== undefined && { state }),
    status,
    original: tupleFields(flow.original),
    reply: tupleFields(flow.reply),
    timeout,
    age,
    mark,
    zone,
    ...(zoneDirection !== undefined && { zoneDirection }),
    iface,
    ifindex,
    nat: flow.natType,
    slot: flow.slot,
    generation: flow.gen,
  };
}

function packetFields(packet: DroppedPacket): object {
  return {
    family: FAMILIES[packet.family],
    proto: packet.protonum,
    packet: tupleFields({ ...packet, packets: 1 }),
  };
}

function tupleFields({ type, code, id, ...rest }: FlowTuple): object {
  return {
    ...rest,
    ...(type !== undefined && { icmpType: type }),
    ...(code !== undefined && { icmpCode: code }),
    ...(id !== undefined && { icmpId: id }),
  };
}
