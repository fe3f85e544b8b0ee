// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** `-I` and `-A`: a flow is made of what the options say. */
import type { NewFlow } from '../flow-editor.js';
import { GRE, hasPorts, isIcmp, SCTP } from '../protocol.js';
import { OperationError } from './failure.js';
import { ALL_LABELS } from './labels.js';
import { protocolOptions } from './protocol-options.js';
import type { FlowOptions } from './request.js';
import type { Call, Status } from './session.js';
import { isKnownByPorts, tupleQuery } from './tuple.js';

/** Status bits that can be given to a flow: SEEN_REPLY, ASSURED and FIXED_TIMEOUT (IPS_* of nf_conntrack_common.h). */
export const SETTABLE = (1 << 1) | (1 << 2) | (1 << 10);

/** Whoever sets it would have to name the flow that expected this one. */
export const EXPECTED = 1 << 0;

type Zone = Pick<NewFlow, 'zone' | 'zoneDirection'>;

/** `-I`: a flow that there is already is an error. `-A`: it is none, and stays as it is. */
export async function insert(call: Call): Promise<Status> {
  const { request, product } = call;
  const isAdd = request.command === 'A';
  const flow = newFlow(request.flow);
  const result = flow === 'invalid' ? flow : product.flowEditor().insert(flow);
  switch (result) {
    case 'invalid':
      throw new OperationError(isAdd ? 'Invalid argument' : 'invalid parameters');
    case 'full':
      throw new OperationError('Cannot allocate memory');
    case 'exists':
      if (!isAdd) throw new OperationError('Such conntrack exists, try -U to update');
  }
  await call.sum(result === 'inserted' ? 1 : 0, isAdd ? 'added' : 'created');
  return 0;
}

/** @throws OperationError for what no flow can have */
function newFlow(options: FlowOptions): NewFlow | 'invalid' {
  const { status = 0, state, timeout = 0, mark, labels } = options;
  if (status & EXPECTED) throw new OperationError('Device or resource busy');
  const added = labels.add ?? 0n;
  if (added > ALL_LABELS) throw new OperationError('Numerical result out of range');
  const original = originalTuple(options);
  const reply = replyTuple(options, original);
  const zones = zoneOf(options);
  if (!reply || !zones || !isPossible(options)) return 'invalid';
  return {
    original,
    reply,
    ...zones,
    anyPort:
      (hasPorts(original.protonum) || isIcmp(original.protonum)) &&
      options.srcNat?.address !== undefined &&
      options.srcNat.port === undefined &&
      !hasReplyPorts(options),
    ...(state !== undefined && { state }),
    ...(options.proto === SCTP && { vtags: [options.origVtag ?? 0, options.replyVtag ?? 0] as const }),
    status: status & SETTABLE,
    timeout,
    mark: mark?.value ?? 0,
    labels: added,
  };
}

/** A flow has one zone: of both directions, or of one. undefined: there would be another one beside it. */
function zoneOf({ zone, origZone, replyZone }: FlowOptions): Zone | undefined {
  let found: Zone = { zone: 0 };
  const given: [number | undefined, Zone['zoneDirection']][] = [
    [zone, undefined],
    [origZone, 'original'],
    [replyZone, 'reply'],
  ];
  for (const [id, zoneDirection] of given) {
    if (id === undefined) continue;
    if (found.zone !== 0) return undefined;
    found = id === 0 || zoneDirection === undefined ? { zone: id } : { zone: id, zoneDirection };
  }
  return found;
}

/** As given, or the reply's turned round; ports may be given of either. */
function originalTuple(options: FlowOptions): NewFlow['original'] {
  const given = tupleQuery(options);
  const zone = options.origZone || options.zone || 0;
  if (options.src && options.dst) return { ...given, zone };
  const known = isKnownByPorts(options.proto ?? 0) ? options.original : {};
  const { sport = given.dport, dport = given.sport } = known;
  return { ...given, src: given.dst, dst: given.src, sport, dport, zone };
}

/** The original turned round, but for what the options say of it. undefined: they say only half. */
function replyTuple(options: FlowOptions, original: NewFlow['original']): NewFlow['reply'] | undefined {
  const { proto = 0, replySrc, replyDst, reply, srcNat, dstNat } = options;
  const isGiven = replySrc !== undefined || replyDst !== undefined;
  const hasEnds = protocolOptions(proto).some(
    ({ key }) => key === 'reply-port-src' || key === 'reply-key-src',
  );
  const isWhole = options.src !== undefined && options.dst !== undefined;
  if (isGiven && isWhole && hasEnds && !hasReplyPorts(options)) return undefined;
  const isTranslated = srcNat?.address !== undefined || dstNat?.address !== undefined;
  const ports = (isGiven || isTranslated) && isKnownByPorts(proto) ? reply : {};
  const id = isIcmp(proto) ? srcNat?.port : undefined; // stands in both places
  return {
    src: dstNat?.address ?? replySrc ?? original.dst,
    dst: srcNat?.address ?? replyDst ?? original.src,
    sport: id ?? dstNat?.port ?? ports.sport ?? original.dport,
    dport: srcNat?.port ?? ports.dport ?? original.sport,
  };
}

function hasReplyPorts({ reply }: FlowOptions): boolean {
  return reply.sport !== undefined && reply.dport !== undefined;
}

/** ICMP's requests that begin a flow, of code 0: the others are errors and answers. */
const QUERIES: Readonly<Record<4 | 6, readonly number[]>> = { 4: [8, 13, 15, 17], 6: [128] };

/** A GRE tunnel has one key for both directions. */
function isPossible({ proto = 0, icmpType = 0, icmpCode = 0, family = 4, original }: FlowOptions): boolean {
  if (proto === GRE && original.sport !== original.dport) return false;
  return !isIcmp(proto) || (QUERIES[family].includes(icmpType) && icmpCode === 0);
}
