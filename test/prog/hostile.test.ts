// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Truncated and lying headers: they end in a counted reason, make no entry, and come out as they went in.
import type { Test } from 'tap';
import { withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  build,
  bytes,
  CLIENT,
  dump,
  ethernet,
  extension,
  fragment6,
  frame,
  frame6,
  frame6With,
  frameWith,
  icmp,
  icmp6,
  idAndSequence,
  ipv4,
  ipv6,
  PEER_MAC,
  PROTOCOL,
  ROUTER_MAC,
  raw,
  SERVER,
  synOptions,
  tcp,
  text,
  udp,
} from '../helpers/packet.js';

const HOOKS = [
  { hook: 'ingress', at: 'lan0' },
  { hook: 'egress', at: 'wan0', from: 'lan0' },
] as const;

const WHOLE: [string, Buffer][] = [
  [
    'TCP with options',
    frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S', options: synOptions() })),
  ],
  ['UDP', frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('payload'))],
  ['ping', frame(CLIENT, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(1, 1) }), bytes(8))],
  [
    'ICMP error',
    frame(
      CLIENT,
      SERVER,
      icmp({ type: 3, code: 3, rest: 0 }),
      raw(frame(SERVER, CLIENT, udp({ sport: 1, dport: 2 })).subarray(14)),
    ),
  ],
  [
    'IPv4 options',
    frameWith({ ip: { options: Buffer.alloc(40, 1) } }, CLIENT, SERVER, udp({ sport: 40000, dport: 53 })),
  ],
  [
    'TCP over IPv6',
    frame6(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S', options: synOptions() })),
  ],
  [
    'IPv6 extensions',
    frame6(
      CLIENT,
      SERVER,
      extension({ kind: PROTOCOL.hopByHop, body: bytes(6).bytes }),
      extension({ kind: PROTOCOL.destination, body: bytes(14).bytes }),
      udp({ sport: 40000, dport: 53 }),
    ),
  ],
  [
    'IPv6 atomic fragment',
    frame6(CLIENT, SERVER, fragment6({ offset: 0, more: false, id: 5 }), udp({ sport: 40000, dport: 53 })),
  ],
  [
    'ping over IPv6',
    frame6(CLIENT, SERVER, icmp6({ type: 128, code: 0, rest: idAndSequence(1, 1) }), bytes(8)),
  ],
];

/** Frames whose headers say what is not so. */
const LYING: [string, Buffer][] = [
  ...[0, 1, 2, 3, 4].map((words): [string, Buffer] => [
    `IHL ${words}`,
    frameWith({ ip: { words } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(60)),
  ]),
  ['IHL beyond the packet', frameWith({ ip: { words: 15 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }))],
  ['version 5', frameWith({ ip: { version: 5 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }))],
  [
    'version 6 under an IPv4 type',
    frameWith({ ip: { version: 6 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
  ],
  [
    'total length below the header',
    frameWith({ ip: { length: 19 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(20)),
  ],
  [
    'total length below the L4 header',
    frameWith({ ip: { length: 27 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(20)),
  ],
  [
    'total length beyond the frame',
    frameWith({ ip: { length: 49 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(20)),
  ],
  [
    'total length 65535',
    frameWith({ ip: { length: 65535 } }, CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S' })),
  ],
  ...[0, 1, 4].map((words): [string, Buffer] => [
    `TCP data offset ${words}`,
    frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S', words }), bytes(40)),
  ]),
  [
    'TCP data offset beyond the packet',
    frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S', words: 15 })),
  ],
  ...[0, 1, 7].map((length): [string, Buffer] => [
    `UDP length ${length}`,
    frame(CLIENT, SERVER, udp({ sport: 1, dport: 2, length }), bytes(20)),
  ]),
  ['UDP length beyond the packet', frame(CLIENT, SERVER, udp({ sport: 1, dport: 2, length: 29 }), bytes(20))],
  [
    'IPv6: version 4 under an IPv6 type',
    frame6With({ ip6: { version: 4 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
  ],
  [
    'IPv6: payload length beyond the frame',
    frame6With({ ip6: { length: 200 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
  ],
  [
    'IPv6: payload length below the L4 header',
    frame6With({ ip6: { length: 7 } }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
  ],
  [
    'IPv6: extension beyond the packet',
    frame6(
      CLIENT,
      SERVER,
      extension({ kind: PROTOCOL.destination, units: 31, body: bytes(6).bytes }),
      udp({ sport: 1, dport: 2 }),
    ),
  ],
  [
    'IPv6: a chain of extensions without end',
    frame6(
      CLIENT,
      SERVER,
      ...Array.from({ length: 20 }, () => extension({ kind: PROTOCOL.destination, body: bytes(6).bytes })),
      udp({ sport: 1, dport: 2 }),
    ),
  ],
  ['IPv6: UDP length lies', frame6(CLIENT, SERVER, udp({ sport: 1, dport: 2, length: 3 }), bytes(20))],
];

/** Puts a frame through a hook; it must come out as it went in, with one reason, and leave nothing behind. */
function leavesNothing(
  t: Test,
  datapath: Datapath,
  name: string,
  step: Parameters<Datapath['step']>[0],
  length: number,
): void {
  const before = datapath.reasons();
  const result = datapath.step(step);
  const after = datapath.reasons();
  const counted = Object.keys(after).filter((reason) => after[reason] !== before[reason]);

  t.equal(counted.length, 1, `${name}: counted once, as ${counted}`);
  t.notMatch(counted[0], /FORWARDED|DEFERRED|RELATED|INTERNAL|REWRITE/, name);
  t.equal(
    result.verdict,
    counted[0]!.startsWith('DROP') ? 'drop' : 'pass',
    `${name}: the reason is the verdict's`,
  );
  if (step.hook === 'egress')
    t.equal(result.verdict, 'drop', `${name}: no inside address leaves (invariant 3)`);
  if (result.verdict === 'drop' && !datapath.showsDropped) return;
  t.equal(
    result.packet.toString('hex'),
    Buffer.from(step.packet).subarray(0, length).toString('hex'),
    `${name}: untouched`,
  );
}

withDatapath(async (t, datapath) => {
  await t.test('headers cut at every length make no entry', async (t) => {
    for (const [name, packet] of WHOLE) {
      datapath.configure();
      // the last byte of payload may be missing as well: the IP header then says more than there is
      for (let length = 14; length < packet.length; length++) {
        for (const at of HOOKS)
          leavesNothing(
            t,
            datapath,
            `${name}, ${length} bytes, ${at.hook}`,
            { ...at, packet, length },
            length,
          );
      }
      t.strictSame([datapath.keys(4), datapath.keys(6)], [0, 0], name);
      t.strictSame([...datapath.flows(4), ...datapath.flows(6)], [], name);
      t.strictSame(datapath.counters(), {}, name);
    }
  });

  await t.test('headers that end with the IP packet, inside a longer frame, make no entry', async (t) => {
    // the same, but the bytes are there: the IP header says that the packet ends before them
    const l4: [string, number, Buffer, number][] = [
      ['TCP', PROTOCOL.tcp, tcpBytes(), 20],
      ['UDP', PROTOCOL.udp, frame(CLIENT, SERVER, udp({ sport: 1, dport: 2 })).subarray(34), 8],
      ['ICMP', PROTOCOL.icmp, frame(CLIENT, SERVER, icmp({ type: 8, code: 0, rest: 1 })).subarray(34), 8],
    ];
    datapath.configure();
    for (const [name, protocol, header, needed] of l4) {
      for (let length = 0; length < needed; length++) {
        const link = ethernet({ src: PEER_MAC, dst: ROUTER_MAC });
        const four = build(
          link,
          ipv4({ src: CLIENT.ip4, dst: SERVER.ip4, protocol, length: 20 + length }),
          raw(header),
        );
        for (const at of HOOKS)
          leavesNothing(t, datapath, `${name} of ${length} bytes`, { ...at, packet: four }, four.length);
        if (name === 'ICMP' || length === 0) continue; // a payload length of 0 is a jumbogram's
        const six = build(
          link,
          ipv6({ src: CLIENT.ip6, dst: SERVER.ip6, next: protocol, length }),
          raw(header),
        );
        for (const at of HOOKS)
          leavesNothing(
            t,
            datapath,
            `${name} of ${length} bytes over IPv6`,
            { ...at, packet: six },
            six.length,
          );
      }
    }
    t.strictSame([datapath.keys(4), datapath.keys(6)], [0, 0]);
  });

  await t.test('headers that lie make no entry', async (t) => {
    datapath.configure();
    for (const [name, packet] of LYING) {
      for (const at of HOOKS)
        leavesNothing(t, datapath, `${name}, ${at.hook}: ${dump(packet)}`, { ...at, packet }, packet.length);
    }
    t.strictSame([...datapath.flows(4), ...datapath.flows(6)], []);
    t.strictSame([datapath.keys(4), datapath.keys(6)], [0, 0]);
  });

  await t.test('TCP flags that no TCP sends begin no flow', async (t) => {
    datapath.configure();
    for (const flags of ['', 'F', 'SF', 'SR', 'FPU', 'SFRPAU', 'R', 'RA', 'FA', 'SA', 'SRA']) {
      const packet = frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags }));
      const result = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet });
      t.equal(result.verdict, 'drop', `[${flags}]`);
    }
    t.strictSame(datapath.flows(), []);
    t.strictSame(datapath.reasons(), { 'DROP_INVALID egress': 11 });
  });

  await t.test('a padded short frame is judged by its IP length', async (t) => {
    datapath.configure();
    const short = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('x'));
    const padded = Buffer.concat([short, Buffer.alloc(60 - short.length, 0xee)]);
    const out = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: padded });
    t.equal(out.verdict, 'pass');
    t.equal(out.packet.length, 60);
    t.match(datapath.flows(), [{ bytes: [29, 0] }]);
  });
});

function tcpBytes(): Buffer {
  return frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S' })).subarray(34);
}
