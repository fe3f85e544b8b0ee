// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Prefix to prefix, a port of the router itself, several backends, and hairpin: inside hosts meet by their
// outside addresses, and each sees the other's (RFC 4787 REQ-9).
import { NatRuleFlags } from '../../src/generated/layouts.gen.js';
import { check, play, samePacket, type Table, walk, withDatapath } from '../helpers/datapath/table.js';
import {
  CLIENT,
  CLIENT2,
  find,
  frame,
  frame6,
  HOP,
  type Host,
  host,
  icmp,
  idAndSequence,
  ip4Bytes,
  ip6Bytes,
  parse,
  ROUTER_LAN,
  ROUTER_WAN,
  SERVER,
  STRANGER,
  tcp,
  text,
  udp,
  verify,
} from '../helpers/packet.js';

const OUTER = host('OUTER', '198.51.100.130', '2001:db8:77::2');
const OUTER2 = host('OUTER2', '198.51.100.131', '2001:db8:77::3');
const inside = '10.0.0.0/25';
const outside = '198.51.100.128/25';
const netmap4 = (ifindex: number): never =>
  [
    { kind: 'netmapOut', ifindex, src: inside, to: ['198.51.100.128', '0.0.0.0'] },
    {
      kind: 'netmapIn',
      ifindex,
      dst: outside,
      to: ['10.0.0.0', '0.0.0.0'],
      flags: NatRuleFlags.HAIRPIN,
    },
  ] as never;

const tables = (lan0: number, wan0: number): Table[] => [
  {
    name: 'netmap: an inside host leaves as its counterpart, with its port',
    setup: { interfaces: { lan0: {}, wan0: {} }, rules: netmap4(wan0) },
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 500, dport: 53 }), text('q')),
        expect: frame(OUTER, SERVER, udp({ sport: 500, dport: 53 }), text('q')),
      },
      {
        path: 'back',
        given: frame(SERVER, OUTER, udp({ sport: 53, dport: 500 }), text('a')),
        expect: frame(SERVER, CLIENT, udp({ sport: 53, dport: 500 }), text('a')),
      },
    ],
    flows: [{ nat: 'NETMAP', status: ['SEEN_REPLY', 'SRC_NAT'], rule: 1 }],
  },
  {
    name: 'netmap: an outside host reaches the counterpart',
    setup: { interfaces: { lan0: {}, wan0: {} }, rules: netmap4(wan0) },
    steps: [
      {
        path: 'back',
        given: frame(STRANGER, OUTER2, tcp({ sport: 5000, dport: 80, flags: 'S', seq: 1 })),
        expect: frame(STRANGER, CLIENT2, tcp({ sport: 5000, dport: 80, flags: 'S', seq: 1 })),
      },
      {
        path: 'out',
        given: frame(CLIENT2, STRANGER, tcp({ sport: 80, dport: 5000, flags: 'SA', seq: 7, ack: 2 })),
        expect: frame(OUTER2, STRANGER, tcp({ sport: 80, dport: 5000, flags: 'SA', seq: 7, ack: 2 })),
      },
    ],
    flows: [{ nat: 'NETMAP', status: ['SEEN_REPLY', 'DST_NAT'], rule: 2 }],
  },
  {
    name: 'redirect: to a port of the router, whatever the destination was',
    setup: {
      interfaces: { lan0: { ip4: ROUTER_LAN.ip4 }, wan0: {} },
      rules: [{ kind: 'redirect', ifindex: lan0, proto: 6, dport: [80, 80], ports: [3128, 3128] }],
    },
    steps: [
      {
        path: 'lan',
        given: frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S', seq: 1 })),
        expect: frame(CLIENT, ROUTER_LAN, tcp({ sport: 40000, dport: 3128, flags: 'S', seq: 1 })),
      },
    ],
    flows: [{ nat: 'REDIRECT', reply: 'ROUTER_LAN 3128 > CLIENT 40000' }],
  },
];

withDatapath(async (t, datapath) => {
  const { lan0, wan0 } = datapath.network;
  for (const table of tables(lan0, wan0)) {
    await t.test(table.name, async (t) => play(t, datapath, table));
  }

  /** A packet that comes in by lan0 and leaves by it. */
  const turn = (packet: Buffer) => {
    const arrived = datapath.step({ hook: 'ingress', at: 'lan0', packet });
    if (arrived.verdict !== 'pass') return arrived;
    return datapath.step({
      hook: 'egress',
      at: 'lan0',
      from: 'lan0',
      packet: arrived.packet,
      tcIndex: arrived.tcIndex,
    });
  };

  await t.test('netmap: two inside hosts meet by their outside addresses', async (t) => {
    datapath.configure({ interfaces: { lan0: {}, wan0: {} }, rules: netmap4(wan0) });
    const asked = turn(frame(CLIENT, OUTER2, udp({ sport: 500, dport: 53 }), text('q')));
    samePacket(t, asked.packet, frame(OUTER, CLIENT2, udp({ sport: 500, dport: 53 }), text('q')), 'there');
    const answered = turn(frame(CLIENT2, OUTER, udp({ sport: 53, dport: 500 }), text('a')));
    samePacket(t, answered.packet, frame(OUTER2, CLIENT, udp({ sport: 53, dport: 500 }), text('a')), 'back');
    t.equal(datapath.flows().length, 1, 'one flow');
    t.strictSame(verify(answered.packet), []);
  });

  await t.test(
    'netmap: an inside host pings another by its outside address (RFC 7857 section 12)',
    async (t) => {
      datapath.configure({ interfaces: { lan0: {}, wan0: {} }, rules: netmap4(wan0) });
      const echo = (from: Host, to: Host, type: number): Buffer =>
        frame(from, to, icmp({ type, code: 0, rest: idAndSequence(9, 1) }), text('ping'));
      samePacket(t, turn(echo(CLIENT, OUTER2, 8)).packet, echo(OUTER, CLIENT2, 8), 'the query');
      samePacket(t, turn(echo(CLIENT2, OUTER, 0)).packet, echo(OUTER2, CLIENT, 0), 'the answer');
      t.match(datapath.flows(), [{ status: ['SEEN_REPLY', 'SRC_NAT', 'DST_NAT'], packets: [1, 1] }]);
    },
  );

  await t.test('a forward is reached from inside by its outside address', async (t) => {
    datapath.configure({
      interfaces: { lan0: { ip4: ROUTER_LAN.ip4 }, wan0: { masquerade: 4, ip4: ROUTER_WAN.ip4 } },
      rules: [
        {
          kind: 'dnat',
          ifindex: wan0,
          proto: 6,
          dst: '198.51.100.1/32',
          dport: [8080, 8080],
          to: [CLIENT2.ip4, CLIENT2.ip4],
          ports: [80, 80],
          flags: NatRuleFlags.HAIRPIN,
        },
      ],
    });
    const syn = { flags: 'S', seq: 1 };
    const asked = turn(frame(CLIENT, ROUTER_WAN, tcp({ sport: 40000, dport: 8080, ...syn })));
    samePacket(
      t,
      asked.packet,
      frame(ROUTER_WAN, CLIENT2, tcp({ sport: 40000, dport: 80, ...syn })),
      'there',
    );
    const synAck = { flags: 'SA', seq: 9, ack: 2 };
    const answered = turn(frame(CLIENT2, ROUTER_WAN, tcp({ sport: 80, dport: 40000, ...synAck })));
    const expected = frame(ROUTER_WAN, CLIENT, tcp({ sport: 8080, dport: 40000, ...synAck }));
    samePacket(t, answered.packet, expected, 'back');
    t.match(datapath.flows(), [{ nat: 'DNAT', status: ['SEEN_REPLY', 'SRC_NAT', 'DST_NAT'] }]);
    t.equal(datapath.keys(), 3);
  });

  await t.test('several backends: each client has one of them, all are used', async (t) => {
    datapath.configure({
      rules: [
        { kind: 'dnat', proto: 17, dst: '198.51.100.1/32', dport: [53, 53], to: ['10.0.0.8', '10.0.0.11'] },
      ],
    });
    const backends = Array.from({ length: 40 }, (_, n) => {
      const from = host('c', `192.0.2.${n + 20}`, 'fd00::1');
      const found = [1, 2, 3].map((port) => {
        const out = walk(datapath, 'back', frame(from, ROUTER_WAN, udp({ sport: 5000 + port, dport: 53 })));
        return find(parse(out.packet), 'ipv4')!.dst;
      });
      t.equal(new Set(found).size, 1, 'one client, one backend');
      return found[0]!;
    });
    t.strictSame([...new Set(backends)].sort(), ['10.0.0.10', '10.0.0.11', '10.0.0.8', '10.0.0.9']);
  });

  for (const [family, build, version, lengths] of [
    ['IPv4', frame, 4, 32],
    ['IPv6', frame6, 6, 128],
  ] as const) {
    await t.test(
      `${family}: a list of backends, each with its port: each client has one of them`,
      async (t) => {
        const address = (host: Host): string => (version === 4 ? host.ip4 : host.ip6);
        const list = [
          [host('b0', '10.0.0.8', 'fd00::8'), 80],
          [host('b1', '10.0.0.30', 'fd00:9::30'), 8080],
          [host('b1', '10.0.0.30', 'fd00:9::30'), 8081],
          [host('b2', '10.9.0.1', 'fd00:8::1'), 0],
        ] as const;
        const words = (text: string): number[] =>
          version === 4
            ? [ip4Bytes(text).readUInt32BE(0), 0, 0, 0]
            : [0, 4, 8, 12].map((at) => ip6Bytes(text).readUInt32BE(at));
        datapath.configure({
          rules: [
            {
              kind: 'dnat',
              proto: 17,
              dst: `${address(ROUTER_WAN)}/${lengths}`,
              dport: [53, 53],
              pool: [1, list.length],
            },
          ],
          pool: [[HOP, 9] as const, ...list].map(([backend, port]) => ({
            addr: words(address(backend)),
            portMin: port,
            portMax: port,
            place: 0,
            places: 1,
          })) as never,
        });
        const backends = Array.from({ length: 60 }, (_, n) => {
          const client = host('c', `192.0.2.${n + 20}`, `2001:db8:2::${(n + 20).toString(16)}`);
          const found = [1, 2, 3].map((port) => {
            const ask = udp({ sport: 5000 + port, dport: 53 });
            const { packet } = walk(datapath, 'back', build(client, ROUTER_WAN, ask));
            const layers = parse(packet);
            const dst = (version === 4 ? find(layers, 'ipv4') : find(layers, 'ipv6'))!.dst;
            const { dport } = find(layers, 'udp')!;
            const to = host('to', dst, dst);
            check(
              t,
              datapath,
              {
                path: 'out',
                given: build(to, client, udp({ sport: dport, dport: 5000 + port })),
                expect: build(ROUTER_WAN, client, udp({ sport: 53, dport: 5000 + port })),
              },
              'the answer',
            );
            return `${dst} ${dport}`;
          });
          t.equal(new Set(found).size, 1, 'one client, one backend');
          return found[0]!;
        });
        const wanted = list.map(([backend, port]) => `${address(backend)} ${port || 53}`);
        t.strictSame([...new Set(backends)].sort(), wanted.sort());
      },
    );
  }

  await t.test('a rule of a mark is for packets with that mark', async (t) => {
    datapath.configure({
      interfaces: { lan0: {}, wan0: {} },
      rules: [{ kind: 'snat', ifindex: wan0, mark: [0x10, 0xf0], to: ['198.51.100.4', '198.51.100.4'] }],
    });
    const source = (mark: number, sport: number): string => {
      const packet = frame(CLIENT, SERVER, udp({ sport, dport: 53 }));
      const out = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet, mark });
      return find(parse(out.packet), 'ipv4')!.src;
    };
    t.equal(source(0x12, 1000), '198.51.100.4');
    t.equal(source(0x22, 1001), CLIENT.ip4);
  });

  for (const [name, from, prefix, to, expected] of [
    // RFC 6296 section 2.1's example
    ['/48', 'fd01:203:405:1::1234', 'fd01:203:405::/48', '2001:db8:1::', '2001:db8:1:d550::1234'],
    ['/64', 'fd01:203:405:1::1234', 'fd01:203:405:1::/64', '2001:db8:1:2::', '2001:db8:1:2:d54e::1234'],
  ] as const) {
    await t.test(`NPTv6 ${name}: the sum of the address stays, both ways`, async (t) => {
      const length = name.slice(1);
      datapath.configure({
        interfaces: { lan0: {}, wan0: {} },
        rules: [
          { kind: 'netmapOut', ifindex: wan0, src: prefix, to: [to, '::'], flags: NatRuleFlags.NEUTRAL },
          {
            kind: 'netmapIn',
            ifindex: wan0,
            dst: `${to}/${length}`,
            to: [prefix.split('/')[0]!, '::'],
            flags: NatRuleFlags.NEUTRAL | NatRuleFlags.HAIRPIN,
          },
        ],
      });
      const client = host('inner', CLIENT.ip4, from);
      const mapped = host('mapped', CLIENT.ip4, expected);
      const out = walk(datapath, 'out', frame6(client, SERVER, udp({ sport: 500, dport: 53 }), text('q')));
      samePacket(t, out.packet, frame6(mapped, SERVER, udp({ sport: 500, dport: 53 }), text('q')), 'out');
      const called = frame6(STRANGER, mapped, udp({ sport: 53, dport: 600 }), text('a'));
      const back = walk(datapath, 'back', called);
      samePacket(t, back.packet, frame6(STRANGER, client, udp({ sport: 53, dport: 600 }), text('a')), 'in');
      const sum = (packet: Uint8Array) => Buffer.from(packet).readUInt16BE(14 + 40 + 6);
      t.equal(sum(back.packet), sum(called), "and so does the datagram's");
    });
  }
});
