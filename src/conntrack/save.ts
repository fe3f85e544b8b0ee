// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** Flows as the options that make them again: `conntrack -o save`, for `-R`. */
import type { Flow, FlowStatus } from '../flow.js';
import { DCCP, GRE, ICMPV6, SCTP } from '../protocol.js';
import { isTranslated, shownProtocol } from './shown.js';

/** What of the status can be given back by `-u`. */
const SAVED_STATUS: readonly FlowStatus[] = ['SEEN_REPLY', 'ASSURED', 'FIXED_TIMEOUT', 'EXPECTED'];

const ZONE_OPTIONS = { both: '-w', original: '--orig-zone', reply: '--reply-zone' } as const;

/** The line without its end. @param command of the entry: A, or U and D for what has happened to it */
export function saveLine(flow: Flow, command: 'A' | 'U' | 'D' = 'A'): string {
  const { original, reply, protonum } = flow;
  const status = SAVED_STATUS.filter((name) => flow.status.includes(name)).join(',') || 'UNSET';
  const mark = flow.mark === 0 ? '' : `-m ${flow.mark} `;
  const zone = flow.zone === 0 ? '' : `${ZONE_OPTIONS[flow.zoneDirection ?? 'both']} ${flow.zone} `;
  const replySrc = `${addressChanged(flow, 'destination') ? '-g' : '-r'} ${reply.src}`;
  const replyDst = replyDestination(flow);
  const name = shownProtocol(protonum);
  return (
    `-${command} -t ${flow.timeout} -u ${status} ${mark}${zone}-s ${original.src} -d ${original.dst} ` +
    `${replySrc} ${replyDst} -p ${name === 'unknown' ? protonum : name}${protocolText(flow)}`
  );
}

/** An identifier that was translated stands nowhere else: it goes with the address, as a port may. */
function replyDestination(flow: Flow): string {
  const { original, reply, family } = flow;
  if (reply.id !== original.id) return `-n ${family === 'ipv6' ? `[${reply.dst}]` : reply.dst}:${reply.id}`;
  return `${addressChanged(flow, 'source') ? '-n' : '-q'} ${reply.dst}`;
}

/** `-n` and `-g` stand for an address; a port that alone is translated is among the reply's ports. */
function addressChanged(flow: Flow, end: 'source' | 'destination'): boolean {
  const { original, reply } = flow;
  if (!isTranslated(flow, end)) return false;
  return end === 'source' ? reply.dst !== original.src : reply.src !== original.dst;
}

function protocolText(flow: Flow): string {
  const { original, reply, protonum, state } = flow;
  if (protonum === GRE) {
    const keys = [original.key, original.key, reply.key, reply.key].map((key = 0) => key);
    return ` --srckey ${keys[0]} --dstkey ${keys[1]} --reply-key-src ${keys[2]} --reply-key-dst ${keys[3]}`;
  }
  if (original.type !== undefined) {
    const name = protonum === ICMPV6 ? 'icmpv6' : 'icmp';
    return ` --${name}-type ${original.type} --${name}-code ${original.code} --${name}-id ${original.id}`;
  }
  if (original.sport === undefined || protonum === DCCP) return '';
  const ports =
    ` --sport ${original.sport} --dport ${original.dport}` +
    ` --reply-port-src ${reply.sport} --reply-port-dst ${reply.dport}`;
  const stateText = state === undefined ? '' : ` --state ${state}`;
  if (protonum !== SCTP) return `${ports}${stateText}`;
  // conntrack(8) makes no association without tags, also of an event's line, where they are not known
  const [ours, theirs] = flow.vtags ?? [0, 0];
  return `${ports}${stateText} --orig-vtag ${ours} --reply-vtag ${theirs}`;
}
