// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Whether the options go with the command and with each other, in the order in which conntrack(8) complains. */
import type { Draft } from './draft.js';
import { ConntrackError, ConntrackUsageError } from './failure.js';
import { OPTIONS, permissions } from './option-table.js';
import { checkProtocolOptions, missing, protocolOptions, specify } from './protocol-options.js';

/** What narrows the flows down where counters are zeroed while listing, which conntrack(8) refuses. */
const NARROWS = [
  ...['src', 'dst', 'reply-src', 'reply-dst', 'protonum', 'status', 'mark', 'secmark'],
  ...['zone', 'orig-zone', 'reply-zone', 'label', 'mask-src', 'mask-dst'],
];

/** @throws ConntrackUsageError, or ConntrackError for outputs that exclude each other */
export function checkDraft(draft: Draft): void {
  const { command, table, given, flow } = draft;
  if (given.has('label-add') && given.has('label-del'))
    throw new ConntrackError('cannot use --label-add and --label-del at the same time');
  const { required, allowed } = permissions(command, table);
  for (const key of required) if (!given.has(key)) throw missing(key);
  for (const { key } of OPTIONS) if (given.has(key) && !allowed.includes(key)) throw illegal(key);
  if (table === 'conntrack' && (command === 'I' || command === 'A' || command === 'G')) checkTuple(given);
  if (flow.proto !== undefined && command !== undefined) {
    if (table === 'expect') checkExpectation(draft, flow.proto);
    else checkProtocolOptions(command, flow.proto, given);
    for (const { key } of protocolOptions(flow.proto)) {
      if (table !== 'expect' && given.has(key) && /^(?:mask|tuple)-/.test(key)) throw illegal(key);
    }
  }
  if (table === 'conntrack') checkCombinations(draft);
}

function checkCombinations({ given, outputs }: Draft): void {
  for (const end of ['src', 'dst']) {
    if (given.has(`mask-${end}`) && !given.has(end)) {
      throw new ConntrackUsageError(`Can't use --mask-${end} without --${end}`);
    }
  }
  if (given.has('zero') && NARROWS.some((key) => given.has(key))) {
    throw new ConntrackUsageError("Can't use -z with filtering parameters");
  }
  if (given.has('any-nat') && (given.has('src-nat') || given.has('dst-nat'))) {
    throw new ConntrackUsageError("cannot specify `--src-nat' or `--dst-nat' with `--any-nat'");
  }
  if (outputs.has('save') && outputs.size > 1) {
    throw new ConntrackError('cannot combine save output with any other output type, use -o save only');
  }
}

/** A flow is named by the addresses of one direction at least. */
function checkTuple(given: ReadonlySet<string>): void {
  const [src, dst, replySrc, replyDst] = ['src', 'dst', 'reply-src', 'reply-dst'].map((key) =>
    given.has(key),
  );
  if ((src && dst) || (replySrc && replyDst)) return;
  throw replySrc !== replyDst && !src && !dst ? specify('reply-src', 'reply-dst') : specify('src', 'dst');
}

/** Expectations, of which there are none, are named by both tuples; ICMP's can not be expected. */
function checkExpectation({ command, given }: Draft, proto: number): void {
  if (command !== 'I' && command !== 'D' && command !== 'G') return;
  const options = protocolOptions(proto).map(({ key }) => key);
  const begins = command === 'I' ? /^(?:[sd]port|[sd].*key|tuple-|mask-)/ : /^(?:[sd]port|[sd].*key|reply-)/;
  for (const key of options)
    if (/port|key/.test(key) && begins.test(key) && !given.has(key)) throw missing(key);
  for (const key of options) if (key.startsWith('icmp') && given.has(key)) throw illegal(key);
}

function illegal(key: string): ConntrackUsageError {
  return new ConntrackUsageError(`Illegal option \`--${key}' with this command`);
}
