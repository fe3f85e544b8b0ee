// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Destination NAT: from outside in, and the answers back out as if the router had given them.
import { play, samePacket, type Table, withDatapath } from '../helpers/datapath/table.js';
import {
  bytes,
  CLIENT,
  CLIENT2,
  frame,
  icmp,
  quote,
  ROUTER_LAN,
  ROUTER_WAN,
  SERVER,
  STRANGER,
  tcp,
  text,
  udp,
} from '../helpers/packet.js';

const WEB = {
  kind: 'dnat',
  proto: 6,
  dst: '198.51.100.1/32',
  dport: [8080, 8080],
  to: ['10.0.0.2', '10.0.0.2'],
  ports: [80, 80],
} as const;
const rule = (fields: object): never => ({ ...WEB, ...fields }) as never;

const syn = { seq: 5, flags: 'S' };
const synAck = { seq: 9, ack: 6, flags: 'SA' };

const tables: Table[] = [
  {
    name: 'TCP to another address and port, and back',
    setup: { rules: [rule({})] },
    steps: [
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, tcp({ sport: 5000, dport: 8080, ...syn })),
        expect: frame(SERVER, CLIENT, tcp({ sport: 5000, dport: 80, ...syn })),
      },
      {
        path: 'out',
        given: frame(CLIENT, SERVER, tcp({ sport: 80, dport: 5000, ...synAck })),
        expect: frame(ROUTER_WAN, SERVER, tcp({ sport: 8080, dport: 5000, ...synAck })),
      },
      {
        path: 'back',
        given: frame(
          SERVER,
          ROUTER_WAN,
          tcp({ sport: 5000, dport: 8080, seq: 6, ack: 10, flags: 'PA' }),
          bytes(101),
        ),
        expect: frame(
          SERVER,
          CLIENT,
          tcp({ sport: 5000, dport: 80, seq: 6, ack: 10, flags: 'PA' }),
          bytes(101),
        ),
      },
    ],
    flows: [
      {
        nat: 'DNAT',
        rule: 1,
        status: ['SEEN_REPLY', 'ASSURED', 'DST_NAT'],
        original: 'SERVER 5000 > ROUTER_WAN 8080',
        reply: 'CLIENT 80 > SERVER 5000',
        packets: [2, 1],
        bytes: [40 + 141, 40],
      },
    ],
    counters: { CREATED: 1 },
  },
  {
    name: 'an outside host hears that the forwarded port is closed',
    setup: { rules: [rule({})] },
    steps: [
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, tcp({ sport: 5000, dport: 8080, ...syn })),
        expect: frame(SERVER, CLIENT, tcp({ sport: 5000, dport: 80, ...syn })),
      },
      {
        path: 'out',
        given: frame(CLIENT, SERVER, tcp({ sport: 80, dport: 5000, seq: 0, ack: 6, flags: 'RA' })),
        expect: frame(ROUTER_WAN, SERVER, tcp({ sport: 8080, dport: 5000, seq: 0, ack: 6, flags: 'RA' })),
      },
    ],
    flows: [{ state: 'NONE', timeout: /^-?0\.\d s$/ }], // over with the next tick
  },
  {
    name: 'what the rule does not name comes to the router itself',
    setup: { rules: [rule({})] },
    steps: [
      {
        path: 'in',
        given: frame(SERVER, ROUTER_WAN, tcp({ sport: 5000, dport: 8081, ...syn })),
        expect: 'same',
      },
      { path: 'in', given: frame(SERVER, ROUTER_WAN, udp({ sport: 5000, dport: 8080 })), expect: 'same' },
    ],
    flows: [{ nat: 'NONE' }, { nat: 'NONE' }],
  },
  {
    name: 'a range of ports is shifted as a whole',
    setup: { rules: [rule({ proto: 17, dport: [9000, 9009], ports: [8000, 8009] })] },
    steps: [
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, udp({ sport: 5000, dport: 9003 }), text('a')),
        expect: frame(SERVER, CLIENT, udp({ sport: 5000, dport: 8003 }), text('a')),
      },
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 8003, dport: 5000 }), text('b')),
        expect: frame(ROUTER_WAN, SERVER, udp({ sport: 9003, dport: 5000 }), text('b')),
      },
    ],
  },
  {
    name: 'without a port the port stays',
    setup: { rules: [rule({ proto: 17, dport: [0, 65535], ports: undefined })] },
    steps: [
      {
        path: 'back',
        given: frame(STRANGER, ROUTER_WAN, udp({ sport: 5000, dport: 3478 }), text('a')),
        expect: frame(STRANGER, CLIENT, udp({ sport: 5000, dport: 3478 }), text('a')),
      },
      {
        path: 'out',
        given: frame(CLIENT, STRANGER, udp({ sport: 3478, dport: 5000 }), text('b')),
        expect: frame(ROUTER_WAN, STRANGER, udp({ sport: 3478, dport: 5000 }), text('b')),
      },
    ],
  },
  {
    name: 'a rule for one interface holds on that one',
    setup: { rules: [rule({ ifindex: 1 })] },
    steps: [
      {
        path: 'in',
        given: frame(SERVER, ROUTER_WAN, tcp({ sport: 5000, dport: 8080, ...syn })),
        expect: 'same',
      },
    ],
  },
  {
    name: 'two outside hosts with the same port reach the same forward',
    setup: { rules: [rule({ proto: 17 })] },
    steps: [
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, udp({ sport: 5000, dport: 8080 })),
        expect: frame(SERVER, CLIENT, udp({ sport: 5000, dport: 80 })),
      },
      {
        path: 'back',
        given: frame(STRANGER, ROUTER_WAN, udp({ sport: 5000, dport: 8080 })),
        expect: frame(STRANGER, CLIENT, udp({ sport: 5000, dport: 80 })),
      },
      {
        path: 'out',
        given: frame(CLIENT, STRANGER, udp({ sport: 80, dport: 5000 })),
        expect: frame(ROUTER_WAN, STRANGER, udp({ sport: 8080, dport: 5000 })),
      },
    ],
    counters: { CREATED: 2 },
  },
  {
    name: 'an outside host hears of an error inside as if the router had made it',
    setup: { rules: [rule({ proto: 17 })] },
    steps: [
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, udp({ sport: 5000, dport: 8080 }), text('hello')),
        expect: frame(SERVER, CLIENT, udp({ sport: 5000, dport: 80 }), text('hello')),
      },
      {
        path: 'out',
        given: frame(
          CLIENT,
          SERVER,
          icmp({ type: 3, code: 3, rest: 0 }),
          quote(frame(SERVER, CLIENT, udp({ sport: 5000, dport: 80 }), text('hello'))),
        ),
        expect: frame(
          ROUTER_WAN,
          SERVER,
          icmp({ type: 3, code: 3, rest: 0 }),
          quote(frame(SERVER, ROUTER_WAN, udp({ sport: 5000, dport: 8080 }), text('hello'))),
        ),
      },
    ],
    flows: [{ packets: [1, 0], status: ['DST_NAT'] }],
  },
];

withDatapath(async (t, datapath) => {
  for (const table of tables) {
    await t.test(table.name, async (t) => {
      play(t, datapath, table);
    });
  }

  await t.test(
    'hairpin: a client reaches another by the outside address, and each sees the router (RFC 4787 REQ-9)',
    async (t) => {
      datapath.configure({
        interfaces: {
          lan0: { masquerade: 4, ip4: ROUTER_LAN.ip4 },
          wan0: { masquerade: 4, ip4: ROUTER_WAN.ip4 },
        },
        rules: [rule({ proto: 17 })],
      });
      const turn = (given: Uint8Array, middle: Uint8Array, expect: Uint8Array): void => {
        const arrived = datapath.step({ hook: 'ingress', at: 'lan0', packet: given });
        t.equal(arrived.verdict, 'pass');
        samePacket(t, arrived.packet, middle, 'between the hooks');
        const left = datapath.step({
          hook: 'egress',
          at: 'lan0',
          from: 'lan0',
          packet: arrived.packet,
          tcIndex: arrived.tcIndex,
        });
        t.equal(left.verdict, 'pass');
        samePacket(t, left.packet, expect, 'as it leaves');
      };
      for (let round = 0; round < 2; round++) {
        turn(
          frame(CLIENT2, ROUTER_WAN, udp({ sport: 7000, dport: 8080 }), text('ask')),
          frame(CLIENT2, CLIENT, udp({ sport: 7000, dport: 80 }), text('ask')),
          frame(ROUTER_LAN, CLIENT, udp({ sport: 7000, dport: 80 }), text('ask')),
        );
        turn(
          frame(CLIENT, ROUTER_LAN, udp({ sport: 80, dport: 7000 }), text('tell')),
          frame(CLIENT, CLIENT2, udp({ sport: 80, dport: 7000 }), text('tell')),
          frame(ROUTER_WAN, CLIENT2, udp({ sport: 8080, dport: 7000 }), text('tell')),
        );
      }
      t.match(datapath.flows(), [
        {
          status: ['SEEN_REPLY', 'SRC_NAT', 'DST_NAT'],
          original: 'CLIENT2 7000 > ROUTER_WAN 8080',
          reply: 'CLIENT 80 > ROUTER_LAN 7000',
          packets: [2, 2],
        },
      ]);
      t.equal(datapath.flows().length, 1, 'one flow, invariant 2');
    },
  );
});
