// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What holds where neither a flag nor the configuration says otherwise. */
import { filteringFor, type InterfaceOptions, mappingForAll } from './interface-config.js';
import type { TimeoutName, Timeouts } from './timeouts.js';

const SECOND = 1000;
const MINUTE = 60 * SECOND;

/** RFC 5382 REQ-5: at least 2 hours 4 minutes for an established connection. */
const RFC_ESTABLISHED = 7440 * SECOND;
/** RFC 5382 REQ-5: at least 4 minutes for one that is opening or closing; RFC 7857 section 2: the same after a RST. */
const RFC_TRANSITORY = 4 * MINUTE;
/** Cilium's --bpf-ct-timeout-regular-tcp, -tcp-syn, -tcp-fin and -any. */
const CILIUM_TCP = 8000 * SECOND;
const CILIUM_SYN = 60 * SECOND;
const CILIUM_FIN = 10 * SECOND;
const CILIUM_ANY = 60 * SECOND;

export const TIMEOUT_PRESETS = {
  /**
   * The RFCs' values: RFC 5382 REQ-5 for TCP, RFC 4787 REQ-5 for UDP (2 minutes while nothing has come
   * back, 5 minutes after), RFC 5508 REQ-2 for ICMP. Lost or unacknowledged segments do not shorten an
   * established connection's time: the RFC knows no such exception. Of SCTP, GRE and the rest no RFC speaks:
   * SCTP lives as long as TCP, GRE as UDP, other protocols as Netfilter has it.
   */
  rfc: {
    generic: 10 * MINUTE,
    tcpSynSent: RFC_TRANSITORY,
    tcpSynRecv: RFC_TRANSITORY,
    tcpEstablished: RFC_ESTABLISHED,
    tcpFinWait: RFC_TRANSITORY,
    tcpCloseWait: RFC_TRANSITORY,
    tcpLastAck: RFC_TRANSITORY,
    tcpTimeWait: RFC_TRANSITORY,
    tcpClose: RFC_TRANSITORY,
    tcpSynSent2: RFC_TRANSITORY,
    tcpRetrans: RFC_ESTABLISHED,
    tcpUnack: RFC_ESTABLISHED,
    udp: 2 * MINUTE,
    udpStream: 5 * MINUTE,
    icmp: MINUTE,
    icmpv6: MINUTE,
    gre: 2 * MINUTE,
    greStream: 5 * MINUTE,
    sctpClosed: RFC_TRANSITORY,
    sctpCookieWait: RFC_TRANSITORY,
    sctpCookieEchoed: RFC_TRANSITORY,
    sctpEstablished: RFC_ESTABLISHED,
    sctpShutdownSent: RFC_TRANSITORY,
    sctpShutdownRecd: RFC_TRANSITORY,
    sctpShutdownAckSent: RFC_TRANSITORY,
    sctpHeartbeatSent: RFC_TRANSITORY,
  },
  /** The sysctls' defaults (Documentation/networking/nf_conntrack-sysctl.rst of the kernel). */
  netfilter: {
    generic: 600 * SECOND,
    tcpSynSent: 120 * SECOND,
    tcpSynRecv: 60 * SECOND,
    tcpEstablished: 432_000 * SECOND,
    tcpFinWait: 120 * SECOND,
    tcpCloseWait: 60 * SECOND,
    tcpLastAck: 30 * SECOND,
    tcpTimeWait: 120 * SECOND,
    tcpClose: 10 * SECOND,
    tcpSynSent2: 120 * SECOND,
    tcpRetrans: 300 * SECOND,
    tcpUnack: 300 * SECOND,
    udp: 30 * SECOND,
    udpStream: 120 * SECOND,
    icmp: 30 * SECOND,
    icmpv6: 30 * SECOND,
    gre: 30 * SECOND,
    greStream: 180 * SECOND,
    sctpClosed: 10 * SECOND,
    sctpCookieWait: 3 * SECOND,
    sctpCookieEchoed: 3 * SECOND,
    sctpEstablished: 210 * SECOND,
    sctpShutdownSent: 3 * SECOND,
    sctpShutdownRecd: 3 * SECOND,
    sctpShutdownAckSent: 3 * SECOND,
    sctpHeartbeatSent: 30 * SECOND,
  },
  /** Cilium's agent's defaults. It knows opening, open and closed on both sides: a half-closed connection counts as open. */
  cilium: {
    generic: CILIUM_ANY,
    tcpSynSent: CILIUM_SYN,
    tcpSynRecv: CILIUM_SYN,
    tcpEstablished: CILIUM_TCP,
    tcpFinWait: CILIUM_TCP,
    tcpCloseWait: CILIUM_TCP,
    tcpLastAck: CILIUM_FIN,
    tcpTimeWait: CILIUM_FIN,
    tcpClose: CILIUM_FIN,
    tcpSynSent2: CILIUM_SYN,
    tcpRetrans: CILIUM_TCP,
    tcpUnack: CILIUM_TCP,
    udp: CILIUM_ANY,
    udpStream: CILIUM_ANY,
    icmp: CILIUM_ANY,
    icmpv6: CILIUM_ANY,
    gre: CILIUM_ANY,
    greStream: CILIUM_ANY,
    sctpClosed: CILIUM_ANY,
    sctpCookieWait: CILIUM_ANY,
    sctpCookieEchoed: CILIUM_ANY,
    sctpEstablished: CILIUM_ANY,
    sctpShutdownSent: CILIUM_ANY,
    sctpShutdownRecd: CILIUM_ANY,
    sctpShutdownAckSent: CILIUM_ANY,
    sctpHeartbeatSent: CILIUM_ANY,
  },
} as const satisfies Record<string, Record<TimeoutName, number>>;

export type TimeoutPreset = keyof typeof TIMEOUT_PRESETS;

export const DEFAULT_PRESET: TimeoutPreset = 'rfc';
export const DEFAULT_TIMEOUTS: Timeouts = TIMEOUT_PRESETS[DEFAULT_PRESET];

export const DEFAULT_PIN_PATH = '/sys/fs/bpf/ctnat';

export const DEFAULT_INTERFACE: InterfaceOptions = {
  masquerade: false,
  mode: 'auto',
  mapping: mappingForAll('apdm'),
  filtering: filteringFor(mappingForAll('apdm')),
};

/** Flows of each family that can be tracked at a time. */
export const DEFAULT_FLOWS = 262_144;
export const MIN_FLOWS = 16;
export const MAX_FLOWS = 16_777_216;

/** Time between two sweeps; the agent moves between these by how much it finds. */
export const DEFAULT_GC = { minIntervalMs: SECOND, maxIntervalMs: MINUTE } as const;

/**
 * PCP: RFC 6887 section 15 wants lifetimes of two minutes at least and a day at most. Ports below 1024 are for who
 * gives them away by name.
 */
export const DEFAULT_PCP = {
  lifetime: { min: 120, max: 86_400 },
  limit: 64,
  ports: [{ min: 1024, max: 65_535 }],
  natPmp: true,
} as const;
