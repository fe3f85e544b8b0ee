// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The one entry of the settings map: what it holds after loading, and timeouts to and from its ticks. */
import { DEFAULT_TIMEOUTS } from './defaults.js';
import { CtTimeout, Layout, type Settings, SettingsFlags } from './generated/layouts.gen.js';
import { msOfTicks, ticksOfMs } from './ticks.js';
import { TIMEOUT_NAMES, type TimeoutName, type Timeouts } from './timeouts.js';

/** Index in settings.timeouts of each timeout. */
const INDEX: Readonly<Record<TimeoutName, CtTimeout>> = {
  generic: CtTimeout.GENERIC,
  tcpSynSent: CtTimeout.TCP_SYN_SENT,
  tcpSynRecv: CtTimeout.TCP_SYN_RECV,
  tcpEstablished: CtTimeout.TCP_ESTABLISHED,
  tcpFinWait: CtTimeout.TCP_FIN_WAIT,
  tcpCloseWait: CtTimeout.TCP_CLOSE_WAIT,
  tcpLastAck: CtTimeout.TCP_LAST_ACK,
  tcpTimeWait: CtTimeout.TCP_TIME_WAIT,
  tcpClose: CtTimeout.TCP_CLOSE,
  tcpSynSent2: CtTimeout.TCP_SYN_SENT2,
  tcpRetrans: CtTimeout.TCP_RETRANS,
  tcpUnack: CtTimeout.TCP_UNACK,
  udp: CtTimeout.UDP,
  udpStream: CtTimeout.UDP_STREAM,
  icmp: CtTimeout.ICMP,
  icmpv6: CtTimeout.ICMPV6,
  gre: CtTimeout.GRE,
  greStream: CtTimeout.GRE_STREAM,
  sctpClosed: CtTimeout.SCTP_CLOSED,
  sctpCookieWait: CtTimeout.SCTP_COOKIE_WAIT,
  sctpCookieEchoed: CtTimeout.SCTP_COOKIE_ECHOED,
  sctpEstablished: CtTimeout.SCTP_ESTABLISHED,
  sctpShutdownSent: CtTimeout.SCTP_SHUTDOWN_SENT,
  sctpShutdownRecd: CtTimeout.SCTP_SHUTDOWN_RECD,
  sctpShutdownAckSent: CtTimeout.SCTP_SHUTDOWN_ACK_SENT,
  sctpHeartbeatSent: CtTimeout.SCTP_HEARTBEAT_SENT,
};

/** nf_conntrack_tcp_max_retrans' default: so many retransmissions without an answer shorten a connection's time. */
const TCP_MAX_RETRANS = 3;

/** Timeouts as the settings map holds them, in ticks. */
export function encodeTimeouts(timeouts: Timeouts): number[] {
  // Places without a name are for protocols of later versions: what is not tracked is never read.
  const ticks = new Array<number>(CtTimeout.COUNT).fill(ticksOfMs(timeouts.generic));
  for (const name of TIMEOUT_NAMES) ticks[INDEX[name]] = ticksOfMs(timeouts[name]);
  return ticks;
}

/** What encodeTimeouts() was given, to within a tick and in whole milliseconds. */
export function decodeTimeouts(ticks: readonly number[]): Timeouts {
  return Object.fromEntries(
    TIMEOUT_NAMES.map((name) => [name, msOfTicks(ticks[INDEX[name]] ?? 0)]),
  ) as Record<TimeoutName, number>;
}

/**
 * The settings of tables that were just made, for so many flows of each family.
 * @param hintRows entries of the map of hints
 */
export function initialSettings(
  slots4: number,
  slots6: number,
  hintRows: number,
  timeouts: Timeouts = DEFAULT_TIMEOUTS,
): Settings {
  return {
    layout: Layout.LAYOUT_VERSION,
    flags: SettingsFlags.TCP_LOOSE,
    slots4,
    slots6,
    ruleBank: 0,
    ruleCount: 0,
    timeouts: encodeTimeouts(timeouts),
    events: [0, 0, 0, 0],
    tcpMaxRetrans: TCP_MAX_RETRANS,
    trackBank: 0,
    outsides: 0,
    zero: 0,
    hintRows,
  };
}
