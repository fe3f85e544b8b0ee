// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the programs at XDP know of an interface: its entry of the map xdp_ports. */
import { readFileSync } from 'node:fs';
import { type Link, type XdpMode, xdpFeatures } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { XDP_PORTS_MAX, type XdpPort, XdpPortFlags } from './generated/layouts.gen.js';
import type { Undo } from './undo.js';

const NOTHING: XdpPort = { ifindex: 0, mac: [0, 0, 0, 0, 0, 0], flags: 0 };

/** Where an interface's entry is. */
function indexOf(ifindex: number): number {
  return ifindex % XDP_PORTS_MAX;
}

/**
 * Lets the programs forward packets of this interface and to it; or brings what they know of it up to date.
 * @throws CtnatError if its place is another one's, which has the same low bits in its index
 */
export function openPort({ maps }: Datapath, link: Link, mode: XdpMode, undo: Undo): void {
  const index = indexOf(link.ifindex);
  const before = maps.xdp_ports.get(index) ?? NOTHING;
  if (before.ifindex !== 0 && before.ifindex !== link.ifindex) {
    throw new CtnatError(
      `can not attach ${link.name} in mode xdp: its index ${link.ifindex} goes to the place of interface ` +
        `${before.ifindex}; use tc for one of them`,
    );
  }
  const after = portEntry(link, mode);
  if (before.flags === after.flags && before.mac.every((byte, i) => byte === after.mac[i])) return;
  maps.xdp_ports.set(index, after);
  undo.push(() => maps.xdp_ports.set(index, before));
}

/** From now on the programs leave this interface's packets to TC. Harmless if it has no entry. */
export function closePort({ maps }: Datapath, ifindex: number, undo?: Undo): void {
  const index = indexOf(ifindex);
  const before = maps.xdp_ports.get(index);
  if (before?.ifindex !== ifindex || ifindex === 0) return;
  maps.xdp_ports.set(index, NOTHING);
  undo?.push(() => maps.xdp_ports.set(index, before));
}

function portEntry({ ifindex, name, address, kind }: Link, mode: XdpMode): XdpPort {
  // before 6.3 nobody says; a veth's takes packets only while its peer is ready for them
  const sends = xdpFeatures(ifindex)?.transmit ?? kind !== 'veth';
  let flags = 0;
  if (mode === 'native') flags |= XdpPortFlags.NATIVE;
  if (sends) flags |= XdpPortFlags.SENDS;
  const filter = Math.max(rpFilter('all'), rpFilter(name));
  if (filter === 1) flags |= XdpPortFlags.RP_STRICT;
  if (filter === 2) flags |= XdpPortFlags.RP_LOOSE;
  return { ifindex, mac: address.split(':').map((byte) => Number.parseInt(byte, 16)), flags };
}

/** 0: sources are not checked; 1: strictly; 2: loosely. */
function rpFilter(name: string): number {
  try {
    return Number.parseInt(readFileSync(`/proc/sys/net/ipv4/conf/${name}/rp_filter`, 'utf8'), 10);
  } catch {
    return 0; // without IPv4
  }
}
