// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Frames between named hosts, as the packet tables write them.
import { build } from './build.js';
import { type Host, PEER_MAC, ROUTER_MAC } from './hosts.js';
import { ethernet, type Ipv4, type Ipv6, ipv4, ipv6, type Layer, type Vlan } from './layer.js';

export interface FrameOptions {
  /** Fields of the IP header that differ from the usual ones. */
  ip?: Partial<Ipv4>;
  ip6?: Partial<Ipv6>;
  /** Tags in the frame, outermost first. */
  vlans?: Vlan[];
  /** Destination hardware address, default the router's. */
  mac?: string;
}

/** An IPv4 packet from host to host, in an Ethernet frame. */
export function frame(from: Host, to: Host, ...layers: Layer[]): Buffer {
  return frameWith({}, from, to, ...layers);
}

/** An IPv6 packet from host to host, in an Ethernet frame. */
export function frame6(from: Host, to: Host, ...layers: Layer[]): Buffer {
  return frame6With({}, from, to, ...layers);
}

/** As frame(), with unusual headers. */
export function frameWith(options: FrameOptions, from: Host, to: Host, ...layers: Layer[]): Buffer {
  return build(...link(options), ipv4({ src: from.ip4, dst: to.ip4, ...options.ip }), ...layers);
}

/** As frame6(), with unusual headers. */
export function frame6With(options: FrameOptions, from: Host, to: Host, ...layers: Layer[]): Buffer {
  return build(...link(options), ipv6({ src: from.ip6, dst: to.ip6, ...options.ip6 }), ...layers);
}

function link(options: FrameOptions): Layer[] {
  return [ethernet({ src: PEER_MAC, dst: options.mac ?? ROUTER_MAC }), ...(options.vlans ?? [])];
}
