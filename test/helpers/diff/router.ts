// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The router of path.ts, as a network namespace, with its three links' far ends in another.
import { Namespace, veth } from '../netns.js';
import type { Teardown } from '../teardown.js';
import { type Family, NETWORK, ROUTER, type SideName } from './path.js';

export const ROUTER_MAC = '02:00:00:00:00:01';
const NEXT_HOP_MAC = '02:00:00:00:00:02';
const MTU = 65_535;
const SIDES: readonly SideName[] = ['a', 'b', 'c'];

export interface Router {
  ns: Namespace;
  ends: Namespace;
  /** By side. Interfaces are called side-a, side-b, side-c, here and there. */
  ifindex: Record<SideName, number>;
}

/** Builds the router. Its far ends are silent: what comes out of them a test has put there. */
export async function buildRouter(label: string, teardown: Teardown): Promise<Router> {
  const ns = await Namespace.create(label, teardown);
  const ends = await Namespace.create(`${label}-e`, teardown);
  await ends.sysctl({ 'net.ipv6.conf.all.disable_ipv6': 1, 'net.ipv6.conf.default.disable_ipv6': 1 });
  await ns.sysctl({
    'net.ipv4.ip_forward': 1,
    'net.ipv6.conf.all.forwarding': 1,
    'net.ipv6.conf.default.addr_gen_mode': 1, // no link-local address, hence nothing to announce
    'net.ipv6.conf.default.router_solicitations': 0,
  });
  for (const side of SIDES) {
    await veth(ends, linkOf(side), ns, linkOf(side), { mtu: MTU });
    await ns.ip('link', 'set', linkOf(side), 'address', ROUTER_MAC);
    for (const family of [4, 6] as const) await route(ns, side, family);
  }
  for (const family of [4, 6] as const) {
    // on the loopback, so that nothing is masqueraded as it
    await ns.ip('address', 'add', ROUTER[family].forwarded, 'dev', 'lo', ...quietly(family));
  }
  const links = JSON.parse(await ns.ip('-j', 'link', 'show')) as { ifname: string; ifindex: number }[];
  const ifindex = Object.fromEntries(
    SIDES.map((side) => [side, links.find(({ ifname }) => ifname === linkOf(side))!.ifindex]),
  ) as Record<SideName, number>;
  return { ns, ends, ifindex };
}

/** The router's address at a side, and the network behind it by way of a neighbour that never moves. */
async function route(ns: Namespace, side: SideName, family: Family): Promise<void> {
  const address = ROUTER[family].at[side];
  const neighbour = address.replace(/1$/, '2');
  await ns.ip('address', 'add', withLength(address, family), 'dev', linkOf(side), ...quietly(family));
  await ns.ip('neighbour', 'add', neighbour, 'lladdr', NEXT_HOP_MAC, 'nud', 'permanent', 'dev', linkOf(side));
  await ns.ip(`-${family}`, 'route', 'add', NETWORK[family][side], 'via', neighbour, 'dev', linkOf(side));
}

export const linkOf = (side: SideName): string => `side-${side}`;
const withLength = (address: string, family: Family): string => `${address}/${family === 4 ? 24 : 64}`;
const quietly = (family: Family): string[] => (family === 6 ? ['nodad'] : []);
