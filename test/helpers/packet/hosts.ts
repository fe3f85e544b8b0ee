// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Who takes part in the packet tables:
//
//   CLIENT  --+                                          +-- SERVER
//   CLIENT2 --+-- ROUTER_LAN [router] ROUTER_WAN -- ... -+-- SERVER2, STRANGER, HOP (a router on the way)
//                            ROUTER_POOL, ROUTER_POOL_LAST: addresses for SNAT

export interface Host {
  name: string;
  ip4: string;
  ip6: string;
}

/** A host of a test's own. */
export const host = (name: string, ip4: string, ip6: string): Host => ({ name, ip4, ip6 });

export const CLIENT = host('CLIENT', '10.0.0.2', 'fd00:10::2');
export const CLIENT2 = host('CLIENT2', '10.0.0.3', 'fd00:10::3');
export const ROUTER_LAN = host('ROUTER_LAN', '10.0.0.1', 'fd00:10::1');
export const ROUTER_WAN = host('ROUTER_WAN', '198.51.100.1', '2001:db8:1::1');
export const ROUTER_POOL = host('ROUTER_POOL', '198.51.100.4', '2001:db8:1::4');
export const ROUTER_POOL_LAST = host('ROUTER_POOL_LAST', '198.51.100.7', '2001:db8:1::7');
export const HOP = host('HOP', '198.51.100.254', '2001:db8:1::fe');
export const SERVER = host('SERVER', '192.0.2.9', '2001:db8:2::9');
export const SERVER2 = host('SERVER2', '192.0.2.10', '2001:db8:2::a');
export const STRANGER = host('STRANGER', '203.0.113.7', '2001:db8:3::7');
export const NOBODY = host('NOBODY', '0.0.0.0', '::');
export const MULTICAST = host('MULTICAST', '224.0.0.251', 'ff02::fb');
export const BROADCAST = host('BROADCAST', '255.255.255.255', 'ff02::1');

const ALL = [
  CLIENT,
  CLIENT2,
  ROUTER_LAN,
  ROUTER_WAN,
  ROUTER_POOL,
  ROUTER_POOL_LAST,
  HOP,
  SERVER,
  SERVER2,
  STRANGER,
  MULTICAST,
  BROADCAST,
];
const NAMES = new Map(
  ALL.flatMap(({ name, ip4, ip6 }): [string, string][] => [
    [ip4, name],
    [ip6, name],
  ]),
);

/** A host's name, or the address if it is nobody's. */
export function nameOf(address: string): string {
  return NAMES.get(address) ?? address;
}

/** Hardware address of both of the router's interfaces: a frame's link header then serves at either hook. */
export const ROUTER_MAC = '02:00:00:00:00:01';
export const PEER_MAC = '02:00:00:00:00:02';
