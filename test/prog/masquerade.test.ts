// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Masquerade and source NAT: out and back, which port, and what the entry then says.
import { playTables, type Table } from '../helpers/datapath/table.js';
import {
  bytes,
  CLIENT,
  CLIENT2,
  frame,
  frame6,
  icmp,
  icmp6,
  idAndSequence,
  ROUTER_POOL,
  ROUTER_WAN,
  SERVER,
  SERVER2,
  synOptions,
  tcp,
  text,
  udp,
} from '../helpers/packet.js';

const SNAT_POOL = { kind: 'snat', to: ['198.51.100.4', '198.51.100.4'], ports: [20000, 20000] } as const;

const tables: Table[] = [
  {
    name: 'UDP out and back keeps the port',
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('query')),
        expect: frame(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), text('query')),
      },
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }), text('a longer answer')),
        expect: frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('a longer answer')),
      },
    ],
    flows: [
      {
        proto: 17,
        nat: 'MASQUERADE',
        status: ['SEEN_REPLY', 'SRC_NAT'],
        original: 'CLIENT 40000 > SERVER 53',
        reply: 'SERVER 53 > ROUTER_WAN 40000',
        packets: [1, 1],
        bytes: [33, 43],
        timeout: 'UDP',
      },
    ],
    counters: { CREATED: 1 },
    reasons: { 'DEFERRED ingress': 1, 'FORWARDED egress': 2, 'FORWARDED ingress': 1 },
  },
  {
    name: 'TCP out and back, options and all',
    steps: [
      {
        path: 'out',
        given: frame(
          CLIENT,
          SERVER,
          tcp({ sport: 40000, dport: 80, seq: 100, flags: 'S', options: synOptions() }),
        ),
        expect: frame(
          ROUTER_WAN,
          SERVER,
          tcp({ sport: 40000, dport: 80, seq: 100, flags: 'S', options: synOptions() }),
        ),
      },
      {
        path: 'back',
        given: frame(
          SERVER,
          ROUTER_WAN,
          tcp({ sport: 80, dport: 40000, seq: 900, ack: 101, flags: 'SA', options: synOptions() }),
        ),
        expect: frame(
          SERVER,
          CLIENT,
          tcp({ sport: 80, dport: 40000, seq: 900, ack: 101, flags: 'SA', options: synOptions() }),
        ),
      },
      {
        path: 'out',
        given: frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, seq: 101, ack: 901, flags: 'A' })),
        expect: frame(ROUTER_WAN, SERVER, tcp({ sport: 40000, dport: 80, seq: 101, ack: 901, flags: 'A' })),
      },
      {
        path: 'out',
        given: frame(
          CLIENT,
          SERVER,
          tcp({ sport: 40000, dport: 80, seq: 101, ack: 901, flags: 'PA' }),
          bytes(7),
        ),
        expect: frame(
          ROUTER_WAN,
          SERVER,
          tcp({ sport: 40000, dport: 80, seq: 101, ack: 901, flags: 'PA' }),
          bytes(7),
        ),
      },
    ],
    flows: [
      {
        proto: 6,
        state: 'ESTABLISHED',
        status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
        original: 'CLIENT 40000 > SERVER 80',
        reply: 'SERVER 80 > ROUTER_WAN 40000',
        packets: [3, 1],
        bytes: [60 + 40 + 47, 60],
      },
    ],
    counters: { CREATED: 1 },
  },
  {
    name: 'ping out and back keeps the identifier',
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(77, 1) }), bytes(56)),
        expect: frame(ROUTER_WAN, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(77, 1) }), bytes(56)),
      },
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, icmp({ type: 0, code: 0, rest: idAndSequence(77, 1) }), bytes(56)),
        expect: frame(SERVER, CLIENT, icmp({ type: 0, code: 0, rest: idAndSequence(77, 1) }), bytes(56)),
      },
    ],
    flows: [
      {
        proto: 1,
        state: 8,
        status: ['SEEN_REPLY', 'SRC_NAT'],
        packets: [1, 1],
        bytes: [84, 84],
        timeout: 'ICMP',
      },
    ],
  },
  {
    name: 'a second destination keeps the port as well',
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 })),
        expect: frame(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 })),
      },
      {
        path: 'out',
        given: frame(CLIENT2, SERVER2, udp({ sport: 40000, dport: 53 })),
        expect: frame(ROUTER_WAN, SERVER2, udp({ sport: 40000, dport: 53 })),
      },
      {
        path: 'back',
        given: frame(SERVER2, ROUTER_WAN, udp({ sport: 53, dport: 40000 })),
        expect: frame(SERVER2, CLIENT2, udp({ sport: 53, dport: 40000 })),
      },
      {
        path: 'back',
        given: frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 })),
        expect: frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000 })),
      },
    ],
    counters: { CREATED: 2 },
  },
  {
    name: 'IPv6: UDP and ping out and back',
    steps: [
      {
        path: 'out',
        given: frame6(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('odd')),
        expect: frame6(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), text('odd')),
      },
      {
        path: 'back',
        given: frame6(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }), text('even')),
        expect: frame6(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('even')),
      },
      {
        path: 'out',
        given: frame6(CLIENT, SERVER, icmp6({ type: 128, code: 0, rest: idAndSequence(5, 1) }), bytes(9)),
        expect: frame6(
          ROUTER_WAN,
          SERVER,
          icmp6({ type: 128, code: 0, rest: idAndSequence(5, 1) }),
          bytes(9),
        ),
      },
      {
        path: 'back',
        given: frame6(SERVER, ROUTER_WAN, icmp6({ type: 129, code: 0, rest: idAndSequence(5, 1) }), bytes(9)),
        expect: frame6(SERVER, CLIENT, icmp6({ type: 129, code: 0, rest: idAndSequence(5, 1) }), bytes(9)),
      },
    ],
    flows: [],
    flows6: [
      {
        proto: 17,
        original: 'CLIENT 40000 > SERVER 53',
        reply: 'SERVER 53 > ROUTER_WAN 40000',
        bytes: [51, 52],
      },
      { proto: 58, status: ['SEEN_REPLY', 'SRC_NAT'], packets: [1, 1] },
    ],
  },
  {
    name: 'SNAT to an address and a port of its own',
    setup: { rules: [{ ...SNAT_POOL, to: [...SNAT_POOL.to], ports: [...SNAT_POOL.ports], proto: 17 }] },
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('x')),
        expect: frame(ROUTER_POOL, SERVER, udp({ sport: 20000, dport: 53 }), text('x')),
      },
      {
        path: 'back',
        given: frame(SERVER, ROUTER_POOL, udp({ sport: 53, dport: 20000 }), text('y')),
        expect: frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('y')),
      },
    ],
    flows: [{ nat: 'SNAT', rule: 1, reply: 'SERVER 53 > ROUTER_POOL 20000' }],
  },
  {
    name: 'a rule that does not match leaves the flow to the masquerade',
    setup: {
      rules: [{ ...SNAT_POOL, to: [...SNAT_POOL.to], ports: [...SNAT_POOL.ports], src: '10.0.0.3/32' }],
    },
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 })),
        expect: frame(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 })),
      },
      {
        path: 'out',
        given: frame(CLIENT2, SERVER, udp({ sport: 40000, dport: 53 })),
        expect: frame(ROUTER_POOL, SERVER, udp({ sport: 20000, dport: 53 })),
      },
    ],
    flows: [
      { nat: 'MASQUERADE', rule: 0 },
      { nat: 'SNAT', rule: 1 },
    ],
  },
  {
    name: 'an interface that does not masquerade tracks and translates nothing',
    setup: { interfaces: { lan0: {}, wan0: {} } },
    steps: [
      {
        path: 'out',
        given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('x')),
        expect: 'same',
      },
      {
        path: 'back',
        given: frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('x')),
        expect: 'same',
      },
    ],
    flows: [{ nat: 'NONE', status: ['SEEN_REPLY'], packets: [1, 1], original: 'CLIENT 40000 > SERVER 53' }],
  },
  {
    name: 'without an address to masquerade as, a new flow is dropped and says why',
    setup: { interfaces: { lan0: {}, wan0: { masquerade: 4 } } },
    steps: [{ path: 'out', given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 })), expect: 'drop' }],
    flows: [],
    counters: {},
    reasons: { 'DEFERRED ingress': 1, 'DROP_NO_ADDRESS egress': 1 },
  },
];

playTables(tables);
