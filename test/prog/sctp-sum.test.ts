// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// SCTP packets whose ports change, and the CRC32c that covers them: the sum that is wanted is made anew of every
// byte by test/helpers/packet/checksum.ts, whereas the programs know of a packet no more than what changes.
import type { Test } from 'tap';
import { Listener } from '../helpers/datapath/listener.js';
import type { RuleSetup } from '../helpers/datapath/settings.js';
import { check, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  CLIENT2,
  fragments,
  frame,
  frame6,
  HOP,
  type Host,
  icmp,
  icmp6,
  parse,
  quote,
  ROUTER_POOL,
  ROUTER_WAN,
  raw,
  SERVER,
  sctp,
  sctpChunk,
} from '../helpers/packet.js';

const [DATA, INIT, INIT_ACK, HEARTBEAT, COOKIE_ECHO, COOKIE_ACK] = [0, 1, 2, 4, 10, 11];
const TO_SERVER = 0x5eed0001;
const TO_CLIENT = 0xc11e0002;

/** An INIT's or INIT ACK's chunk, by which its sender says what tag it wants. */
function announce(type: number, tag: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeUInt32BE(tag >>> 0, 0);
  return sctpChunk(type, 0, value);
}

const INIT_CHUNK = announce(INIT, TO_CLIENT);

/** Bytes that are all different where a sum could mistake them. */
function some(count: number): Buffer {
  return Buffer.from(Array.from({ length: count }, (_, i) => (i * 7 + (i >> 8)) & 0xff));
}

interface Said {
  path: 'out' | 'back';
  tag: number;
  chunks: Buffer;
  /** Instead of the right one. */
  checksum?: number;
}

const HANDSHAKE: Said[] = [
  { path: 'out', tag: 0, chunks: INIT_CHUNK },
  { path: 'back', tag: TO_CLIENT, chunks: announce(INIT_ACK, TO_SERVER) },
  { path: 'out', tag: TO_SERVER, chunks: sctpChunk(COOKIE_ECHO, 0, some(200)) },
  { path: 'back', tag: TO_CLIENT, chunks: sctpChunk(COOKIE_ACK, 0, some(0)) },
];

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of [
    ['IPv4', frame, 4],
    ['IPv6', frame6, 6],
  ] as const) {
    const address = (host: Host): string => (version === 4 ? host.ip4 : host.ip6);
    /** All of SNAT's flows leave by this port. */
    const snat: RuleSetup = {
      kind: 'snat',
      to: [address(ROUTER_POOL), address(ROUTER_POOL)],
      ports: [21_000, 21_000],
    };
    /** A packet between a host with its port and the server. */
    const packet = (
      { path, tag, chunks, checksum }: Said,
      near: Host,
      port: number,
      service = 80,
    ): Buffer => {
      const fixed = checksum === undefined ? {} : { checksum };
      return path === 'out'
        ? build(near, SERVER, sctp({ sport: port, dport: service, tag, ...fixed }), raw(chunks))
        : build(SERVER, near, sctp({ sport: service, dport: port, tag, ...fixed }), raw(chunks));
    };
    const pass = (t: Test, on: Datapath, said: Said, name: string): void => {
      const inside = packet(said, CLIENT, 40_000);
      const outside = packet(said, ROUTER_POOL, 21_000);
      const [given, expect] = said.path === 'out' ? [inside, outside] : [outside, inside];
      check(t, on, { path: said.path, given, expect }, name);
    };

    await t.test(`${family}: SCTP gets another port, and a sum that is right, at every length`, async (t) => {
      datapath.configure({ rules: [snat] });
      HANDSHAKE.forEach((said, i) => {
        pass(t, datapath, said, `handshake ${i + 1}`);
      });
      for (const length of [1, 2, 3, 4, 61, 255, 256, 511, 1023, 1024, 1460, 2047, 3600]) {
        const chunks = Buffer.concat([sctpChunk(DATA, 0, some(12)), some(length)]);
        chunks.writeUInt16BE(chunks.length, 2);
        pass(t, datapath, { path: 'out', tag: TO_SERVER, chunks }, `${length} bytes out`);
        pass(t, datapath, { path: 'back', tag: TO_CLIENT, chunks }, `${length} bytes back`);
      }
      t.match(datapath.flows(version), [
        {
          original: 'CLIENT 40000 > SERVER 80',
          reply: 'SERVER 80 > ROUTER_POOL 21000',
          state: 'ESTABLISHED',
          packets: [15, 15],
        },
      ]);
    });

    await t.test(`${family}: a second host with the same SCTP port gets another one`, async (t) => {
      datapath.configure();
      const init = HANDSHAKE[0]!;
      check(
        t,
        datapath,
        { path: 'out', given: packet(init, CLIENT, 40_000), expect: packet(init, ROUTER_WAN, 40_000) },
        'the first keeps it',
      );
      const { packet: left } = walk(datapath, 'out', packet(init, CLIENT2, 40_000));
      const header = parse(left).find((layer) => layer.layer === 'sctp')!;
      t.not(header.sport, 40_000);
      t.equal(left.toString('hex'), packet(init, ROUTER_WAN, header.sport).toString('hex'));
      const answer = HANDSHAKE[1]!;
      check(
        t,
        datapath,
        {
          path: 'back',
          given: packet(answer, ROUTER_WAN, header.sport),
          expect: packet(answer, CLIENT2, 40_000),
        },
        'its answer',
      );
      t.equal(datapath.flows(version).length, 2);
    });

    await t.test(`${family}: a sum of 0 is none, or the device's to fill in: it stays`, async (t) => {
      datapath.configure({ rules: [snat] });
      HANDSHAKE.forEach((said, i) => {
        pass(t, datapath, { ...said, checksum: 0 }, `handshake ${i + 1}`);
      });
    });

    await t.test(`${family}: a wrong sum stays wrong`, async (t) => {
      datapath.configure({ rules: [snat] });
      const wrong = packet({ ...HANDSHAKE[0]!, checksum: 0x01020304 }, CLIENT, 40_000);
      const { packet: left } = walk(datapath, 'out', wrong);
      const sumOf = (frame: Buffer): number =>
        parse(frame).find((layer) => layer.layer === 'sctp')!.checksum!;
      const [right, moved] = [
        packet(HANDSHAKE[0]!, CLIENT, 40_000),
        packet(HANDSHAKE[0]!, ROUTER_POOL, 21_000),
      ];
      t.equal((sumOf(left) ^ sumOf(moved)) >>> 0, (0x01020304 ^ sumOf(right)) >>> 0);
    });

    await t.test(`${family}: fragments show no length: they are dropped where a port changes`, async (t) => {
      datapath.configure({ rules: [snat] });
      for (const said of HANDSHAKE.slice(0, 2)) pass(t, datapath, said, 'handshake');
      const echo = packet(
        { path: 'out', tag: TO_SERVER, chunks: sctpChunk(COOKIE_ECHO, 0, some(2000)) },
        CLIENT,
        40_000,
      );
      const [first] = fragments(echo, 1400, 9);
      check(t, datapath, { path: 'out', given: first!, expect: 'drop' }, 'the first');
      t.match(datapath.reasons(), { 'DROP_PORT_FIXED egress': 1 });
      // and none begins with one
      datapath.configure({ rules: [snat] });
      const beat = packet(
        { path: 'out', tag: 9, chunks: sctpChunk(HEARTBEAT, 0, some(2000)) },
        CLIENT,
        40_000,
      );
      check(t, datapath, { path: 'out', given: fragments(beat, 1400, 9)[0]!, expect: 'drop' }, 'a HEARTBEAT');
      t.strictSame(datapath.flows(version), []);
      t.match(datapath.reasons(), { 'DROP_PORT_FIXED egress': 1 });
    });

    await t.test(`${family}: an ICMP error quotes the packet as it was sent, its sum too`, async (t) => {
      const told = version === 4 ? icmp({ type: 3, code: 1, rest: 0 }) : icmp6({ type: 1, code: 3, rest: 0 });
      const data: Said = { path: 'out', tag: TO_SERVER, chunks: sctpChunk(DATA, 0, some(300)) };
      for (const quoted of [8, 12, 100, Number.POSITIVE_INFINITY]) {
        datapath.configure({ rules: [snat] });
        for (const said of HANDSHAKE) pass(t, datapath, said, 'handshake');
        pass(t, datapath, data, 'data');
        const error = (to: Host, port: number): Buffer =>
          build(HOP, to, told, quote(packet(data, to, port), quoted));
        const expect = error(CLIENT, 40_000);
        const given = error(ROUTER_POOL, 21_000);
        check(t, datapath, { path: 'back', given, expect }, `${quoted} bytes behind the header`);
      }
    });

    await t.test(`${family}: a forward to another port, answered from there`, async (t) => {
      datapath.configure({
        rules: [
          {
            kind: 'dnat',
            proto: 132,
            dport: [80, 80],
            to: [address(CLIENT), address(CLIENT)],
            ports: [8080, 8080],
          },
        ],
      });
      const [init, answer] = [
        (to: Host, dport: number): Buffer =>
          build(SERVER, to, sctp({ sport: 5, dport, tag: 0 }), raw(INIT_CHUNK)),
        (from: Host, sport: number): Buffer =>
          build(from, SERVER, sctp({ sport, dport: 5, tag: TO_CLIENT }), raw(announce(INIT_ACK, TO_SERVER))),
      ];
      check(
        t,
        datapath,
        { path: 'back', given: init(ROUTER_WAN, 80), expect: init(CLIENT, 8080) },
        'in by the forward',
      );
      check(t, datapath, { path: 'out', given: answer(CLIENT, 8080), expect: answer(ROUTER_WAN, 80) }, 'out');
      t.match(datapath.flows(version), [{ status: ['SEEN_REPLY', 'DST_NAT'], packets: [1, 1] }]);
    });

    await t.test(`${family}: both ports change, each at its hook`, async (t) => {
      datapath.configure({
        rules: [
          {
            kind: 'dnat',
            proto: 132,
            dst: `${address(HOP)}/${version === 4 ? 32 : 128}`,
            dport: [80, 80],
            to: [address(SERVER), address(SERVER)],
            ports: [8080, 8080],
          },
          snat,
        ],
      });
      const said = HANDSHAKE[0]!;
      const given = build(CLIENT, HOP, sctp({ sport: 40_000, dport: 80, tag: 0 }), raw(said.chunks));
      const expect = packet(said, ROUTER_POOL, 21_000, 8080);
      check(t, datapath, { path: 'out', given, expect }, 'there');
      const answer = HANDSHAKE[1]!;
      const back = build(
        HOP,
        CLIENT,
        sctp({ sport: 80, dport: 40_000, tag: answer.tag }),
        raw(answer.chunks),
      );
      check(
        t,
        datapath,
        { path: 'back', given: packet(answer, ROUTER_POOL, 21_000, 8080), expect: back },
        'and back',
      );
      t.match(datapath.flows(version), [{ status: ['SEEN_REPLY', 'SRC_NAT', 'DST_NAT'], packets: [1, 1] }]);
    });

    await t.test(
      `${family}: an association whose port changes has its events, and is published`,
      async (t) => {
        datapath.configure({ rules: [snat] });
        const listener = new Listener(t, datapath);
        const brief: string[] = [];
        for (const said of HANDSHAKE) {
          pass(t, datapath, said, 'handshake');
          brief.push(...listener.brief());
        }
        t.strictSame(brief, [
          'new sctp 40000 CLOSED [SRC_NAT]',
          'update sctp 40000 COOKIE_WAIT [SEEN_REPLY SRC_NAT]',
          'update sctp 40000 COOKIE_ECHOED [SEEN_REPLY SRC_NAT]',
          'update sctp 40000 ESTABLISHED [SEEN_REPLY ASSURED SRC_NAT]',
        ]);
      },
    );
  }
});
