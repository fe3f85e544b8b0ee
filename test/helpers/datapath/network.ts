// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The router that the packet tables play on: a network namespace with two interfaces, addresses and routes.
// No packet ever travels in it; the datapath's routing look-ups and the test runs' ifindex need it.
import { setNetns } from 'libbpf-ts';
import type { Test } from 'tap';
import { Namespace, veth } from '../netns.js';
import { ROUTER_LAN, ROUTER_MAC, ROUTER_POOL, ROUTER_WAN } from '../packet.js';
import { Teardown } from '../teardown.js';
import type { Network } from './step.js';
import { stepperKind } from './stepper.js';

/** Builds the namespace and moves this process into it for good: one test file has one router. */
export async function enterRouter(t: Pick<Test, 'teardown'>): Promise<Network> {
  const teardown = Teardown.of(t as Test);
  const router = await Namespace.create('tables', teardown);
  const isWire = stepperKind() === 'wire';
  // a packet that stays in its namespace keeps its mark
  const peer = isWire ? router : await Namespace.create('peer', teardown);
  // with room for the longest frame of a test run
  const options = isWire ? { mtu: 8000 } : {};
  for (const name of ['lan0', 'wan0', 'dmz0']) {
    await veth(router, name, peer, isWire ? `${name}-far` : name, options);
    // of a veth the address is what test runs compare a frame's destination with (eth_type_trans)
    await router.ip('link', 'set', name, 'address', ROUTER_MAC);
  }
  await router.sysctl({ 'net.ipv4.ip_forward': 1, 'net.ipv6.conf.all.forwarding': 1 });
  const addresses: [string, string][] = [
    ['lan0', `${ROUTER_LAN.ip4}/24`],
    ['lan0', `${ROUTER_LAN.ip6}/64`],
    ['wan0', `${ROUTER_WAN.ip4}/24`],
    ['wan0', `${ROUTER_POOL.ip4}/24`],
    ['wan0', `${ROUTER_WAN.ip6}/64`],
    ['dmz0', '203.0.113.1/24'],
  ];
  for (const [name, address] of addresses) {
    await router.ip('address', 'add', address, 'dev', name, ...(address.includes('::') ? ['nodad'] : []));
  }
  await router.ip('route', 'add', 'default', 'via', '198.51.100.254', 'dev', 'wan0');
  await router.ip('-6', 'route', 'add', 'default', 'via', '2001:db8:1::fe', 'dev', 'wan0');
  const links = JSON.parse(await router.ip('-j', 'link', 'show')) as { ifname: string; ifindex: number }[];
  const index = (name: string): number => links.find((link) => link.ifname === name)!.ifindex;
  const network = {
    ...{ lan0: index('lan0'), wan0: index('wan0'), dmz0: index('dmz0') },
    ...(isWire && {
      far: { lan0: index('lan0-far'), wan0: index('wan0-far'), dmz0: index('dmz0-far') },
    }),
  };
  setNetns(router.path);
  return network;
}
