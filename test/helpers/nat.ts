// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the end-to-end tests want of a NAT gateway. Two things can do it: ctnat, and nftables, which shows
// that a test asks for nothing but what users are used to. CTNAT_E2E_NAT=nftables chooses the latter; tests
// of what only ctnat has are skipped then.

import type { Test } from 'tap';
import { Ctnat } from './ctnat.js';
import type { Flow } from './flow.js';
import { Nftables } from './nftables.js';
import type { Topology } from './topology.js';

/** Timeouts in seconds; what is not given keeps its default. */
export interface Timeouts {
  udp?: number;
  udpStream?: number;
  icmp?: number;
  tcpEstablished?: number;
}

export interface Forward {
  proto: 'tcp' | 'udp';
  /** Port on the router's outside address. */
  port: number;
  to: string;
  toPort: number;
}

export interface GatewayOptions {
  timeouts?: Timeouts;
  /** Endpoint-independent mapping with this filter, of ctnat alone. */
  filtering?: 'eif' | 'adf' | 'apdf';
  /** Ports of the outside interface, LOW-HIGH; of ctnat alone. */
  ports?: string;
  /** Masquerade for both families, not only IPv4; of ctnat alone. */
  ipv6?: boolean;
}

export interface Nat {
  /** Attaches to every interface of the router, with masquerade on the outside one. */
  start(options?: GatewayOptions): Promise<void>;
  /** Forwards a port of the outside address to an inside host. */
  forward(forward: Forward): Promise<void>;
  /** Source NAT to a fixed address and ports, for flows leaving the router from an inside network. */
  snat(source: string, to: string, ports?: [number, number]): Promise<void>;
  flows(): Promise<Flow[]>;
}

export const NAT_KIND = process.env.CTNAT_E2E_NAT === 'nftables' ? 'nftables' : 'ctnat';

/** Why a test that needs ctnat itself does not run, or false. */
export const CTNAT_ONLY = NAT_KIND === 'ctnat' ? false : 'a test of ctnat itself; this run uses nftables';

/** The NAT under test, for a router. */
export function natFor(topology: Topology): Nat {
  return NAT_KIND === 'ctnat' ? new Ctnat(topology) : new Nftables(topology);
}

/** ctnat, for tests marked CTNAT_ONLY. */
export function ctnatFor(topology: Topology): Ctnat {
  return new Ctnat(topology);
}

/** Fails the test, rather than skipping it, where namespaces cannot be made. */
export function needsRoot(t: Test): void {
  if (process.getuid?.() !== 0) t.bailout('end-to-end tests make network namespaces: run them as root');
}
