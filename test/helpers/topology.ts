// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The network that the end-to-end tests run in, every box a namespace:
//
//   client 1 --+                                      +-- server 1
//   client 2 --+-- router -- (wan0) --- [hop] --------+-- server 2
//
// The clients sit on a bridge of the router (lan0), or each on a port of its own (lan0, lan1). Without a hop
// the only server is on the router's outside link. Servers know no route to the clients: an answer to an
// untranslated packet would be lost.

import { Namespace, veth } from './netns.js';
import type { Teardown } from './teardown.js';

export interface TopologyOptions {
  /** Number of clients, default 2. */
  clients?: number;
  /** How they are connected to the router; default bridge. */
  lan?: 'bridge' | 'ports';
  /** Number of servers, default 1; more need the hop. */
  servers?: number;
  /** A plain router (no NAT) between the router's outside link and the servers. */
  hop?: boolean;
  /** MTU of the hop towards the servers, default 1500. The servers' own stays 1500: they do not know. */
  hopMtu?: number;
}

/** A client or server: one interface, eth0. */
export interface Host {
  ns: Namespace;
  ipv4: string;
  ipv6: string;
}

export interface Router {
  ns: Namespace;
  /** Inside interfaces, the bridge or the ports. */
  lan: string[];
  /** Inside addresses, one for each of `lan`. */
  lanIpv4: string[];
  wan: 'wan0';
  ipv4: string;
  ipv6: string;
  /** A second outside address, for SNAT to an address that is not the interface's first. */
  ipv4Second: string;
}

export interface Topology {
  clients: Host[];
  router: Router;
  servers: Host[];
  hop?: Namespace;
}

/** Outside address of the hop on the router's link. */
export const HOP_IPV4 = '198.51.100.254';
export const HOP_IPV6 = '2001:db8:1::fe';

/** Builds the network; the teardown removes it. */
export async function createTopology(teardown: Teardown, options: TopologyOptions = {}): Promise<Topology> {
  const serverCount = options.servers ?? 1;
  const hasHop = options.hop ?? serverCount > 1;
  const ns = await Namespace.create('router', teardown);
  await forwarding(ns);
  const router: Router = {
    ns,
    lan: [],
    lanIpv4: [],
    wan: 'wan0',
    ipv4: '198.51.100.1',
    ipv6: '2001:db8:1::1',
    ipv4Second: '198.51.100.4',
  };
  const clients = await createClients(router, options.clients ?? 2, options.lan ?? 'bridge', teardown);
  const { servers, hop } = hasHop
    ? await createHop(router, serverCount, options.hopMtu ?? 1500, teardown)
    : { servers: [await createDirectServer(router, teardown)], hop: undefined };
  await address(ns, router.wan, `${router.ipv4}/24`, `${router.ipv4Second}/24`, `${router.ipv6}/64`);
  if (hop) await route(ns, 'default', HOP_IPV4, HOP_IPV6);
  return { clients, router, servers, ...(hop && { hop }) };
}

async function createClients(
  router: Router,
  count: number,
  lan: 'bridge' | 'ports',
  teardown: Teardown,
): Promise<Host[]> {
  if (lan === 'bridge') {
    await router.ns.ip('link', 'add', 'lan0', 'type', 'bridge', 'mcast_snooping', '0');
    await router.ns.ip('link', 'set', 'lan0', 'up');
    await addLan(router, 'lan0', 0);
  }
  const clients: Host[] = [];
  for (let i = 0; i < count; i++) {
    const ns = await Namespace.create(`client${i + 1}`, teardown);
    const net = lan === 'bridge' ? 0 : i;
    const host = lan === 'bridge' ? 2 + i : 2;
    const port = lan === 'bridge' ? `port${i}` : `lan${i}`;
    await veth(ns, 'eth0', router.ns, port);
    await plainChecksums(ns);
    if (lan === 'bridge') await router.ns.ip('link', 'set', port, 'master', 'lan0');
    else await addLan(router, port, i);
    const client = { ns, ipv4: `10.0.${net}.${host}`, ipv6: `fd00:10:0:${net}::${host}` };
    await address(ns, 'eth0', `${client.ipv4}/24`, `${client.ipv6}/64`);
    await route(ns, 'default', `10.0.${net}.1`, `fd00:10:0:${net}::1`);
    clients.push(client);
  }
  return clients;
}

async function addLan(router: Router, name: string, net: number): Promise<void> {
  router.lan.push(name);
  router.lanIpv4.push(`10.0.${net}.1`);
  await address(router.ns, name, `10.0.${net}.1/24`, `fd00:10:0:${net}::1/64`);
}

async function createDirectServer(router: Router, teardown: Teardown): Promise<Host> {
  const server = {
    ns: await Namespace.create('server', teardown),
    ipv4: '198.51.100.9',
    ipv6: '2001:db8:1::9',
  };
  await veth(server.ns, 'eth0', router.ns, router.wan);
  await plainChecksums(server.ns);
  await address(server.ns, 'eth0', `${server.ipv4}/24`, `${server.ipv6}/64`);
  return server;
}

async function createHop(
  router: Router,
  count: number,
  mtu: number,
  teardown: Teardown,
): Promise<{ servers: Host[]; hop: Namespace }> {
  const hop = await Namespace.create('hop', teardown);
  await forwarding(hop);
  await veth(hop, 'up0', router.ns, router.wan);
  if (process.env.CTNAT_MODE === 'xdp') await hop.offload('up0', { gro: true });
  await address(hop, 'up0', `${HOP_IPV4}/24`, `${HOP_IPV6}/64`);
  await hop.ip('link', 'add', 'net0', 'type', 'bridge', 'mcast_snooping', '0');
  await hop.ip('link', 'set', 'net0', 'up');
  const servers: Host[] = [];
  for (let i = 0; i < count; i++) {
    const ns = await Namespace.create(`server${i + 1}`, teardown);
    const server = { ns, ipv4: `203.0.113.${9 + i}`, ipv6: `2001:db8:2::${9 + i}` };
    await veth(ns, 'eth0', hop, `port${i}`);
    await plainChecksums(ns);
    await hop.ip('link', 'set', `port${i}`, 'master', 'net0');
    await address(ns, 'eth0', `${server.ipv4}/24`, `${server.ipv6}/64`);
    await route(ns, '198.51.100.0/24', '203.0.113.1');
    await route(ns, '2001:db8:1::/64', '2001:db8:2::1');
    servers.push(server);
  }
  await hop.ip('link', 'set', 'net0', 'mtu', String(mtu));
  await address(hop, 'net0', '203.0.113.1/24', '2001:db8:2::1/64');
  return { servers, hop };
}

function forwarding(ns: Namespace): Promise<void> {
  return ns.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
}

async function address(ns: Namespace, iface: string, ...addresses: string[]): Promise<void> {
  for (const each of addresses) {
    const flags = each.includes(':') ? ['nodad'] : [];
    await ns.ip('address', 'add', each, 'dev', iface, ...flags);
  }
}

/** In XDP mode hosts fill in checksums themselves: what they leave to the device goes by TC. */
async function plainChecksums(ns: Namespace): Promise<void> {
  if (process.env.CTNAT_MODE === 'xdp') await ns.offload('eth0', { tx: false, gro: true });
}

async function route(ns: Namespace, to: string, ...gateways: string[]): Promise<void> {
  for (const via of gateways) {
    await ns.ip(via.includes(':') ? '-6' : '-4', 'route', 'add', to, 'via', via);
  }
}
