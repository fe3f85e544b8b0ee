// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The router's own flows: they are tracked, claim the ports that they use, and give way to no client's.
import { samePacket, walk, withDatapath } from '../helpers/datapath/table.js';
import {
  CLIENT,
  find,
  frame,
  frame6,
  type Host,
  icmp,
  idAndSequence,
  parse,
  ROUTER_LAN,
  ROUTER_WAN,
  SERVER,
  tcp,
  text,
  udp,
  verify,
} from '../helpers/packet.js';

const query = (from: Host, sport = 40000): Buffer =>
  frame(from, SERVER, udp({ sport, dport: 53 }), text('q'));
const answer = (to: Host, dport = 40000): Buffer =>
  frame(SERVER, to, udp({ sport: 53, dport }), text('answer'));

withDatapath(async (t, datapath) => {
  await t.test("the host's own flow passes as it is, and is tracked", async (t) => {
    datapath.configure();
    samePacket(t, walk(datapath, 'self', query(ROUTER_WAN)).packet, query(ROUTER_WAN), 'out');
    samePacket(t, walk(datapath, 'in', answer(ROUTER_WAN)).packet, answer(ROUTER_WAN), 'back');
    t.match(datapath.flows(), [
      {
        nat: 'NONE',
        status: ['SEEN_REPLY'],
        packets: [1, 1],
        original: 'ROUTER_WAN 40000 > SERVER 53',
        reply: 'SERVER 53 > ROUTER_WAN 40000',
      },
    ]);
    t.equal(datapath.keys(), 1, 'an untranslated flow has one key');
  });

  await t.test('a port that a local socket uses is not given to a client', async (t) => {
    for (const l4 of ['udp', 'tcp'] as const) {
      datapath.configure();
      const packet = (from: Host): Buffer =>
        l4 === 'udp' ? query(from) : frame(from, SERVER, tcp({ sport: 40000, dport: 53, flags: 'S' }));
      walk(datapath, 'self', packet(ROUTER_WAN));
      const out = walk(datapath, 'out', packet(CLIENT));
      t.equal(out.verdict, 'pass');
      t.not(find(parse(out.packet), l4)!.sport, 40000, `${l4}: another port`);
      t.strictSame(verify(out.packet), []);
      t.equal(datapath.flows().length, 2);
    }
  });

  await t.test(
    'a local socket that chooses a port in use leaves by another, and gets its answers',
    async (t) => {
      datapath.configure();
      samePacket(
        t,
        walk(datapath, 'out', query(CLIENT)).packet,
        query(ROUTER_WAN),
        "the client's is there first",
      );

      const own = walk(datapath, 'self', query(ROUTER_WAN));
      t.equal(own.verdict, 'pass');
      const port = find(parse(own.packet), 'udp')!.sport;

      t.not(port, 40000);
      samePacket(t, own.packet, query(ROUTER_WAN, port), 'own');
      samePacket(t, walk(datapath, 'in', answer(ROUTER_WAN, port)).packet, answer(ROUTER_WAN), 'its answer');
      samePacket(t, walk(datapath, 'back', answer(ROUTER_WAN)).packet, answer(CLIENT), "the client's answer");
      samePacket(
        t,
        walk(datapath, 'self', query(ROUTER_WAN)).packet,
        query(ROUTER_WAN, port),
        'the same port again',
      );
      t.equal(datapath.flows().length, 2);
      t.match(
        datapath.flows().map(({ packets }) => packets),
        [
          [1, 1],
          [2, 1],
        ],
      );
    },
  );

  await t.test(
    "a forwarded packet with the address of another flow's outside is no part of that flow",
    async (t) => {
      datapath.configure();
      walk(datapath, 'out', query(CLIENT));
      const forged = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: query(ROUTER_WAN) });
      t.equal(forged.verdict, 'drop');
      t.equal(datapath.reasons()['DROP_CLASH egress'], 1);
      t.match(datapath.flows(), [{ packets: [1, 0] }]);
    },
  );

  await t.test('a client that talks to the router itself', async (t) => {
    datapath.configure();
    const ask = frame(CLIENT, ROUTER_LAN, udp({ sport: 5000, dport: 53 }), text('local name?'));
    const tell = frame(ROUTER_LAN, CLIENT, udp({ sport: 53, dport: 5000 }), text('here'));
    samePacket(t, walk(datapath, 'lan', ask).packet, ask, 'in');
    const out = datapath.step({ hook: 'egress', at: 'lan0', packet: tell });
    t.equal(out.verdict, 'pass');
    samePacket(t, out.packet, tell, 'out');
    t.match(datapath.flows(), [{ nat: 'NONE', packets: [1, 1], status: ['SEEN_REPLY'] }]);
  });

  await t.test('a ping to the router from outside, and its own ping', async (t) => {
    datapath.configure();
    const ping = frame(SERVER, ROUTER_WAN, icmp({ type: 8, code: 0, rest: idAndSequence(3, 1) }));
    const pong = frame(ROUTER_WAN, SERVER, icmp({ type: 0, code: 0, rest: idAndSequence(3, 1) }));
    samePacket(t, walk(datapath, 'in', ping).packet, ping, 'asked');
    samePacket(t, walk(datapath, 'self', pong).packet, pong, 'answered');
    const own = frame6(ROUTER_WAN, SERVER, udp({ sport: 1, dport: 2 }));
    samePacket(t, walk(datapath, 'self', own).packet, own, 'IPv6');
    t.match(datapath.flows(), [{ nat: 'NONE', packets: [1, 1] }]);
    t.match(datapath.flows(6), [{ nat: 'NONE', packets: [1, 0] }]);
  });
});
