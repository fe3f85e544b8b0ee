// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 10, checksums are right: on every packet that leaves, of every size, odd ones too, and where the
// arithmetic has corners (0 and ffff). What leaves is compared with a packet whose checksums were summed anew.
import type { Test } from 'tap';
import { check, samePacket, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  find,
  frame,
  frame6,
  frameWith,
  HOP,
  type Host,
  icmp,
  icmp6,
  idAndSequence,
  type Layer,
  parse,
  quote,
  ROUTER_WAN,
  raw,
  SERVER,
  tcp,
  text,
  udp,
  verify,
} from '../helpers/packet.js';

const MOVED = { kind: 'snat', to: [ROUTER_WAN.ip4, ROUTER_WAN.ip4], ports: [20000, 20000] } as const;
const OTHER_PORT = {
  rules: [{ ...MOVED, to: [...MOVED.to] as [string, string], ports: [...MOVED.ports] as [number, number] }],
};

/** The payload with which a datagram's checksum, computed as usual, would be `wanted`. */
function payloadFor(from: Host, to: Host, header: { sport: number; dport: number }, wanted: number): Layer {
  const blank = find(parse(frame(from, to, udp(header), raw(Buffer.alloc(2)))), 'udp')!.checksum!;
  // sum(rest) = ~blank; a word w makes it ~blank + w, which is to be ~wanted
  const word = (blank + (~wanted & 0xffff)) % 0xffff;
  const filled = Buffer.alloc(2);
  filled.writeUInt16BE(word);
  return raw(filled);
}

function sizes(): number[] {
  return [
    ...Array.from({ length: 130 }, (_, n) => n),
    511,
    512,
    513,
    1279,
    1280,
    1459,
    1460,
    1461,
    1472,
    1473,
  ];
}

withDatapath(async (t, datapath) => {
  await t.test('every size of TCP, UDP and ICMP, IPv4 and IPv6', async (t) => {
    datapath.configure();
    for (const size of sizes()) {
      const pairs: [string, (from: Host) => Buffer][] = [
        ['UDP', (from) => frame(from, SERVER, udp({ sport: 1024 + size, dport: 53 }), bytes(size))],
        [
          'TCP',
          (from) =>
            frame(from, SERVER, tcp({ sport: 1024 + size, dport: 80, flags: 'S', seq: size }), bytes(size)),
        ],
        [
          'ICMP',
          (from) =>
            frame(from, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(size, 1) }), bytes(size)),
        ],
        ['UDP6', (from) => frame6(from, SERVER, udp({ sport: 1024 + size, dport: 53 }), bytes(size))],
        [
          'TCP6',
          (from) => frame6(from, SERVER, tcp({ sport: 1024 + size, dport: 80, flags: 'S' }), bytes(size)),
        ],
        [
          'ICMP6',
          (from) =>
            frame6(from, SERVER, icmp6({ type: 128, code: 0, rest: idAndSequence(size, 1) }), bytes(size)),
        ],
      ];
      for (const [name, packet] of pairs) {
        samePacket(
          t,
          walk(datapath, 'out', packet(CLIENT)).packet,
          packet(ROUTER_WAN),
          `${name} with ${size} bytes`,
        );
      }
    }
  });

  await t.test('IP options stay, and the header checksum covers them', async (t) => {
    datapath.configure();
    for (let words = 1; words <= 10; words++) {
      const options = Buffer.alloc(words * 4, 1); // no-operation
      const packet = (from: Host): Buffer =>
        frameWith(
          { ip: { options } },
          from,
          SERVER,
          udp({ sport: 1000 + words, dport: 53 }),
          text('with options'),
        );
      check(
        t,
        datapath,
        { path: 'out', given: packet(CLIENT), expect: packet(ROUTER_WAN) },
        `${words} words`,
      );
    }
  });

  await t.test('a UDP checksum of 0 stays 0, with another address and another port', async (t) => {
    for (const setup of [{}, OTHER_PORT]) {
      datapath.configure(setup);
      const sport = 'rules' in setup ? 20000 : 40000;
      check(
        t,
        datapath,
        {
          path: 'out',
          given: frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53, checksum: 0 }), text('unsummed')),
          expect: frame(ROUTER_WAN, SERVER, udp({ sport, dport: 53, checksum: 0 }), text('unsummed')),
        },
        'out',
      );
      check(
        t,
        datapath,
        {
          path: 'back',
          given: frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: sport, checksum: 0 }), text('unsummed')),
          expect: frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000, checksum: 0 }), text('unsummed')),
        },
        'back',
      );
    }
  });

  await t.test('a UDP checksum that comes to 0 is sent as ffff', async (t) => {
    datapath.configure();
    for (let n = 0; n < 50; n++) {
      const header = { sport: 30000 + n, dport: 53 };
      const payload = payloadFor(ROUTER_WAN, SERVER, header, 0xffff);
      const expect = frame(ROUTER_WAN, SERVER, udp(header), payload);
      t.equal(find(parse(expect), 'udp')?.checksum, 0xffff, 'the case is the one that is meant');
      check(
        t,
        datapath,
        { path: 'out', given: frame(CLIENT, SERVER, udp(header), payload), expect },
        `datagram ${n}`,
      );
    }
  });

  await t.test('a checksum of ffff that came in is as good as any', async (t) => {
    datapath.configure();
    for (let n = 0; n < 50; n++) {
      const header = { sport: 30000 + n, dport: 53 };
      const payload = payloadFor(CLIENT, SERVER, header, 0xffff);
      const given = frame(CLIENT, SERVER, udp(header), payload);
      t.equal(find(parse(given), 'udp')?.checksum, 0xffff, 'the case is the one that is meant');
      check(
        t,
        datapath,
        { path: 'out', given, expect: frame(ROUTER_WAN, SERVER, udp(header), payload) },
        `datagram ${n}`,
      );
    }
  });

  await t.test('every checksum that a translated datagram can have', async (t) => {
    datapath.configure();
    let wrong = 0;
    for (let checksum = 1; checksum <= 0xffff; checksum += 13) {
      const header = { sport: 40000, dport: 53 };
      const payload = payloadFor(CLIENT, SERVER, header, checksum);
      const out = walk(datapath, 'out', frame(CLIENT, SERVER, udp(header), payload));
      if (!out.packet.equals(frame(ROUTER_WAN, SERVER, udp(header), payload))) wrong++;
    }
    t.equal(wrong, 0);
  });

  await t.test('a wrong checksum stays wrong: the receiver is to see it', async (t) => {
    datapath.configure();
    const given = frame(
      CLIENT,
      SERVER,
      udp({ sport: 40000, dport: 53, checksum: 0x1234 }),
      text('corrupted'),
    );
    t.match(verify(given), [/UDP checksum/]);
    const out = walk(datapath, 'out', given);
    t.equal(out.verdict, 'pass');
    t.match(verify(out.packet), [/UDP checksum/]);
  });

  await t.test('the checksum beside the packet stays right (CHECKSUM_COMPLETE)', async (t) => {
    datapath.configure();
    const why = datapath.whyNoChecksumComplete(frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 })));
    if (why) {
      t.pass(`skipped: ${why}`);
      return;
    }
    datapath.configure();
    for (const build of [frame, frame6]) {
      const given = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(33));
      const back = build(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }), bytes(12));
      // the kernel refuses the run with EBADMSG if skb->csum and the packet disagree afterwards
      const out = datapath.step({
        hook: 'egress',
        at: 'wan0',
        from: 'lan0',
        packet: given,
        checksumComplete: true,
      });
      const home = datapath.step({ hook: 'ingress', at: 'wan0', packet: back, checksumComplete: true });
      samePacket(
        t,
        out.packet,
        build(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), bytes(33)),
        'out',
      );
      samePacket(t, home.packet, build(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), bytes(12)), 'back');
    }
  });

  await t.test('ICMP errors: outer, quoted IP and quoted L4 checksums, quotes of every length', async (t) => {
    const kinds: [string, (from: Host, to: Host) => Buffer][] = [
      ['UDP', (from, to) => frame(from, to, udp({ sport: 40000, dport: 53 }), bytes(41))],
      [
        'UDP without checksum',
        (from, to) => frame(from, to, udp({ sport: 40000, dport: 53, checksum: 0 }), bytes(41)),
      ],
      ['TCP', (from, to) => frame(from, to, tcp({ sport: 40000, dport: 53, flags: 'S', seq: 7 }), bytes(20))],
      [
        'ping',
        (from, to) => frame(from, to, icmp({ type: 8, code: 0, rest: idAndSequence(40000, 5) }), bytes(31)),
      ],
    ];
    for (const [name, packet] of kinds) {
      datapath.configure();
      check(
        t,
        datapath,
        { path: 'out', given: packet(CLIENT, SERVER), expect: packet(ROUTER_WAN, SERVER) },
        name,
      );
      const whole = packet(CLIENT, SERVER).length - 34;
      for (let length = 8; length <= whole; length++) {
        if (name === 'TCP' && length === 17) continue; // half a checksum is quoted: nobody can mend that
        errorComesBack(t, datapath, name, length, packet(ROUTER_WAN, SERVER), packet(CLIENT, SERVER));
      }
      t.match(datapath.flows(), [{ packets: [1, 0] }], 'an error is no packet of the flow (RFC 5508 REQ-6)');
    }
  });

  await t.test(
    'a quote too short to name a flow is dropped where sources are translated, and passes elsewhere',
    async (t) => {
      datapath.configure();
      const sent = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }));
      for (let length = 0; length < 8; length++) {
        const error = frame(HOP, ROUTER_WAN, icmp({ type: 11, code: 0, rest: 0 }), quote(sent, length));
        check(t, datapath, { path: 'in', given: error, expect: 'same' }, `${length} bytes`);
      }
      t.strictSame(datapath.flows(), []);
    },
  );
});

function errorComesBack(
  t: Test,
  datapath: Datapath,
  name: string,
  length: number,
  outside: Buffer,
  inside: Buffer,
): void {
  const errors: [string, Layer][] = [
    ['unreachable', icmp({ type: 3, code: 3, rest: 0 })],
    ['too big', icmp({ type: 3, code: 4, rest: 1400 })],
    ['time exceeded', icmp({ type: 11, code: 0, rest: 0 })],
  ];
  for (const [what, error] of errors) {
    const step = {
      path: 'back',
      given: frame(HOP, ROUTER_WAN, error, quote(outside, length)),
      expect: frame(HOP, CLIENT, error, quote(inside, length)),
    } as const;
    check(t, datapath, step, `${name} ${what}, ${length} bytes quoted`);
  }
}
