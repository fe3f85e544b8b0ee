// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What a datapath does for mappings that inside hosts ask for, whatever datapath it is. */
import type { Address } from '../address.js';
import type { PortRange } from '../port-range.js';

/** An inside address, protocol and port, in host order. */
export interface Inside {
  readonly address: Address;
  readonly protocol: number;
  readonly port: number;
}

/** How an inside host's packets leave. */
export interface Outside {
  readonly address: Address;
  /** Ports that it may have, also by name; empty: any. */
  readonly ranges: readonly PortRange[];
}

/** A mapping as the datapath has it. */
export interface Held {
  readonly slot: number;
  readonly gen: number;
  readonly external: { readonly address: Address; readonly port: number };
}

export interface Mapper {
  /** Whether mappings of the protocol are endpoint-independent. */
  maps(protocol: number): boolean;
  /** undefined: nothing translates the host, or there is no address just now. */
  outside(inside: Inside): Outside | undefined;
  /** The mapping that the inside endpoint has, whoever made it. */
  find(inside: Inside, outside: Outside): Held | undefined;
  /**
   * Makes a mapping that lasts so many seconds. taken: the external port is another's, a forward's or the host's own.
   * full: there is no room. known: the inside endpoint has got one just now. limit: its subscriber has all the ports
   * that it may have (RFC 6888 REQ-4).
   */
  open(inside: Inside, outside: Outside, port: number, seconds: number): Held | NotOpened;
  /** Makes a mapping last so many seconds from now. busy: it is there, and not to be changed just now. */
  keep(inside: Inside, held: Held, seconds: number): 'kept' | 'gone' | 'busy';
  /** The mapping lasts no longer than its flows; false: it is busy, and is as it was. */
  release(inside: Inside, held: Held): boolean;
  /** What has become of a mapping that should last so many seconds still. changed: it is there for another time. */
  look(inside: Inside, held: Held, seconds: number): 'held' | 'changed' | 'gone';
}

export type NotOpened = 'taken' | 'full' | 'known' | 'limit';
