// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The tuple that options name. */
import type { TupleQuery } from '../flow-editor.js';
import { isIcmp } from '../protocol.js';
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
  const { proto = 0, icmpId = 0, icmpType, zone = 0 } = more;
  const [from, to, ports] = src && dst ? [src.address, dst.address, original] : [replySrc!, replyDst!, reply];
  return {
    src: from,
    dst: to,
    protonum: proto,
    sport: isIcmp(proto) ? icmpId : (ports.sport ?? 0),
    dport: isIcmp(proto) ? icmpId : (ports.dport ?? 0),
    ...(icmpType !== undefined && { icmpType }),
    zone,
  };
}
