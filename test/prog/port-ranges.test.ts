// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Masquerade with several ranges of ports: which of them a flow gets its port from, and that all are used up before
// one is refused.
import { type Path, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  CLIENT2,
  find,
  frame,
  frame6,
  type Host,
  host,
  icmp,
  icmp6,
  idAndSequence,
  parse,
  ROUTER_WAN,
  SERVER,
  SERVER2,
  tcp,
  udp,
  verify,
} from '../helpers/packet.js';

const RANGES = [
  [3000, 3001],
  [5000, 5000],
  [40_000, 40_002],
] as const;
const PORTS = [3000, 3001, 5000, 40_000, 40_001, 40_002];

const ascending = (a = 0, b = 0): number => a - b;

const masquerade = (ports: readonly (readonly [number, number])[], eim?: 'eif'): Setup => ({
  interfaces: {
    lan0: {},
    wan0: { masquerade: 'all', ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6, ports, ...(eim && { eim }) },
  },
});

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of [
    ['IPv4', frame, 4],
    ['IPv6', frame6, 6],
  ] as const) {
    /** The port that a packet leaves with, undefined if it does not. */
    const portOf = (on: Datapath, packet: Uint8Array): number | undefined => {
      const { verdict, packet: left } = walk(on, 'out' satisfies Path, packet);
      if (verdict !== 'pass') return undefined;
      t.strictSame(verify(left), []);
      const layers = parse(left);
      return (find(layers, 'udp') ?? find(layers, 'tcp'))!.sport;
    };
    const ask = (from: Host, sport: number, to: Host = SERVER): Buffer =>
      build(from, to, udp({ sport, dport: 53 }));

    await t.test(`${family}: every port of every range is given before a flow is refused`, async (t) => {
      for (const [l4, packet] of [
        ['udp', ask],
        [
          'tcp',
          (from: Host, sport: number, to: Host = SERVER) =>
            build(from, to, tcp({ sport, dport: 80, flags: 'S', seq: 1 })),
        ],
      ] as const) {
        for (const client of [CLIENT, CLIENT2, host('c', '10.0.0.77', 'fd00::77')]) {
          datapath.configure(masquerade(RANGES));
          const found = PORTS.map((_, i) => portOf(datapath, packet(client, 50_000 + i)));
          t.strictSame([...found].sort(ascending), PORTS, `${l4}: each port once`);
          t.equal(portOf(datapath, packet(client, 51_000)), undefined);
          t.equal(datapath.reasons()['DROP_NO_PORT egress'], 1, `${l4}: and then none`);
          t.equal(datapath.flows(version).length, PORTS.length);
          t.type(portOf(datapath, packet(client, 51_000, SERVER2)), 'number', 'toward another they are free');
        }
      }
    });

    await t.test(`${family}: a port that lies in one of the ranges is kept`, async (t) => {
      datapath.configure(masquerade(RANGES));
      for (const port of PORTS) t.equal(portOf(datapath, ask(CLIENT, port)), port);
      datapath.configure(masquerade(RANGES));
      for (const port of [2999, 3002, 4999, 5001, 39_999, 40_003]) {
        t.ok(PORTS.includes(portOf(datapath, ask(CLIENT, port))!), `${port} is of none`);
      }
    });

    await t.test(`${family}: four ranges, the last as well as the first`, async (t) => {
      const ranges = Array.from({ length: 4 }, (_, i) => [7000 + 10 * i, 7000 + 10 * i] as const);
      datapath.configure(masquerade(ranges));
      const found = ranges.map((_, i) => portOf(datapath, ask(CLIENT, 50_000 + i)));
      t.strictSame(
        [...found].sort(ascending),
        ranges.map(([port]) => port),
      );
    });

    await t.test(`${family}: endpoint-independent mappings have all of them`, async (t) => {
      datapath.configure(masquerade(RANGES, 'eif'));
      const found = PORTS.map((_, i) => portOf(datapath, ask(CLIENT, 50_000 + i)));
      t.strictSame([...found].sort(ascending), PORTS);
      t.strictSame(
        PORTS.map((_, i) => portOf(datapath, ask(CLIENT, 50_000 + i, SERVER2))),
        found,
        'the same for another destination',
      );
      t.equal(portOf(datapath, ask(CLIENT2, 51_000, SERVER2)), undefined);
    });

    await t.test(`${family}: identifiers of pings are of no range`, async (t) => {
      datapath.configure(masquerade(RANGES));
      const [type, query] = version === 4 ? [8, icmp] : [128, icmp6];
      const ping = (from: Host): Buffer =>
        build(from, SERVER, query({ type, code: 0, rest: idAndSequence(7, 1) }));
      t.equal(walk(datapath, 'out', ping(CLIENT)).verdict, 'pass');
      t.equal(walk(datapath, 'out', ping(CLIENT2)).verdict, 'pass');
      t.equal(datapath.flows(version).length, 2);
    });
  }
});
