// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The tuple that options name. */
import type { TupleQuery } from '../flow-editor.js';
import { GRE, hasPorts, isIcmp } from '../protocol.js';
import type { FlowOptions } from './request.js';

/** The original direction's, or the reply's where only that is whole. The options have been checked for one of them. */
export function tupleQuery({
  src,
  dst,
  replySrc,
  replyDst,
  original,
  reply,
  ...more
}: FlowOptions): TupleQuery {
  const { proto = 0, icmpId = 0, icmpType } = more;
  const [from, to, ports] = src && dst ? [src.address, dst.address, original] : [replySrc!, replyDst!, reply];
  return {
    src: from,
    dst: to,
    protonum: proto,
    sport: isIcmp(proto) ? icmpId : isKnownByPorts(proto) ? (ports.sport ?? 0) : 0,
    dport: isIcmp(proto) ? icmpId : isKnownByPorts(proto) ? (ports.dport ?? 0) : 0,
    ...(icmpType !== undefined && { icmpType }),
    zone: 0,
  };
}

/** Flows of other protocols are told apart by their addresses alone, whatever ports are given. */
export function isKnownByPorts(proto: number): boolean {
  return hasPorts(proto) || proto === GRE;
}
