// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP errors and queries as RFC 5508 and RFC 4787 REQ-12 want them: what an error may do to its flow, whose errors
// pass, and what its quote may look like. Checksums of every length: checksums.test.ts.
import { NatRuleFlags } from '../../src/generated/layouts.gen.js';
import { check, samePacket, walk, withDatapath } from '../helpers/datapath/table.js';
import {
  bytes,
  CLIENT,
  CLIENT2,
  frame,
  frameWith,
  HOP,
  type Host,
  host,
  icmp,
  idAndSequence,
  quote,
  ROUTER_WAN,
  raw,
  SERVER,
  STRANGER,
  tcp,
  udp,
  verify,
} from '../helpers/packet.js';
import { slowly } from '../helpers/wait.js';

/** Every error of RFC 792, and of unreachable every code. */
const ERRORS = [
  ...Array.from({ length: 16 }, (_, code) => [3, code] as const),
  [4, 0],
  [11, 0],
  [11, 1],
  [12, 0],
  [12, 2],
] as const;

const PACKETS: Record<string, (from: Host, to: Host) => Buffer> = {
  UDP: (from, to) => frame(from, to, udp({ sport: 40000, dport: 53 }), bytes(30)),
  TCP: (from, to) => frame(from, to, tcp({ sport: 40000, dport: 53, flags: 'S', seq: 7 })),
  ping: (from, to) => frame(from, to, icmp({ type: 8, code: 0, rest: idAndSequence(40000, 5) }), bytes(30)),
};

const OUTER = host('OUTER', '198.51.100.130', '2001:db8:77::2');
const OUTER2 = host('OUTER2', '198.51.100.131', '2001:db8:77::3');

withDatapath(async (t, datapath) => {
  await t.test('no ICMP error ends or prolongs a flow, whoever sends it', async (t) => {
    for (const [name, packet] of Object.entries(PACKETS)) {
      datapath.configure();
      walk(datapath, 'out', packet(CLIENT, SERVER));
      const { slot } = datapath.flows()[0]!;
      datapath.setDeadline(slot, slowly(30));
      const before = datapath.flows();
      for (const from of [HOP, SERVER, STRANGER]) {
        for (const [type, code] of ERRORS) {
          const error = icmp({ type, code, rest: type === 3 && code === 4 ? 1400 : 0 });
          const step = {
            path: 'back',
            given: frame(from, ROUTER_WAN, error, quote(packet(ROUTER_WAN, SERVER))),
            expect: frame(from, CLIENT, error, quote(packet(CLIENT, SERVER))),
          } as const;
          check(t, datapath, step, `${name} ${type}/${code}`);
        }
      }
      const [after] = datapath.flows();
      t.ok(after!.secondsLeft <= before[0]!.secondsLeft, `${name}: not prolonged`);
      t.ok(after!.secondsLeft > slowly(20), `${name}: not shortened`);
      t.match(datapath.flows(), [{ state: before[0]!.state, status: before[0]!.status, packets: [1, 0] }]);
      check(
        t,
        datapath,
        { path: 'out', given: packet(CLIENT, SERVER), expect: packet(ROUTER_WAN, SERVER) },
        `${name} goes on`,
      );
    }
  });

  await t.test('an error about no flow of ours does not leave', async (t) => {
    datapath.configure();
    const unreachable = icmp({ type: 3, code: 3, rest: 0 });
    const nobodys = frame(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), bytes(8));
    const given = frame(CLIENT, SERVER, unreachable, quote(nobodys));
    check(t, datapath, { path: 'out', given, expect: 'drop' }, 'from inside');
    const ours = frame(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), bytes(8));
    const back = frame(HOP, ROUTER_WAN, unreachable, quote(ours));
    check(t, datapath, { path: 'in', given: back, expect: 'same' }, 'from outside, to the router');
    t.strictSame(datapath.reasons(), {
      'PASSED_INVALID ingress': 2,
      'DROP_INVALID egress': 1,
    });
    t.strictSame(datapath.flows(), []);
  });

  await t.test('an error that does not go to whom it quotes does not come in', async (t) => {
    datapath.configure();
    walk(datapath, 'out', PACKETS.UDP!(CLIENT, SERVER));
    const other = host('other', '198.51.100.4', '2001:db8:1::4');
    const error = frame(
      HOP,
      other,
      icmp({ type: 3, code: 3, rest: 0 }),
      quote(PACKETS.UDP!(ROUTER_WAN, SERVER)),
    );
    check(t, datapath, { path: 'in', given: error, expect: 'same' }, 'it stays the router’s');
  });

  await t.test('a quote with IP options is understood', async (t) => {
    datapath.configure();
    // record route: type 7, 39 bytes at most; here padded to 12
    const options = Buffer.from([7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    const sent = (from: Host): Buffer =>
      frameWith({ ip: { options } }, from, SERVER, udp({ sport: 40000, dport: 53 }), bytes(20));
    check(t, datapath, { path: 'out', given: sent(CLIENT), expect: sent(ROUTER_WAN) }, 'sent');
    const error = icmp({ type: 11, code: 0, rest: 0 });
    const step = {
      path: 'back',
      given: frame(HOP, ROUTER_WAN, error, quote(sent(ROUTER_WAN))),
      expect: frame(HOP, CLIENT, error, quote(sent(CLIENT))),
    } as const;
    check(t, datapath, step, 'error');
  });

  await t.test('extensions behind the quote stay as they are', async (t) => {
    // RFC 4884: the quote padded with zeros to 128 bytes, its length in 32-bit words, then the extensions
    const extensions = Buffer.from([0x20, 0, 0, 0, 0, 8, 1, 1, 0x00, 0x01, 0x11, 0xff]);
    const padded = (packet: Buffer): Buffer => {
      const whole = Buffer.alloc(128 + extensions.length);
      packet.copy(whole, 0, 14);
      extensions.copy(whole, 128);
      return whole;
    };
    for (const [name, packet] of Object.entries(PACKETS)) {
      datapath.configure();
      walk(datapath, 'out', packet(CLIENT, SERVER));
      const error = icmp({ type: 11, code: 0, rest: 32 << 16 });
      const step = {
        path: 'back',
        given: frame(HOP, ROUTER_WAN, error, raw(padded(packet(ROUTER_WAN, SERVER)))),
        expect: frame(HOP, CLIENT, error, raw(padded(packet(CLIENT, SERVER)))),
      } as const;
      check(t, datapath, step, name);
    }
  });

  await t.test('each kind of query and of error is known', async (t) => {
    for (const [type, answer] of [
      [8, 0],
      [13, 14],
      [15, 16],
      [17, 18],
    ] as const) {
      datapath.configure();
      const asked = (from: Host): Buffer =>
        frame(from, SERVER, icmp({ type, code: 0, rest: idAndSequence(9, 1) }), bytes(12));
      const answered = (to: Host): Buffer =>
        frame(SERVER, to, icmp({ type: answer, code: 0, rest: idAndSequence(9, 1) }), bytes(12));
      check(t, datapath, { path: 'out', given: asked(CLIENT), expect: asked(ROUTER_WAN) }, `${type}`);
      check(
        t,
        datapath,
        { path: 'back', given: answered(ROUTER_WAN), expect: answered(CLIENT) },
        `${answer}`,
      );
    }
    datapath.configure();
    walk(datapath, 'out', PACKETS.UDP!(CLIENT, SERVER));
    const redirect = frame(
      HOP,
      ROUTER_WAN,
      icmp({ type: 5, code: 1, rest: 0xcb007101 }),
      quote(PACKETS.UDP!(ROUTER_WAN, SERVER)),
    );
    check(t, datapath, { path: 'back', given: redirect, expect: 'drop' }, 'a redirect');
  });

  await t.test('an error between inside hosts goes by their outside addresses', async (t) => {
    const { wan0 } = datapath.network;
    datapath.configure({
      interfaces: { lan0: {}, wan0: {} },
      rules: [
        { kind: 'netmapOut', ifindex: wan0, src: '10.0.0.0/25', to: ['198.51.100.128', '0.0.0.0'] },
        {
          kind: 'netmapIn',
          ifindex: wan0,
          dst: '198.51.100.128/25',
          to: ['10.0.0.0', '0.0.0.0'],
          flags: NatRuleFlags.HAIRPIN,
        },
      ],
    });
    /** A packet that comes in by lan0 and leaves by it. */
    const turn = (given: Buffer, expect: Buffer, name: string): void => {
      const arrived = datapath.step({ hook: 'ingress', at: 'lan0', packet: given });
      const { packet, tcIndex } = arrived;
      const left = datapath.step({ hook: 'egress', at: 'lan0', from: 'lan0', packet, tcIndex });
      t.equal(left.verdict, 'pass', name);
      samePacket(t, left.packet, expect, name);
      t.strictSame(verify(left.packet), [], name);
    };
    for (const [name, packet] of Object.entries(PACKETS)) {
      turn(packet(CLIENT, OUTER2), packet(OUTER, CLIENT2), `${name} there`);
      const error = icmp({ type: 3, code: 3, rest: 0 });
      turn(
        frame(CLIENT2, OUTER, error, quote(packet(OUTER, CLIENT2))),
        frame(OUTER2, CLIENT, error, quote(packet(CLIENT, OUTER2))),
        `${name}: the error comes from the outside address that was written to`,
      );
    }
  });
});
