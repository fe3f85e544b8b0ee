// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/** What the programs know of an interface that forwards past the stack: its entry of the map forward_ports. */
import { type Link, type XdpMode, xdpFeatures } from 'libbpf-ts';
import type { Datapath } from './datapath.js';
import { CtnatError } from './errors.js';
import { FORWARD_PORTS_MAX, type ForwardPort, ForwardPortFlags } from './generated/layouts.gen.js';
import { netSysctl } from './sysctl.js';
import type { Undo } from './undo.js';

/** What the programs' field holds; no packet that they send on is longer. */
const MTU_MAX = 0xffff;

const NOTHING: ForwardPort = { ifindex: 0, mac: [0, 0, 0, 0, 0, 0], flags: 0, mtu: 0, mtu6: 0 };

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
    a.mtu6 === b.mtu6 &&
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
  const filter = Math.max(...['all', name].map((each) => netSysctl(`ipv4/conf/${each}/rp_filter`) ?? 0));
  if (filter === 1) flags |= ForwardPortFlags.RP_STRICT;
  if (filter === 2) flags |= ForwardPortFlags.RP_LOOSE;
  if (!forwardsIpv6(name)) flags |= ForwardPortFlags.NO_IPV6;
  const mac = address.split(':').map((byte) => Number.parseInt(byte, 16));
  return {
    ifindex,
    mac,
    flags,
    mtu: Math.min(mtu, MTU_MAX),
    mtu6: Math.min(netSysctl(`ipv6/conf/${name}/mtu`) ?? mtu, mtu, MTU_MAX),
  };
}

/**
 * Whether the stack forwards an interface's IPv6 packets if the interface says that it forwards. Of what it asks
 * beside that (ip6_forward() and ip6_rcv_core() in net/ipv6/) the programs' look-up knows nothing.
 */
function forwardsIpv6(name: string): boolean {
  const own = (key: string): number => netSysctl(`ipv6/conf/${name}/${key}`) ?? 0;
  if (own('disable_ipv6') !== 0) return false;
  // where both are off, the look-up refuses until both are on: setting the one sets the other
  const isForced = own('force_forwarding') !== 0; // since 6.17
  return own('forwarding') === 0 || isForced || netSysctl('ipv6/conf/all/forwarding') !== 0;
}
