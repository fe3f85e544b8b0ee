// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** How long a flow lives without packets, by protocol and state. All values are milliseconds. */

/**
 * Every timeout of enum ct_timeout with its two keys in the configuration, which are named after Netfilter's
 * sysctls: `tcp.established` is nf_conntrack_tcp_timeout_established, `udp.timeout` is
 * nf_conntrack_udp_timeout. SYN_SENT2 has no sysctl. UDP-Lite has UDP's.
 */
export const TIMEOUT_KEYS = {
  generic: ['generic', 'timeout'],
  tcpSynSent: ['tcp', 'syn_sent'],
  tcpSynRecv: ['tcp', 'syn_recv'],
  tcpEstablished: ['tcp', 'established'],
  tcpFinWait: ['tcp', 'fin_wait'],
  tcpCloseWait: ['tcp', 'close_wait'],
  tcpLastAck: ['tcp', 'last_ack'],
  tcpTimeWait: ['tcp', 'time_wait'],
  tcpClose: ['tcp', 'close'],
  tcpSynSent2: ['tcp', 'syn_sent2'],
  tcpRetrans: ['tcp', 'max_retrans'],
  tcpUnack: ['tcp', 'unacknowledged'],
  udp: ['udp', 'timeout'],
  udpStream: ['udp', 'stream'],
  icmp: ['icmp', 'timeout'],
  icmpv6: ['icmpv6', 'timeout'],
  gre: ['gre', 'timeout'],
  greStream: ['gre', 'stream'],
  sctpClosed: ['sctp', 'closed'],
  sctpCookieWait: ['sctp', 'cookie_wait'],
  sctpCookieEchoed: ['sctp', 'cookie_echoed'],
  sctpEstablished: ['sctp', 'established'],
  sctpShutdownSent: ['sctp', 'shutdown_sent'],
  sctpShutdownRecd: ['sctp', 'shutdown_recd'],
  sctpShutdownAckSent: ['sctp', 'shutdown_ack_sent'],
  sctpHeartbeatSent: ['sctp', 'heartbeat_sent'],
} as const;

export type TimeoutName = keyof typeof TIMEOUT_KEYS;

/** Milliseconds. */
export type Timeouts = Readonly<Record<TimeoutName, number>>;

export const TIMEOUT_NAMES = Object.keys(TIMEOUT_KEYS) as readonly TimeoutName[];

/** A tick is 16.8 ms, so anything shorter than this would be all rounding. */
export const MIN_TIMEOUT_MS = 100;

/** Deadlines are 32-bit ticks compared by sign: 417 days is the end, a year is safe. */
export const MAX_TIMEOUT_MS = 365 * 86_400_000;

/** The timeouts in seconds, nested as in the configuration file: `status` prints this. */
export function timeoutsJson(timeouts: Timeouts): Record<string, Record<string, number>> {
  const json: Record<string, Record<string, number>> = {};
  for (const name of TIMEOUT_NAMES) {
    const [protocol, key] = TIMEOUT_KEYS[name];
    const group = json[protocol] ?? {};
    group[key] = timeouts[name] / 1000;
    json[protocol] = group;
  }
  return json;
}
