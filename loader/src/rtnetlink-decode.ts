// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
/**
 * Routing netlink's links, addresses, routes, neighbours and rules from message bodies to typed values. Pure.
 * Layouts: include/uapi/linux/{if_link,if_addr,rtnetlink,neighbour,fib_rules}.h. Addresses become text, integers host numbers.
 */
import { formatIp, formatLinkAddress } from './ip-text.js';
import { readAttributes, readText, readU32 } from './netlink-message.js';

export type IpFamily = 'ipv4' | 'ipv6';

export interface Link {
  ifindex: number;
  name: string;
  /** The driver's word (veth, bridge, vlan, wireguard, ...); absent for physical devices and lo. */
  kind?: string;
  /** ARPHRD_*: 1 Ethernet, 772 loopback, 65534 none (tun, wireguard), 512 PPP. */
  type: number;
  /** Bytes. */
  mtu: number;
  /** IFF_*: 0x1 up, 0x8 loopback, 0x10 point to point, 0x40 running, 0x10000 carrier. */
  flags: number;
  isUp: boolean;
  /** ifindex of the bridge, bond or VRF it belongs to. */
  master?: number;
  /** ifindex of the lower device or the veth peer; of another namespace where `linkNetnsid` is there. */
  link?: number;
  linkNetnsid?: number;
  /** Link-layer address as text; empty where the device has none. */
  address: string;
}

export type AddressFlag =
  | 'secondary'
  | 'temporary'
  | 'nodad'
  | 'optimistic'
  | 'dadfailed'
  | 'home'
  | 'deprecated'
  | 'tentative'
  | 'permanent'
  | 'managetempaddr'
  | 'noprefixroute'
  | 'mcautojoin'
  | 'stable-privacy';

export interface InterfaceAddress {
  ifindex: number;
  family: IpFamily;
  /** The interface's own address, on point-to-point links too (the kernel's IFA_LOCAL where there is one). */
  address: string;
  /** The other end of a point-to-point link, where it differs from `address`. */
  peer?: string;
  prefix: number;
  /** RT_SCOPE_*: 0 universe, 200 site, 253 link, 254 host. */
  scope: number;
  flags: readonly AddressFlag[];
  /** Seconds until it is deprecated; absent: for ever. */
  preferredSeconds?: number;
  /** Seconds until it is removed; absent: for ever. */
  validSeconds?: number;
}

export interface Route {
  family: IpFamily;
  /** RT_TABLE_*: 254 main, 255 local. */
  table: number;
  /** RTPROT_*: 2 kernel, 3 boot, 4 static. */
  protocol: number;
  scope: number;
  /** RTN_*: 1 unicast, 2 local, 3 broadcast, 6 blackhole, 7 unreachable. */
  type: number;
  /** "0.0.0.0" or "::" with prefix 0 for the default route. */
  destination: string;
  prefix: number;
  gateway?: string;
  /** ifindex of the way out; absent for multipath and rejecting routes. */
  ifindex?: number;
  metric?: number;
  /** The source address the kernel prefers on this route. */
  source?: string;
}

export interface Neighbour {
  family: IpFamily;
  ifindex: number;
  address: string;
  /** NUD_*: 0x02 reachable, 0x04 stale, 0x20 failed, 0x80 permanent. */
  state: number;
  linkAddress?: string;
}

/** A rule of the routing policy, as far as ports go. */
export interface Rule {
  family: IpFamily;
  /** Which comes first: the lowest. */
  priority: number;
  /** RT_TABLE_*: 254 main, 255 local; 0 for rules that name none. */
  table: number;
  /** First and last; absent: whatever ports the packet has. Since 4.17. */
  sourcePorts?: readonly [number, number];
  destinationPorts?: readonly [number, number];
}

const AF_INET = 2;
const AF_INET6 = 10;

function ipFamily(family: number): IpFamily | undefined {
  if (family === AF_INET) return 'ipv4';
  return family === AF_INET6 ? 'ipv6' : undefined;
}

function ipText(attribute: Buffer | undefined): string | undefined {
  return attribute && (attribute.length === 4 || attribute.length === 16) ? formatIp(attribute) : undefined;
}

const IFF_UP = 0x1;
const IFLA_ADDRESS = 1;
const IFLA_IFNAME = 3;
const IFLA_MTU = 4;
const IFLA_LINK = 5;
const IFLA_MASTER = 10;
const IFLA_LINKINFO = 18;
const IFLA_INFO_KIND = 1;
const IFLA_LINK_NETNSID = 37;

/** `struct ifinfomsg` and its attributes; undefined for what is no link of its own (bridge port messages). */
export function decodeLink(body: Buffer): Link | undefined {
  if (body.length < 16 || body[0] !== 0) return undefined;
  const attributes = readAttributes(body, 16);
  const info = attributes.get(IFLA_LINKINFO);
  const kind = info && readText(readAttributes(info).get(IFLA_INFO_KIND));
  const master = readU32(attributes.get(IFLA_MASTER));
  const link = readU32(attributes.get(IFLA_LINK));
  const linkNetnsid = attributes.get(IFLA_LINK_NETNSID)?.readInt32LE(0);
  const flags = body.readUInt32LE(8);
  return {
    ifindex: body.readInt32LE(4),
    name: readText(attributes.get(IFLA_IFNAME)) ?? '',
    type: body.readUInt16LE(2),
    mtu: readU32(attributes.get(IFLA_MTU)) ?? 0,
    flags,
    isUp: (flags & IFF_UP) !== 0,
    address: formatLinkAddress(attributes.get(IFLA_ADDRESS) ?? Buffer.alloc(0)),
    ...(kind !== undefined && { kind }),
    ...(master && { master }),
    ...(link && { link }),
    ...(linkNetnsid !== undefined && { linkNetnsid }),
  };
}

const IFA_ADDRESS = 1;
const IFA_LOCAL = 2;
const IFA_CACHEINFO = 6;
const IFA_FLAGS = 8;
const FOREVER = 0xffffffff;

/** Bits of IFA_FLAGS from 0x2 on; 0x1 is "secondary" in IPv4 and "temporary" (RFC 8981) in IPv6. */
const ADDRESS_FLAGS: readonly AddressFlag[] = [
  'nodad',
  'optimistic',
  'dadfailed',
  'home',
  'deprecated',
  'tentative',
  'permanent',
  'managetempaddr',
  'noprefixroute',
  'mcautojoin',
  'stable-privacy',
];

function addressFlags(bits: number, family: IpFamily): AddressFlag[] {
  const flags = ADDRESS_FLAGS.filter((_, index) => bits & (2 << index));
  if (bits & 1) flags.unshift(family === 'ipv4' ? 'secondary' : 'temporary');
  return flags;
}

/** `struct ifaddrmsg` and its attributes; undefined for families other than IPv4 and IPv6. */
export function decodeAddress(body: Buffer): InterfaceAddress | undefined {
  const family = body.length >= 8 ? ipFamily(body[0]!) : undefined;
  if (!family) return undefined;
  const attributes = readAttributes(body, 8);
  const far = ipText(attributes.get(IFA_ADDRESS));
  const address = ipText(attributes.get(IFA_LOCAL)) ?? far;
  if (!address) return undefined;
  const cache = attributes.get(IFA_CACHEINFO);
  const preferredSeconds = cache ? cache.readUInt32LE(0) : FOREVER;
  const validSeconds = cache ? cache.readUInt32LE(4) : FOREVER;
  return {
    ifindex: body.readUInt32LE(4),
    family,
    address,
    ...(far !== undefined && far !== address && { peer: far }),
    prefix: body[1]!,
    scope: body[3]!,
    flags: addressFlags(readU32(attributes.get(IFA_FLAGS)) ?? body[2]!, family),
    ...(preferredSeconds !== FOREVER && { preferredSeconds }),
    ...(validSeconds !== FOREVER && { validSeconds }),
  };
}

const RTA_DST = 1;
const RTA_OIF = 4;
const RTA_GATEWAY = 5;
const RTA_PRIORITY = 6;
const RTA_PREFSRC = 7;
const RTA_TABLE = 15;
const RTA_VIA = 18;

/** `struct rtmsg` and its attributes; undefined for families other than IPv4 and IPv6. */
export function decodeRoute(body: Buffer): Route | undefined {
  const family = body.length >= 12 ? ipFamily(body[0]!) : undefined;
  if (!family) return undefined;
  const attributes = readAttributes(body, 12);
  // RTA_VIA is a u16 family and the address: an IPv4 route by an IPv6 gateway (since 5.2).
  const gateway = ipText(attributes.get(RTA_GATEWAY)) ?? ipText(attributes.get(RTA_VIA)?.subarray(2));
  const ifindex = readU32(attributes.get(RTA_OIF));
  const metric = readU32(attributes.get(RTA_PRIORITY));
  const source = ipText(attributes.get(RTA_PREFSRC));
  return {
    family,
    table: readU32(attributes.get(RTA_TABLE)) ?? body[4]!,
    protocol: body[5]!,
    scope: body[6]!,
    type: body[7]!,
    destination: ipText(attributes.get(RTA_DST)) ?? (family === 'ipv4' ? '0.0.0.0' : '::'),
    prefix: body[1]!,
    ...(gateway !== undefined && { gateway }),
    ...(ifindex !== undefined && { ifindex }),
    ...(metric !== undefined && { metric }),
    ...(source !== undefined && { source }),
  };
}

const NDA_DST = 1;
const NDA_LLADDR = 2;

/** `struct ndmsg` and its attributes; undefined for families other than IPv4 and IPv6 (bridge FDB entries). */
export function decodeNeighbour(body: Buffer): Neighbour | undefined {
  const family = body.length >= 12 ? ipFamily(body[0]!) : undefined;
  if (!family) return undefined;
  const attributes = readAttributes(body, 12);
  const address = ipText(attributes.get(NDA_DST));
  if (!address) return undefined;
  const linkAddress = attributes.get(NDA_LLADDR);
  return {
    family,
    ifindex: body.readInt32LE(4),
    address,
    state: body.readUInt16LE(8),
    ...(linkAddress && { linkAddress: formatLinkAddress(linkAddress) }),
  };
}

const FRA_PRIORITY = 6;
const FRA_TABLE = 15;
const FRA_SPORT_RANGE = 23;
const FRA_DPORT_RANGE = 24;

/** `struct fib_rule_hdr` and its attributes; undefined for families other than IPv4 and IPv6 (multicast routing). */
export function decodeRule(body: Buffer): Rule | undefined {
  const family = body.length >= 12 ? ipFamily(body[0]!) : undefined;
  if (!family) return undefined;
  const attributes = readAttributes(body, 12);
  const sourcePorts = portRange(attributes.get(FRA_SPORT_RANGE));
  const destinationPorts = portRange(attributes.get(FRA_DPORT_RANGE));
  return {
    family,
    priority: readU32(attributes.get(FRA_PRIORITY)) ?? 0,
    table: readU32(attributes.get(FRA_TABLE)) ?? body[4]!,
    ...(sourcePorts && { sourcePorts }),
    ...(destinationPorts && { destinationPorts }),
  };
}

/** `struct fib_rule_port_range`. */
function portRange(attribute: Buffer | undefined): readonly [number, number] | undefined {
  return attribute && attribute.length >= 4
    ? [attribute.readUInt16LE(0), attribute.readUInt16LE(2)]
    : undefined;
}
