// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// UDP-Lite, GRE, ESP and whatever else IP carries: what is a flow, what is translated, what is refused.

import type { Test } from 'tap';
import type { InterfaceSetup } from '../helpers/datapath/settings.js';
import { check, type Path, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  CLIENT2,
  ETHERTYPE,
  fragments,
  frame,
  frame6,
  frame6With,
  frameWith,
  gre,
  HOP,
  type Host,
  icmp,
  icmp6,
  type Layer,
  PROTOCOL,
  quote,
  ROUTER_LAN,
  ROUTER_WAN,
  raw,
  SERVER,
  sctp,
  sctpChunk,
  text,
  udplite,
} from '../helpers/packet.js';

type Make = (from: Host, to: Host) => Buffer;

interface Family {
  name: string;
  version: 4 | 6;
  of: (from: Host, to: Host, ...layers: Layer[]) => Buffer;
  /** A packet of a protocol without a layer here. */
  plain: (protocol: number, ...layers: Layer[]) => Make;
  unreachable: () => Layer;
}

const FAMILIES: Family[] = [
  {
    name: 'IPv4',
    version: 4,
    of: frame,
    plain:
      (protocol, ...layers) =>
      (from, to) =>
        frameWith({ ip: { protocol } }, from, to, ...layers),
    unreachable: () => icmp({ type: 3, code: 1, rest: 0 }),
  },
  {
    name: 'IPv6',
    version: 6,
    of: frame6,
    plain:
      (protocol, ...layers) =>
      (from, to) =>
        frame6With({ ip6: { next: protocol } }, from, to, ...layers),
    unreachable: () => icmp6({ type: 1, code: 3, rest: 0 }),
  },
];

function send(
  t: Test,
  datapath: Datapath,
  path: Path,
  given: Buffer,
  expect: Buffer | 'drop' | 'same',
): void {
  check(t, datapath, { path, given, expect }, path);
}

/** One packet out with the router's address, one back. */
function outAndBack(t: Test, datapath: Datapath, make: Make, inside: Host = CLIENT): void {
  send(t, datapath, 'out', make(inside, SERVER), make(ROUTER_WAN, SERVER));
  send(t, datapath, 'back', make(SERVER, ROUTER_WAN), make(SERVER, inside));
}

const INIT = raw(sctpChunk(1, 0, Buffer.from('0000abcd00010000000a000affffffff', 'hex')));

withDatapath(async (t, datapath) => {
  for (const { name, version, of, plain, unreachable } of FAMILIES) {
    await t.test(`${name}: UDP-Lite keeps its port, its checksum covers what it covered`, async (t) => {
      for (const coverage of [0, 8, 20]) {
        datapath.configure();
        const out = (from: Host) =>
          of(from, SERVER, udplite({ sport: 40000, dport: 9, coverage }), bytes(100));
        const back = (to: Host) => of(SERVER, to, udplite({ sport: 9, dport: 40000, coverage }), bytes(50));
        send(t, datapath, 'out', out(CLIENT), out(ROUTER_WAN));
        send(t, datapath, 'back', back(ROUTER_WAN), back(CLIENT));
        t.match(datapath.flows(version), [
          { proto: 136, packets: [1, 1], status: ['SEEN_REPLY', 'SRC_NAT'], timeout: 'UDP' },
        ]);
      }
    });

    await t.test(`${name}: UDP-Lite whose port is taken gets another one`, async (t) => {
      datapath.configure({ interfaces: { lan0: {}, wan0: WAN_ONE_PORT } });
      const out = (from: Host, sport: number) => of(from, SERVER, udplite({ sport, dport: 9 }), text('x'));
      send(t, datapath, 'out', out(CLIENT, 40000), out(ROUTER_WAN, 50000));
    });

    await t.test(`${name}: a UDP-Lite header that lies about its coverage is no packet`, async (t) => {
      for (const coverage of [1, 7, 14]) {
        datapath.configure();
        const given = of(CLIENT, SERVER, udplite({ sport: 1, dport: 2, coverage, checksum: 1 }), bytes(5));
        send(t, datapath, 'out', given, 'drop');
        t.strictSame(datapath.flows(version), []);
      }
    });

    await t.test(
      `${name}: two GRE tunnels between the same hosts are two flows, told by their keys`,
      async (t) => {
        datapath.configure();
        const make =
          (key?: number, checksum?: true): Make =>
          (from, to) =>
            of(
              from,
              to,
              gre({
                protocol: ETHERTYPE.ipv4,
                ...(key !== undefined && { key }),
                ...(checksum && { checksum }),
                sequence: 5,
              }),
              bytes(40),
            );
        const keys = [7, 65_535, 0x1234_5678, undefined];
        for (const key of keys) outAndBack(t, datapath, make(key));
        outAndBack(t, datapath, make(9, true));
        t.match(
          datapath.flows(version).map(({ original }) => original),
          [7, 65_535, 0x1234 ^ 0x5678, 0, 9].map((id) => `CLIENT ${id} > SERVER ${id}`).sort(),
        );
        t.match(datapath.flows(version), Array(5).fill({ proto: 47, packets: [1, 1], timeout: 'GRE' }));

        outAndBack(t, datapath, make(7));
        t.match(
          datapath.flows(version).find(({ original }) => original === 'CLIENT 7 > SERVER 7'),
          { timeout: 'GRE_STREAM', status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'] },
        );
      },
    );

    await t.test(
      `${name}: a second host with the same GRE key to the same server is refused by name`,
      async (t) => {
        datapath.configure();
        const make =
          (key: number): Make =>
          (from, to) =>
            of(from, to, gre({ protocol: ETHERTYPE.ipv4, key }), bytes(40));
        outAndBack(t, datapath, make(7));
        send(t, datapath, 'out', make(7)(CLIENT2, SERVER), 'drop');
        outAndBack(t, datapath, make(8), CLIENT2);
        outAndBack(t, datapath, make(7));
        t.match(datapath.reasons(), { 'DROP_PORT_FIXED egress': 1 });
        t.equal(datapath.flows(version).length, 2);
      },
    );

    await t.test(`${name}: PPTP's GRE, whose call ids differ, is one flow by its addresses`, async (t) => {
      datapath.configure();
      const call =
        (key: number): Make =>
        (from, to) =>
          of(from, to, gre({ protocol: 0x880b, version: 1, key }), bytes(8));
      send(t, datapath, 'out', call(0x80001)(CLIENT, SERVER), call(0x80001)(ROUTER_WAN, SERVER));
      send(t, datapath, 'back', call(0x80002)(SERVER, ROUTER_WAN), call(0x80002)(SERVER, CLIENT));
      t.match(datapath.flows(version), [{ original: 'CLIENT 0 > SERVER 0', packets: [1, 1] }]);
    });

    for (const [protocol, what, payload] of [
      [PROTOCOL.esp, 'ESP', 60],
      [PROTOCOL.ah, 'AH', 40],
      [4, 'IPv4 in IP', 20],
      [41, 'IPv6 in IP', 40],
      [253, 'a protocol without a name', 3],
      [89, 'an empty packet', 0],
    ] as const) {
      await t.test(`${name}: ${what} is a flow by its addresses`, async (t) => {
        datapath.configure();
        const make = plain(protocol, bytes(payload));
        outAndBack(t, datapath, make);
        outAndBack(t, datapath, make);
        send(t, datapath, 'out', make(CLIENT2, SERVER), 'drop');
        t.match(datapath.flows(version), [
          {
            proto: protocol,
            nat: 'MASQUERADE',
            original: 'CLIENT 0 > SERVER 0',
            reply: 'SERVER 0 > ROUTER_WAN 0',
            packets: [2, 2],
            status: ['SEEN_REPLY', 'SRC_NAT'],
            timeout: 'GENERIC',
          },
        ]);
        t.match(datapath.reasons(), { 'DROP_PORT_FIXED egress': 1 });
      });
    }

    await t.test(`${name}: fragments of a protocol without ports need no first one`, async (t) => {
      datapath.configure();
      const make = plain(PROTOCOL.esp, bytes(3000));
      const given = fragments(make(CLIENT, SERVER), 1400, 4);
      const wanted = fragments(make(ROUTER_WAN, SERVER), 1400, 4);
      for (const i of [2, 0, 1]) send(t, datapath, 'out', given[i]!, wanted[i]!);
      t.match(datapath.flows(version), [{ packets: [3, 0] }]);
    });

    await t.test(
      `${name}: an error about such a flow is its own, addresses and quote translated`,
      async (t) => {
        const flows: [string, Make][] = [
          ['GRE', (from, to) => of(from, to, gre({ protocol: ETHERTYPE.ipv4, key: 7 }), bytes(40))],
          [
            'GRE with a checksum',
            (from, to) => of(from, to, gre({ protocol: ETHERTYPE.ipv4, key: 7, checksum: true }), bytes(40)),
          ],
          ['ESP', plain(PROTOCOL.esp, bytes(40))],
          ['SCTP', (from, to) => of(from, to, sctp({ sport: 40000, dport: 80, tag: 0 }), INIT)],
          ['UDP-Lite', (from, to) => of(from, to, udplite({ sport: 40000, dport: 80 }), bytes(40))],
        ];
        for (const [what, make] of flows) {
          for (const quoted of [12, Number.POSITIVE_INFINITY]) {
            datapath.configure();
            send(t, datapath, 'out', make(CLIENT, SERVER), make(ROUTER_WAN, SERVER));
            // whichever router sends it
            const error = (to: Host, about: Host) =>
              of(HOP, to, unreachable(), quote(make(about, SERVER), quoted));
            send(t, datapath, 'back', error(ROUTER_WAN, ROUTER_WAN), error(CLIENT, CLIENT));
            t.match(datapath.reasons(), { 'RELATED ingress': 1, 'RELATED egress': 1 }, what);
          }
        }
      },
    );

    await t.test(`${name}: the router's own flows of such protocols`, async (t) => {
      datapath.configure();
      const make = plain(PROTOCOL.esp, bytes(20));
      send(t, datapath, 'self', make(ROUTER_WAN, SERVER), 'same');
      send(t, datapath, 'in', make(SERVER, ROUTER_WAN), 'same');
      send(t, datapath, 'lan', make(CLIENT, ROUTER_LAN), 'same');
      t.match(datapath.flows(version), [
        { original: 'CLIENT 0 > ROUTER_LAN 0', packets: [1, 0], nat: 'NONE' },
        { original: 'ROUTER_WAN 0 > SERVER 0', packets: [1, 1], nat: 'NONE' },
      ]);
      // the tuple that a forwarded flow would need is the router's own
      send(t, datapath, 'out', make(CLIENT, SERVER), 'drop');
      t.match(datapath.reasons(), { 'DROP_PORT_FIXED egress': 1 });
    });
  }

  await t.test("the other family's ICMP begins nothing", async (t) => {
    for (const given of [
      frameWith({ ip: { protocol: PROTOCOL.icmp6 } }, CLIENT, SERVER, icmp6({ type: 128, code: 0, rest: 1 })),
      frame6With({ ip6: { next: PROTOCOL.icmp } }, CLIENT, SERVER, icmp({ type: 8, code: 0, rest: 1 })),
    ]) {
      datapath.configure();
      send(t, datapath, 'out', given, 'drop');
      t.strictSame([datapath.keys(4), datapath.keys(6)], [0, 0]);
    }
  });

  await t.test('IPv6: a header that says that nothing follows begins nothing', async (t) => {
    datapath.configure();
    const given = frame6With({ ip6: { next: PROTOCOL.none } }, CLIENT, SERVER);
    send(t, datapath, 'out', given, 'drop');
    t.strictSame(datapath.flows(6), []);
    t.match(datapath.reasons(), { 'PASSED_INVALID ingress': 1, 'DROP_INVALID egress': 1 });
  });

  await t.test('a source rule with ports translates what has none by its address', async (t) => {
    datapath.configure({
      rules: [{ kind: 'snat', to: ['198.51.100.4', '198.51.100.4'], ports: [20000, 20999] }],
    });
    const pool = { name: 'pool', ip4: '198.51.100.4', ip6: '::' };
    const make: Make = (from, to) => frameWith({ ip: { protocol: 50 } }, from, to, bytes(9));
    send(t, datapath, 'out', make(CLIENT, SERVER), make(pool, SERVER));
    send(t, datapath, 'back', make(SERVER, pool), make(SERVER, CLIENT));
  });

  await t.test(
    'a tunnel that can not be translated is refused by name, whatever else has ended',
    async (t) => {
      datapath.configure();
      const make = (from: Host, key: number): Buffer =>
        frame(from, SERVER, gre({ protocol: ETHERTYPE.ipv4, key }), bytes(9));
      send(t, datapath, 'out', make(CLIENT, 3), make(ROUTER_WAN, 3));
      send(t, datapath, 'out', make(CLIENT, 7), make(ROUTER_WAN, 7));
      check(t, datapath, { path: 'out', given: make(CLIENT2, 3), expect: 'drop' }, 'its key is taken');
      t.equal(datapath.deleteFlow(datapath.flows(4)[1]!.slot), true);
      check(t, datapath, { path: 'out', given: make(CLIENT2, 3), expect: 'drop' }, 'and still is');
      t.equal(datapath.reasons()['DROP_PORT_FIXED egress'], 2);
    },
  );

  await t.test('a port forward of all protocols leads GRE to the inside', async (t) => {
    datapath.configure({ rules: [{ kind: 'dnat', proto: 47, to: [CLIENT.ip4, CLIENT.ip4] }] });
    const make: Make = (from, to) => frame(from, to, gre({ protocol: ETHERTYPE.ipv4, key: 3 }), bytes(9));
    send(t, datapath, 'back', make(SERVER, ROUTER_WAN), make(SERVER, CLIENT));
    send(t, datapath, 'out', make(CLIENT, SERVER), make(ROUTER_WAN, SERVER));
    t.match(datapath.flows(4), [{ nat: 'DNAT', packets: [1, 1] }]);
  });
});

const WAN_ONE_PORT: InterfaceSetup = {
  ip4: ROUTER_WAN.ip4,
  ip6: ROUTER_WAN.ip6,
  masquerade: 'all',
  ports: [50000, 50000],
};
