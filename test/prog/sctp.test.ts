// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// SCTP associations through the hooks: their life, their tags, and what a translation may do to them.
// What bpf/sctp.h decides of each packet is test/unit/sctp.test.ts's.
import type { Test } from 'tap';
import { check, type Path, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  fragments,
  frame,
  frame6,
  type Host,
  ROUTER_WAN,
  raw,
  SERVER,
  sctp,
  sctpChunk,
} from '../helpers/packet.js';

const TYPE = {
  DATA: 0,
  INIT: 1,
  INIT_ACK: 2,
  SACK: 3,
  HEARTBEAT: 4,
  HEARTBEAT_ACK: 5,
  ABORT: 6,
  SHUTDOWN: 7,
  SHUTDOWN_ACK: 8,
  COOKIE_ECHO: 10,
  COOKIE_ACK: 11,
  SHUTDOWN_COMPLETE: 14,
} as const;
type ChunkName = keyof typeof TYPE;

/** Verification tags that the client's and the server's packets carry. */
const TO_SERVER = 0x5eed0001;
const TO_CLIENT = 0xc11e0002;

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

/** An INIT's or INIT ACK's value: the sender's tag and the rest. */
function initValue(tag: number): Buffer {
  const value = Buffer.alloc(16);
  value.writeUInt32BE(tag >>> 0, 0);
  value.writeUInt32BE(65_536, 4);
  return value;
}

function chunk(name: ChunkName): Buffer {
  const type = TYPE[name];
  if (name === 'INIT') return sctpChunk(type, 0, initValue(TO_CLIENT));
  if (name === 'INIT_ACK') return sctpChunk(type, 0, initValue(TO_SERVER));
  return sctpChunk(type, 0, Buffer.alloc(name === 'DATA' ? 61 : 8, 0x42));
}

interface Step {
  path: 'out' | 'back';
  chunks: ChunkName[];
  tag?: number;
  expect?: 'drop';
  state?: string;
  timeout?: string;
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    const packet = (path: Path, inside: Host, chunks: ChunkName[], tag?: number, port = 40_000): Buffer => {
      const out = path === 'out';
      const usual = chunks[0] === 'INIT' ? 0 : out ? TO_SERVER : TO_CLIENT;
      const layers = [
        sctp({ sport: out ? port : 80, dport: out ? 80 : port, tag: tag ?? usual }),
        raw(Buffer.concat(chunks.map(chunk))),
      ];
      return out ? build(inside, SERVER, ...layers) : build(SERVER, inside, ...layers);
    };
    const play = (t: Test, on: Datapath, steps: readonly Step[]): void => {
      steps.forEach(({ path, chunks, tag, expect, state, timeout }, i) => {
        const [from, to] = path === 'out' ? [CLIENT, ROUTER_WAN] : [ROUTER_WAN, CLIENT];
        const name = `step ${i + 1}, ${chunks}`;
        const wanted = expect ?? packet(path, to, chunks, tag);
        check(t, on, { path, given: packet(path, from, chunks, tag), expect: wanted }, name);
        if (state)
          t.match(on.flows(version), [{ proto: 132, state, timeout: timeout ?? `SCTP_${state}` }], name);
      });
    };

    await t.test(`${family}: an association from INIT to SHUTDOWN COMPLETE, translated`, async (t) => {
      datapath.configure();
      play(t, datapath, [
        { path: 'out', chunks: ['INIT'], state: 'CLOSED' },
        { path: 'back', chunks: ['INIT_ACK'], state: 'COOKIE_WAIT' },
        { path: 'out', chunks: ['COOKIE_ECHO', 'DATA'], state: 'COOKIE_ECHOED' },
        { path: 'back', chunks: ['COOKIE_ACK', 'SACK'], state: 'ESTABLISHED' },
        { path: 'out', chunks: ['DATA', 'DATA'], state: 'ESTABLISHED' },
        { path: 'back', chunks: ['SACK'], state: 'ESTABLISHED' },
        { path: 'back', chunks: ['HEARTBEAT'], state: 'ESTABLISHED' },
        { path: 'out', chunks: ['HEARTBEAT_ACK'], state: 'ESTABLISHED' },
        { path: 'out', chunks: ['SACK', 'SHUTDOWN'], state: 'SHUTDOWN_SENT' },
        { path: 'back', chunks: ['SHUTDOWN_ACK'], state: 'SHUTDOWN_ACK_SENT' },
        { path: 'out', chunks: ['SHUTDOWN_COMPLETE'], state: 'CLOSED' },
      ]);
      t.match(datapath.flows(version), [
        {
          original: 'CLIENT 40000 > SERVER 80',
          reply: 'SERVER 80 > ROUTER_WAN 40000',
          status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'],
          packets: [6, 5],
        },
      ]);
      t.equal(datapath.flows(version).length, 1);
    });

    await t.test(`${family}: each packet is judged once, although it crosses two hooks`, async (t) => {
      datapath.configure();
      // were the second INIT of one packet's way judged as a repetition, its tag would still be the same; a
      // COOKIE ACK settles both sides' INITs, a strange HEARTBEAT counts against the next
      play(t, datapath, [
        { path: 'out', chunks: ['INIT'] },
        { path: 'back', chunks: ['INIT_ACK'] },
        { path: 'out', chunks: ['COOKIE_ECHO'] },
        { path: 'back', chunks: ['COOKIE_ACK'] },
        { path: 'out', chunks: ['HEARTBEAT'], tag: 99, state: 'ESTABLISHED' },
        { path: 'back', chunks: ['HEARTBEAT_ACK'], tag: 98, state: 'ESTABLISHED' },
        { path: 'out', chunks: ['DATA'], tag: 5, expect: 'drop' },
        { path: 'out', chunks: ['HEARTBEAT'], tag: 99, state: 'ESTABLISHED' },
        { path: 'out', chunks: ['DATA'], tag: 99, state: 'ESTABLISHED' },
      ]);
      t.match(datapath.flows(version), [{ packets: [5, 3] }]);
    });

    await t.test(`${family}: strange tags are invalid, and do not leave`, async (t) => {
      datapath.configure();
      play(t, datapath, [
        { path: 'out', chunks: ['INIT'] },
        { path: 'back', chunks: ['INIT_ACK'], tag: 77, expect: 'drop', state: 'CLOSED' },
        { path: 'back', chunks: ['INIT_ACK'], state: 'COOKIE_WAIT' },
        { path: 'out', chunks: ['COOKIE_ECHO'], tag: 1, expect: 'drop' },
        { path: 'out', chunks: ['COOKIE_ECHO'] },
        { path: 'back', chunks: ['COOKIE_ACK'], state: 'COOKIE_ECHOED', tag: 1, expect: 'drop' },
        { path: 'back', chunks: ['COOKIE_ACK'], state: 'ESTABLISHED' },
        { path: 'back', chunks: ['ABORT'], tag: 5, expect: 'drop', state: 'ESTABLISHED' },
        { path: 'out', chunks: ['DATA'], tag: TO_CLIENT, expect: 'drop' },
        { path: 'back', chunks: ['ABORT'], state: 'CLOSED' },
      ]);
    });

    await t.test(`${family}: what is out of the blue begins nothing`, async (t) => {
      for (const chunks of [
        ['DATA'],
        ['ABORT'],
        ['COOKIE_ACK'],
        ['SHUTDOWN_COMPLETE'],
        ['SACK'],
        ['INIT', 'DATA'],
      ]) {
        datapath.configure();
        play(t, datapath, [{ path: 'out', chunks: chunks as ChunkName[], expect: 'drop' }]);
        t.strictSame(datapath.flows(version), [], chunks.join());
        t.match(datapath.reasons(), { 'DROP_INVALID egress': 1 });
      }
      datapath.configure();
      play(t, datapath, [{ path: 'out', chunks: ['INIT'], tag: 4, expect: 'drop' }]);
      for (const [kind, state] of [
        ['HEARTBEAT', 'HEARTBEAT_SENT'],
        ['SHUTDOWN_ACK', 'SHUTDOWN_ACK_SENT'],
      ] as const) {
        datapath.configure();
        play(t, datapath, [{ path: 'out', chunks: [kind], state }]);
      }
    });

    await t.test(`${family}: a second path of an association, found by its heartbeat`, async (t) => {
      datapath.configure();
      play(t, datapath, [
        { path: 'out', chunks: ['HEARTBEAT'], state: 'HEARTBEAT_SENT' },
        { path: 'back', chunks: ['HEARTBEAT_ACK'], state: 'ESTABLISHED' },
        { path: 'out', chunks: ['DATA'], state: 'ESTABLISHED' },
        { path: 'back', chunks: ['DATA'], state: 'ESTABLISHED' },
      ]);
    });

    await t.test(`${family}: chunks without end, cut off or without length`, async (t) => {
      const bad: [string, Buffer][] = [
        ['no chunk', Buffer.alloc(0)],
        ['a chunk without length', Buffer.from([1, 0, 0, 0])],
        ['half a chunk header', Buffer.from([1, 0])],
        ['an INIT that ends behind its header', Buffer.from([1, 0, 0, 20])],
      ];
      for (const [name, chunks] of bad) {
        datapath.configure();
        const given = build(CLIENT, SERVER, sctp({ sport: 1, dport: 2, tag: 0 }), raw(chunks));
        check(t, datapath, { path: 'out', given, expect: 'drop' }, name);
        t.strictSame(datapath.flows(version), [], name);
      }
    });

    await t.test(`${family}: fragments of a large packet go with the first one`, async (t) => {
      datapath.configure();
      play(t, datapath, [
        { path: 'out', chunks: ['INIT'] },
        { path: 'back', chunks: ['INIT_ACK'] },
      ]);
      const echo = (from: Host): Buffer =>
        build(
          from,
          SERVER,
          sctp({ sport: 40_000, dport: 80, tag: TO_SERVER }),
          raw(sctpChunk(10, 0, Buffer.alloc(2000, 7))),
        );
      const wanted = fragments(echo(ROUTER_WAN), 1400, 9);
      fragments(echo(CLIENT), 1400, 9).forEach((given, i) => {
        check(t, datapath, { path: 'out', given, expect: wanted[i]! }, `fragment ${i}`);
      });
      t.match(datapath.flows(version), [{ state: 'COOKIE_ECHOED', packets: [3, 1] }]);
    });
  }
});
