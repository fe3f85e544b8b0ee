// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The kinds of router that are compared: how each is set up, and how it forgets its flows.
import { join } from 'node:path';
import { Ctnat } from '../helpers/ctnat.js';
import type { Namespace } from '../helpers/netns.js';

export const ROUTER = {
  plain: 'plain forwarding',
  nftables: 'nftables masquerade',
  iptables: 'iptables masquerade',
  tc: 'ctnat TC',
  redirect: 'ctnat TC with redirect',
  xdp: 'ctnat XDP',
  bare: 'bare XDP forwarder',
} as const;

/** What stands behind the name of a router of another build, measured beside this one's. */
const BESIDE = ', beside';

export type RouterName = (typeof ROUTER)[keyof typeof ROUTER] | `${string}${typeof BESIDE}`;

/** Whose commands set it up: a router in a namespace, with lan0 inside and wan0 outside. */
export interface Routed {
  readonly router: Namespace;
  readonly ctnat: Ctnat;
  /** Puts a program of bpf/test/load.bpf.c on both interfaces; undefined: this one has none to put. */
  readonly attach?: (program: string) => void;
}

export interface Room {
  /** Flows that the table has room for. */
  flows: number;
  /** Of UDP flows, answered or not. */
  timeoutSeconds: number;
}

export interface RouterKind {
  name: RouterName;
  /** `room`: left out, as it is by default. */
  set: (routed: Routed, room?: Room) => Promise<void>;
  /** Ends all flows; undefined: it has none. */
  forget?: (routed: Routed) => Promise<unknown>;
  /** What lists all flows on stdout. */
  list?: (routed: Routed) => readonly string[];
}

const NFTABLES = `table ip nat {
  chain postrouting { type nat hook postrouting priority 100; oifname "wan0" masquerade; }
}`;
const IPTABLES = ['iptables', '-t', 'nat', '-A', 'POSTROUTING', '-o', 'wan0', '-j', 'MASQUERADE'];
const CONNTRACK = ['net.netfilter.nf_conntrack_udp_timeout', 'net.netfilter.nf_conntrack_udp_timeout_stream'];

async function keepLong({ router }: Routed, room?: Room): Promise<void> {
  if (room) await router.sysctl(Object.fromEntries(CONNTRACK.map((name) => [name, room.timeoutSeconds])));
}

const netfilter = {
  forget: ({ router }: Routed) => router.run(['conntrack', '-F'], { mayFail: true }),
  list: ({ router }: Routed) => router.argv(['conntrack', '-L']),
};

function ctnat(mode: string, redirect = false): Omit<RouterKind, 'name'> {
  return {
    set: async ({ ctnat }, room) => {
      const shared = { mode, ...(redirect && { redirect }) };
      const config = {
        interfaces: [
          { name: 'lan0', ...shared },
          { name: 'wan0', masquerade: 4, ...shared },
        ],
        ...(room && {
          tables: { flows: room.flows },
          timeouts: { udp: { timeout: `${room.timeoutSeconds}s`, stream: `${room.timeoutSeconds}s` } },
        }),
      };
      await ctnat.agent(JSON.stringify(config)); // as routers run it: it sweeps, and follows rules
    },
    forget: ({ ctnat }) => ctnat.run(['bpf', 'ct', 'flush', 'global']),
    list: ({ ctnat }) => ctnat.argv(['bpf', 'ct', 'list', 'global']),
  };
}

export const ROUTERS: readonly RouterKind[] = [
  { name: ROUTER.plain, set: async () => {} },
  {
    name: ROUTER.nftables,
    set: async (routed, room) => {
      await routed.router.run(['nft', '-f', '-'], { input: NFTABLES });
      await keepLong(routed, room);
    },
    ...netfilter,
  },
  {
    name: ROUTER.iptables,
    set: async (routed, room) => {
      await routed.router.run(IPTABLES);
      await keepLong(routed, room);
    },
    ...netfilter,
  },
  { name: ROUTER.tc, ...ctnat('tc') },
  { name: ROUTER.redirect, ...ctnat('tc', true) },
  { name: ROUTER.xdp, ...ctnat('xdp') },
  {
    name: ROUTER.bare,
    set: async (routed) => {
      if (!routed.attach) throw new Error('what it forwards past the stack has no checksum yet');
      routed.attach('load_bare');
    },
  },
];

/**
 * This build's routers and, of another one's ctnat, each kind once more: the only way to compare builds whose tables
 * look different.
 *
 * @param folder where the other one was built; undefined: there is none
 */
export function routersWith(folder: string | undefined): readonly RouterKind[] {
  if (folder === undefined) return ROUTERS;
  const command = [process.execPath, join(folder, 'dist/src/cli/main.js')];
  const others = new Map<Ctnat, Ctnat>();
  const other = ({ router, ctnat }: Routed): Routed => {
    const made = others.get(ctnat) ?? new Ctnat(ctnat.topology, command);
    others.set(ctnat, made);
    return { router, ctnat: made };
  };
  const own = [ROUTER.tc, ROUTER.redirect, ROUTER.xdp] as const;
  return ROUTERS.flatMap((kind): RouterKind[] => {
    const { name, set, forget, list } = kind;
    if (!own.some((each) => each === name)) return [kind];
    const beside: RouterKind = {
      name: `${name}${BESIDE}`,
      set: (routed, room) => set(other(routed), room),
      ...(forget && { forget: (routed) => forget(other(routed)) }),
      ...(list && { list: (routed) => list(other(routed)) }),
    };
    return [kind, beside];
  });
}
