// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Fragments: the followers of a datagram go where its first fragment went; alone they leave nowhere.
// RFC 4787 REQ-14.
import type { Test } from 'tap';
import { check, type Path, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  fragments,
  frame,
  frame6,
  type Host,
  icmp,
  idAndSequence,
  ROUTER_WAN,
  SERVER,
  tcp,
  udp,
} from '../helpers/packet.js';

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

/** Sends each piece and wants the piece of the other packet that it corresponds to. */
function pieces(t: Test, datapath: Datapath, path: Path, given: Buffer, expect: Buffer, id: number): void {
  const wanted = fragments(expect, 1400, id);
  fragments(given, 1400, id).forEach((piece, i) => {
    check(t, datapath, { path, given: piece, expect: wanted[i]! }, `fragment ${i}`);
  });
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    await t.test(`${family}: a datagram in three pieces goes out and comes back`, async (t) => {
      datapath.configure();
      const out = (from: Host): Buffer => build(from, SERVER, udp({ sport: 40000, dport: 53 }), bytes(3333));
      const back = (to: Host): Buffer => build(SERVER, to, udp({ sport: 53, dport: 40000 }), bytes(3001));

      pieces(t, datapath, 'out', out(CLIENT), out(ROUTER_WAN), 99);
      pieces(t, datapath, 'back', back(ROUTER_WAN), back(CLIENT), 77);

      t.match(datapath.flows(version), [{ packets: [3, 3], status: ['SEEN_REPLY', 'SRC_NAT'] }]);
      t.equal(datapath.flows(version).length, 1);
    });

    await t.test(
      `${family}: a follower without its first does not leave with an inside address`,
      async (t) => {
        datapath.configure();
        const [, follower] = fragments(
          build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(3000)),
          1400,
          5,
        );
        check(t, datapath, { path: 'out', given: follower!, expect: 'drop' }, 'follower');
        t.strictSame(datapath.reasons(), { 'PASSED_FRAGMENT ingress': 1, 'DROP_FRAGMENT egress': 1 });
        t.strictSame(datapath.flows(version), []);
      },
    );

    await t.test(`${family}: followers of another datagram are not mistaken`, async (t) => {
      datapath.configure();
      const whole = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(3000));
      const [first] = fragments(whole, 1400, 5);
      const [, foreign] = fragments(whole, 1400, 6);
      t.equal(datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: first! }).verdict, 'pass');
      t.equal(datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: foreign! }).verdict, 'drop');
      const tcpFollower = fragments(
        build(CLIENT, SERVER, tcp({ sport: 40000, dport: 53 }), bytes(3000)),
        1400,
        5,
      )[1]!;
      t.equal(
        datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: tcpFollower }).verdict,
        'drop',
        'other protocol',
      );
    });

    await t.test(`${family}: a first fragment that ends inside the L4 header begins nothing`, async (t) => {
      for (const packet of [build(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S' }), bytes(40))]) {
        for (const size of [8, 16]) {
          datapath.configure();
          const [first, second] = fragments(packet, size, 5);
          t.equal(
            datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: first! }).verdict,
            'drop',
          );
          t.equal(
            datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: second! }).verdict,
            'drop',
          );
          t.strictSame(
            datapath.reasons(),
            { 'DROP_TRUNCATED egress': 1, 'DROP_FRAGMENT egress': 1 },
            `${size} bytes`,
          );
          t.strictSame(datapath.flows(version), []);
        }
      }
    });
  }

  await t.test('a large ping in pieces, out and back', async (t) => {
    datapath.configure();
    const ping = (from: Host): Buffer =>
      frame(from, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(9, 1) }), bytes(4000));
    const pong = (to: Host): Buffer =>
      frame(SERVER, to, icmp({ type: 0, code: 0, rest: idAndSequence(9, 1) }), bytes(4000));
    pieces(t, datapath, 'out', ping(CLIENT), ping(ROUTER_WAN), 3);
    pieces(t, datapath, 'back', pong(ROUTER_WAN), pong(CLIENT), 4);
  });

  await t.test('followers take the port that their first was given', async (t) => {
    datapath.configure({
      rules: [{ kind: 'snat', to: ['198.51.100.4', '198.51.100.4'], ports: [20000, 20000] }],
    });
    const pool = { name: 'pool', ip4: '198.51.100.4', ip6: '::' };
    const given = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(3333));
    pieces(t, datapath, 'out', given, frame(pool, SERVER, udp({ sport: 20000, dport: 53 }), bytes(3333)), 12);
  });
});
