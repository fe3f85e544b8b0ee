// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The start of nearly every end-to-end test: a network, the NAT, and a peer in every client and server.

import type { Test } from 'tap';
import { type GatewayOptions, type Nat, natFor, needsRoot } from './nat.js';
import { Peer } from './peer.js';
import { Teardown } from './teardown.js';
import { createTopology, type Host, type Router, type Topology, type TopologyOptions } from './topology.js';
import { slowly } from './wait.js';

export interface SceneHost extends Host {
  peer: Peer;
}

export interface Scene {
  topology: Topology;
  router: Router;
  clients: SceneHost[];
  servers: SceneHost[];
  server: SceneHost;
  nat: Nat;
}

/** Ports that every server serves on its address. */
export const UDP_PORT = 5353;
export const TCP_PORT = 7000;
export const HTTP_PORT = 8000;

/** Network and peers without any NAT. Everything is gone when the test ends. */
export async function network(t: Test, options: TopologyOptions = {}): Promise<Omit<Scene, 'nat'>> {
  needsRoot(t);
  t.setTimeout(slowly(60_000));
  const topology = await createTopology(Teardown.of(t), options);
  const withPeer = async (host: Host): Promise<SceneHost> => ({ ...host, peer: await Peer.start(host.ns) });
  const [clients, servers] = await Promise.all([
    Promise.all(topology.clients.map(withPeer)),
    Promise.all(topology.servers.map(withPeer)),
  ]);
  for (const { peer, ipv4 } of servers)
    await peer.serve(ipv4, { udp: UDP_PORT, tcp: TCP_PORT, http: HTTP_PORT });
  return { topology, router: topology.router, clients, servers, server: servers[0]! };
}

/** As network(), with the NAT under test attached to the router and masquerading. */
export async function scene(t: Test, options: TopologyOptions & GatewayOptions = {}): Promise<Scene> {
  const base = await network(t, options);
  const nat = natFor(base.topology);
  await nat.start(options);
  return { ...base, nat };
}
