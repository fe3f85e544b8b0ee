// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** The configuration after reading: every value typed and checked, defaults filled in. */
import type { Cidr } from '../address.js';
import type { EventFormat } from '../events/encoder.js';
import type { EventType } from '../events/event.js';
import type { InterfaceConfig } from '../interface-config.js';
import type { NatRule } from '../nat-rule.js';
import type { PortRange } from '../port-range.js';
import type { Timeouts } from '../timeouts.js';
import type { TrackRule } from '../track-rule.js';

/** What the agent appends events to. */
export interface EventSink {
  /** An absolute path, or `stdout`. */
  readonly file: string;
  readonly format: EventFormat;
  readonly types: readonly EventType[];
}

/** Mappings that inside hosts may ask for (RFC 6887, RFC 6886). */
export interface PcpConfig {
  /** Interfaces whose hosts are served. */
  readonly inside: readonly string[];
  /** The interface by which their packets leave. */
  readonly outside: string;
  /** Whose requests are served; absent: those of the networks that the inside interfaces are in. */
  readonly allow?: readonly Cidr[];
  /** Seconds. */
  readonly lifetime: { readonly min: number; readonly max: number };
  /** Mappings of one inside host, or IPv6 /64. */
  readonly limit: number;
  /** External ports that may be asked for by name. */
  readonly ports: readonly PortRange[];
  readonly natPmp: boolean;
}

export interface Config {
  readonly interfaces: readonly InterfaceConfig[];
  /** In the order in which they are tried; their ids are 0. */
  readonly rules: readonly NatRule[];
  /** Rules for tracking, in order; their ids are 0. */
  readonly track: readonly TrackRule[];
  /** Destinations that are never source-translated. */
  readonly exempt: readonly Cidr[];
  readonly timeouts: Timeouts;
  /** Flows that can be tracked at a time. Absent: as many as the loaded table holds, DEFAULT_FLOWS in a new one. */
  readonly tables: { readonly flows4?: number; readonly flows6?: number };
  readonly gc: { readonly minIntervalMs: number; readonly maxIntervalMs: number };
  /** Absent: nothing is served. */
  readonly metrics?: { readonly host: string; readonly port: number };
  readonly events: readonly EventSink[];
  /** Absent: nobody is answered. */
  readonly pcp?: PcpConfig;
}
