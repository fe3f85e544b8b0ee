// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the programs know of an interface that forwards past the stack: its entry of the map forward_ports. */
import { readFileSync } from 'node:fs';
import { type Link, type XdpMode, xdpFeatures } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { FORWARD_PORTS_MAX, type ForwardPort, ForwardPortFlags } from './generated/layouts.gen.js';
import type { Undo } from './undo.js';

const NOTHING: ForwardPort = { ifindex: 0, mac: [0, 0, 0, 0, 0, 0], flags: 0, mtu: 0 };

/** Where an interface's entry is. */
function indexOf(ifindex: number): number {
  return ifindex % FORWARD_PORTS_MAX;
}

/** How an interface forwards past the stack. */
export interface Forwarding {
  /** At XDP, and where the program runs. */
  readonly xdp?: XdpMode | undefined;
  /** At TC. */
  readonly redirects?: boolean | undefined;
}

/**
 * Lets the programs forward packets of this interface and to it; or brings what they know of it up to date.
 * @throws CtnatError if its place is another one's, which has the same low bits in its index
 */
export function openPort({ maps }: Datapath, link: Link, how: Forwarding, undo: Undo): void {
  const index = indexOf(link.ifindex);
  const before = maps.forward_ports.get(index) ?? NOTHING;
  if (before.ifindex !== 0 && before.ifindex !== link.ifindex) {
    throw new CtnatError(
      `can not attach ${link.name} ${how.xdp ? 'in mode xdp' : 'with redirect'}: its index ${link.ifindex} goes to ` +
        `the place of interface ${before.ifindex}; use neither for one of them`,
    );
  }
  const after = portEntry(link, how);
  if (isSamePort(before, after)) return;
  maps.forward_ports.set(index, after);
  undo.push(() => maps.forward_ports.set(index, before));
}

function isSamePort(a: ForwardPort, b: ForwardPort): boolean {
  return (
    a.ifindex === b.ifindex &&
    a.flags === b.flags &&
    a.mtu === b.mtu &&
    a.mac.every((byte, i) => byte === b.mac[i])
  );
}

/** From now on the stack forwards this interface's packets. Harmless if it has no entry. */
export function closePort({ maps }: Datapath, ifindex: number, undo?: Undo): void {
  const index = indexOf(ifindex);
  const before = maps.forward_ports.get(index);
  if (before?.ifindex !== ifindex || ifindex === 0) return;
  maps.forward_ports.set(index, NOTHING);
  undo?.push(() => maps.forward_ports.set(index, before));
}

function portEntry({ ifindex, name, address, kind, mtu }: Link, { xdp, redirects }: Forwarding): ForwardPort {
  // before 6.3 nobody says; a veth's takes packets only while its peer is ready for them
  const sends = xdpFeatures(ifindex)?.transmit ?? kind !== 'veth';
  let flags = 0;
  if (xdp) flags |= ForwardPortFlags.XDP;
  if (redirects) flags |= ForwardPortFlags.REDIRECT;
  if (xdp === 'native') flags |= ForwardPortFlags.NATIVE;
  if (sends) flags |= ForwardPortFlags.SENDS;
  const filter = Math.max(rpFilter('all'), rpFilter(name));
  if (filter === 1) flags |= ForwardPortFlags.RP_STRICT;
  if (filter === 2) flags |= ForwardPortFlags.RP_LOOSE;
  return { ifindex, mac: address.split(':').map((byte) => Number.parseInt(byte, 16)), flags, mtu };
}

/** 0: sources are not checked; 1: strictly; 2: loosely. */
function rpFilter(name: string): number {
  try {
    return Number.parseInt(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8'), 10);
  } catch {
    return 0; // without IPv4
  }
}
