// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Endpoint-independent mapping (RFC 4787 section 4.1): one outside port for an inside endpoint, whatever it sends
// to, and who else may send to that port (section 5); how long it lives, and what may not end it.

import type { Test } from 'tap';
import { FlowLock, TupleForm } from '../../src/generated/layouts.gen.js';
import { nowTicks, SOON } from '../helpers/datapath/settings.js';
import { check, samePacket, type Walk, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  CLIENT2,
  find,
  frame,
  frame6,
  type Host,
  icmp,
  idAndSequence,
  parse,
  ROUTER_POOL,
  ROUTER_WAN,
  SERVER,
  SERVER2,
  STRANGER,
  tcp,
  text,
  udp,
  verify,
} from '../helpers/packet.js';

type Filter = 'apdf' | 'adf' | 'eif';

function gateway(eim: Filter, ports?: [number, number]): Setup {
  const wan0 = { masquerade: 'all', ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6, eim } as const;
  return { interfaces: { lan0: {}, wan0: ports ? { ...wan0, ports } : wan0 } };
}

/** UDP between two hosts, of either family. */
const FAMILIES = { ipv4: frame, ipv6: frame6 } as const;
const datagram = (from: Host, sport: number, to: Host, dport: number, build = frame): Buffer =>
  build(from, to, udp({ sport, dport }), text('x'));
const segment = (from: Host, sport: number, to: Host, dport: number, flags: string): Buffer =>
  frame(from, to, tcp({ sport, dport, flags, seq: 1, ack: flags.includes('A') ? 2 : 0 }));

function sourcePort(packet: Uint8Array): number {
  const layers = parse(packet);
  return (find(layers, 'udp') ?? find(layers, 'tcp'))!.sport;
}

/** Sends a packet out, which must pass; returns its outside port. */
function portOf(t: Test, datapath: Datapath, packet: Uint8Array): number {
  const out = walk(datapath, 'out', packet);
  t.equal(out.verdict, 'pass', JSON.stringify(datapath.reasons()));
  t.strictSame(verify(out.packet), []);
  return sourcePort(out.packet);
}

/** Whether what comes from outside to a port gets in to the client. */
function getsIn(datapath: Datapath, packet: Uint8Array): boolean {
  const arrived = datapath.step({ hook: 'ingress', at: 'wan0', packet });
  return arrived.verdict === 'pass' && Buffer.compare(arrived.packet, Buffer.from(packet)) !== 0;
}

withDatapath(async (t, datapath) => {
  for (const [family, build] of Object.entries(FAMILIES)) {
    await t.test(`${family}: one outside port for all that an inside endpoint sends to`, async (t) => {
      datapath.configure(gateway('eif'));
      const rival = portOf(t, datapath, datagram(CLIENT2, 40000, SERVER2, 99, build));
      const ports = [
        [SERVER, 53],
        [SERVER, 54],
        [SERVER2, 53],
      ] as const;
      const seen = ports.map(([to, dport]) => portOf(t, datapath, datagram(CLIENT, 40000, to, dport, build)));

      t.equal(rival, 40000, 'who comes first keeps its port');
      t.equal(new Set(seen).size, 1, 'RFC 4787 REQ-1');
      t.not(seen[0], rival, 'REQ-3: no port is overloaded, not even toward another server');
      t.equal(seen[0]! % 2, 0, 'REQ-4: parity');
      t.match(datapath.endpoints(family === 'ipv4' ? 4 : 6), [{ flows: 3 }, { flows: 1 }]);
      t.strictSame(datapath.counters(), { CREATED: 4, ENDPOINTS_OPENED: 2 });
    });

    await t.test(`${family}: under eif anybody comes in, and is answered`, async (t) => {
      datapath.configure(gateway('eif'));
      portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53, build));

      check(
        t,
        datapath,
        {
          path: 'back',
          given: datagram(STRANGER, 7, ROUTER_WAN, 40000, build),
          expect: datagram(STRANGER, 7, CLIENT, 40000, build),
        },
        'in',
      );
      check(
        t,
        datapath,
        {
          path: 'out',
          given: datagram(CLIENT, 40000, STRANGER, 7, build),
          expect: datagram(ROUTER_WAN, 40000, STRANGER, 7, build),
        },
        'its answer',
      );
      t.match(datapath.flows(family === 'ipv4' ? 4 : 6), [
        { original: 'CLIENT 40000 > SERVER 53', status: ['SRC_NAT'] },
        { original: 'STRANGER 7 > ROUTER_WAN 40000', status: ['SEEN_REPLY', 'DST_NAT'] },
      ]);
      t.match(datapath.counters(), { ENDPOINT_ADMITTED: 1, CREATED: 2 });
    });
  }

  await t.test('adf: only an address that was sent to comes in, whatever its port', async (t) => {
    datapath.configure(gateway('adf'));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));

    t.ok(getsIn(datapath, datagram(SERVER, 54, ROUTER_WAN, 40000)), 'another port of the server');
    t.notOk(getsIn(datapath, datagram(SERVER2, 53, ROUTER_WAN, 40000)), 'another address');
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER2, 99));
    t.ok(getsIn(datapath, datagram(SERVER2, 54, ROUTER_WAN, 40000)), 'once it was sent to');
    t.notOk(getsIn(datapath, datagram(SERVER2, 54, ROUTER_WAN, 40001)), 'not to another outside port');
  });

  await t.test('adf: an address is let in for as long as a flow to it lives', async (t) => {
    datapath.configure(gateway('adf'));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER2, 53));
    const flow = datapath.flows().find(({ original }) => original.includes('SERVER 53'))!;
    datapath.setDeadline(flow.slot, -1);

    t.notOk(getsIn(datapath, datagram(SERVER, 54, ROUTER_WAN, 40000)), 'its flow has expired');
    t.ok(getsIn(datapath, datagram(SERVER2, 54, ROUTER_WAN, 40000)), 'the other one has not');
  });

  await t.test('apdf: nobody but who was sent to comes in, but the mapping is one', async (t) => {
    datapath.configure(gateway('apdf'));
    const first = portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));

    t.notOk(getsIn(datapath, datagram(SERVER, 54, ROUTER_WAN, first)));
    t.notOk(getsIn(datapath, datagram(STRANGER, 54, ROUTER_WAN, first)));
    t.ok(getsIn(datapath, datagram(SERVER, 53, ROUTER_WAN, first)));
    t.equal(portOf(t, datapath, datagram(CLIENT, 40000, SERVER2, 53)), first);
  });

  await t.test('what a filter refuses leaves nothing in the way of a flow to there', async (t) => {
    for (const filter of ['adf', 'apdf'] as const) {
      datapath.configure(gateway(filter));
      portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
      const early = datagram(STRANGER, 7, ROUTER_WAN, 40000);
      t.notOk(getsIn(datapath, early), filter);
      if (datapath.flavour === 'floor') {
        t.match(
          datapath.reasons(),
          { 'FORWARDED ingress': 1 },
          "without a way to ask for sockets it is the host's",
        );
        continue;
      }
      t.equal(datapath.reasons()['DROP_FILTERED ingress'], 1);
      t.equal(datapath.flows().length, 1);
      t.equal(portOf(t, datapath, datagram(CLIENT, 40000, STRANGER, 7)), 40000, 'hole punching');
      t.ok(getsIn(datapath, early), 'now it is let in');
    }
  });

  await t.test('TCP: one outside port; from outside a connection begins with a SYN', async (t) => {
    datapath.configure(gateway('eif'));
    portOf(t, datapath, segment(CLIENT2, 40000, SERVER, 80, 'S'));
    const port = portOf(t, datapath, segment(CLIENT, 40000, SERVER, 80, 'S'));
    t.equal(portOf(t, datapath, segment(CLIENT, 40000, SERVER2, 443, 'S')), port, 'RFC 5382 REQ-1');

    for (const flags of ['A', 'SA', 'R', 'FA']) {
      t.notOk(getsIn(datapath, segment(STRANGER, 7, ROUTER_WAN, port, flags)), `no ${flags}`);
    }
    t.ok(getsIn(datapath, segment(STRANGER, 7, ROUTER_WAN, port, 'S')), 'RFC 5382 REQ-3');
    const answer = walk(datapath, 'out', segment(CLIENT, 40000, STRANGER, 7, 'SA'));
    samePacket(t, answer.packet, segment(ROUTER_WAN, port, STRANGER, 7, 'SA'), 'the answer');
  });

  await t.test('mappings and their filters are by protocol (RFC 7857 sections 5 and 6)', async (t) => {
    datapath.configure(gateway('eif'));
    t.equal(portOf(t, datapath, segment(CLIENT2, 40000, SERVER, 80, 'S')), 40000);
    t.notOk(getsIn(datapath, datagram(STRANGER, 7, ROUTER_WAN, 40000)), "no UDP to TCP's mapping");
    t.equal(portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53)), 40000, 'UDP has that port as well');
    check(
      t,
      datapath,
      {
        path: 'back',
        given: datagram(STRANGER, 8, ROUTER_WAN, 40000),
        expect: datagram(STRANGER, 8, CLIENT, 40000),
      },
      "and leads to UDP's inside endpoint",
    );
    datapath.configure(gateway('eif'));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
    t.notOk(getsIn(datapath, segment(STRANGER, 7, ROUTER_WAN, 40000, 'S')), "no TCP to UDP's mapping");
  });

  await t.test('a RST that answers a stranger keeps no mapping open (RFC 7857 section 7.1)', async (t) => {
    datapath.configure(gateway('eif'));
    portOf(t, datapath, segment(CLIENT, 40000, SERVER, 80, 'S'));
    datapath.setDeadline(datapath.endpoints()[0]!.slot, SOON);
    for (const port of [7, 8]) {
      let refused: Walk, began: number;
      // a refused connection lives a tick longer, for the other hook: on a slow machine that may be too short
      do {
        began = nowTicks();
        t.ok(getsIn(datapath, segment(STRANGER, port, ROUTER_WAN, 40000, 'S')));
        refused = walk(datapath, 'out', segment(CLIENT, 40000, STRANGER, port, 'RA'));
      } while (refused.verdict !== 'pass' && nowTicks() - began > 1);
      t.equal(refused.verdict, 'pass', JSON.stringify(datapath.reasons()));
      samePacket(
        t,
        refused.packet,
        segment(ROUTER_WAN, 40000, STRANGER, port, 'RA'),
        'the RST is translated',
      );
    }
    t.ok(datapath.endpoints()[0]!.secondsLeft < SOON + 1);
  });

  await t.test('ICMP: an identifier is mapped whatever the destination (RFC 5508 REQ-1a)', async (t) => {
    datapath.configure(gateway('eif'));
    const echo = (from: Host, to: Host, id: number, type = 8): Buffer =>
      frame(from, to, icmp({ type, code: 0, rest: idAndSequence(id, 1) }), text('ping'));
    const idOf = (packet: Uint8Array): number => find(parse(packet), 'icmp')!.rest >>> 16;

    walk(datapath, 'out', echo(CLIENT2, SERVER, 77));
    const ids = [SERVER, SERVER2].map((to) => idOf(walk(datapath, 'out', echo(CLIENT, to, 77)).packet));

    t.equal(ids[0], ids[1]);
    t.not(ids[0], 77);
    for (const from of [SERVER, SERVER2]) {
      check(
        t,
        datapath,
        { path: 'back', given: echo(from, ROUTER_WAN, ids[0]!, 0), expect: echo(from, CLIENT, 77, 0) },
        'reply',
      );
    }
    t.notOk(getsIn(datapath, echo(STRANGER, ROUTER_WAN, ids[0]!)), 'a query from outside is for the router');
  });

  await t.test(
    'hairpin: an inside host reaches another by its outside endpoint, and is seen by its own',
    async (t) => {
      for (const filter of ['eif', 'adf'] as const) {
        datapath.configure(gateway(filter));
        portOf(t, datapath, datagram(CLIENT2, 40000, SERVER, 53));
        const given = datagram(CLIENT, 5000, ROUTER_WAN, 40000);
        const arrived = datapath.step({ hook: 'ingress', at: 'lan0', packet: given });
        const sent = datapath.step({
          hook: 'egress',
          at: 'lan0',
          from: 'lan0',
          packet: arrived.packet,
          tcIndex: arrived.tcIndex,
        });

        samePacket(t, sent.packet, datagram(ROUTER_WAN, 5000, CLIENT2, 40000), `${filter}: RFC 4787 REQ-9a`);
        t.match(datapath.endpoints(), [{ original: 'CLIENT 5000 > ROUTER_WAN 0', flows: 1 }, { flows: 2 }]);
        t.equal(
          portOf(t, datapath, datagram(CLIENT, 5000, SERVER, 53)),
          5000,
          'it has that port outside as well',
        );
      }
    },
  );

  await t.test(
    'a mapping keeps its port while a flow lives, and strangers come in until its deadline',
    async (t) => {
      datapath.configure(gateway('eif'));
      portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
      const [endpoint] = datapath.endpoints();
      datapath.setDeadline(endpoint!.slot, -1);
      t.notOk(
        getsIn(datapath, datagram(STRANGER, 7, ROUTER_WAN, 40000)),
        'past its deadline nobody comes in',
      );
      datapath.sweep();
      t.equal(datapath.endpoints().length, 1, 'a sweep does not close it while a flow counts on it');
      t.not(portOf(t, datapath, datagram(CLIENT2, 40000, SERVER2, 9)), 40000, 'nobody else gets its port');

      const flow = datapath.flows().find(({ original }) => original.startsWith('CLIENT 40000'))!;
      datapath.setDeadline(flow.slot, -9);
      datapath.setDeadline(endpoint!.slot, -9);
      datapath.sweep();
      t.match(
        datapath.endpoints(),
        [{ original: 'CLIENT2 40000 > ROUTER_WAN 0' }],
        'it goes with its last flow',
      );
      t.equal(datapath.counters().ENDPOINTS_CLOSED, 1);
      t.equal(datapath.keys(), datapath.flavour === 'floor' ? 5 : 4);
    },
  );

  await t.test('a stranger whom nobody answers keeps no mapping open', async (t) => {
    datapath.configure(gateway('eif'));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
    const [endpoint] = datapath.endpoints();
    datapath.setDeadline(endpoint!.slot, SOON);
    for (const port of [7, 8]) t.ok(getsIn(datapath, datagram(STRANGER, port, ROUTER_WAN, 40000)));
    const strange = datapath.flows().find(({ original }) => original.startsWith('STRANGER 7'))!;
    datapath.setDeadline(strange.slot, SOON); // so that its next packet moves it by more than a step
    walk(datapath, 'back', datagram(STRANGER, 7, ROUTER_WAN, 40000));
    t.ok(datapath.endpoints()[0]!.secondsLeft < SOON + 1, 'unanswered');

    walk(datapath, 'out', datagram(CLIENT, 40000, STRANGER, 7));
    t.ok(datapath.endpoints()[0]!.secondsLeft > SOON, 'answered');
  });

  await t.test('every packet of its flows prolongs it, either way (RFC 4787 REQ-6)', async (t) => {
    for (const way of ['out', 'back'] as const) {
      datapath.configure(gateway('eif'));
      portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
      walk(datapath, 'back', datagram(SERVER, 53, ROUTER_WAN, 40000));
      datapath.setDeadline(datapath.endpoints()[0]!.slot, SOON);
      datapath.setDeadline(datapath.flows()[0]!.slot, SOON);
      const packet =
        way === 'out' ? datagram(CLIENT, 40000, SERVER, 53) : datagram(SERVER, 53, ROUTER_WAN, 40000);
      walk(datapath, way, packet);
      const left = (view: { secondsLeft: number }): number => view.secondsLeft;
      t.ok(left(datapath.endpoints()[0]!) >= left(datapath.flows()[0]!), `${way}: not before its flow`);
      t.ok(left(datapath.endpoints()[0]!) > SOON, way);
    }
  });

  await t.test('what asks for no mapping has none: forwards, the host itself, other protocols', async (t) => {
    datapath.configure({
      ...gateway('eif'),
      rules: [{ kind: 'dnat', proto: 17, dport: [80, 80], to: [CLIENT2.ip4, CLIENT2.ip4], ports: [53, 53] }],
    });
    walk(datapath, 'self', datagram(ROUTER_WAN, 40000, SERVER, 53));
    walk(datapath, 'back', datagram(STRANGER, 9, ROUTER_WAN, 80));
    t.equal(datapath.endpoints().length, 0);
    t.equal(datapath.flows().length, 2);
  });

  await t.test('a forward goes before a mapping, and a known flow before both', async (t) => {
    datapath.configure({
      ...gateway('eif'),
      rules: [
        { kind: 'dnat', proto: 17, dport: [40000, 40000], to: [CLIENT2.ip4, CLIENT2.ip4], ports: [53, 53] },
      ],
    });
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
    check(
      t,
      datapath,
      {
        path: 'back',
        given: datagram(STRANGER, 7, ROUTER_WAN, 40000),
        expect: datagram(STRANGER, 7, CLIENT2, 53),
      },
      'a stranger',
    );
    check(
      t,
      datapath,
      {
        path: 'back',
        given: datagram(SERVER, 53, ROUTER_WAN, 40000),
        expect: datagram(SERVER, 53, CLIENT, 40000),
      },
      'the answer',
    );
  });

  await t.test('a source rule with a pool: the mapping is at one of its addresses', async (t) => {
    datapath.configure({
      interfaces: { lan0: {}, wan0: { ip4: ROUTER_WAN.ip4, eim: 'eif' } },
      rules: [{ kind: 'snat', to: [ROUTER_POOL.ip4, '198.51.100.7'], ports: [3000, 3999] }],
    });
    const seen = [SERVER, SERVER2].map((to) => walk(datapath, 'out', datagram(CLIENT, 40000, to, 53)).packet);
    const ends = seen.map((packet) => `${find(parse(packet), 'ipv4')!.src} ${sourcePort(packet)}`);
    t.equal(ends[0], ends[1]);
    t.match(datapath.endpoints(), [{ flows: 2, nat: 'SNAT' }]);
  });

  await t.test('no port left: refused, and who has one goes on', async (t) => {
    datapath.configure(gateway('eif', [3000, 3001]));
    for (const sport of [1000, 1001]) portOf(t, datapath, datagram(CLIENT, sport, SERVER, 53));
    t.equal(walk(datapath, 'out', datagram(CLIENT, 1002, SERVER2, 53)).verdict, 'drop');
    t.equal(datapath.reasons()['DROP_NO_PORT egress'], 1);
    t.equal(portOf(t, datapath, datagram(CLIENT, 1000, SERVER2, 53)) >> 1, 1500);
    const keys = datapath.keys();

    // one is given up: the next one asks for its port and gets it, without any sweep
    for (const { slot, original } of datapath.flows())
      if (original.startsWith('CLIENT 1001')) datapath.setDeadline(slot, -9);
    for (const { slot, original } of datapath.endpoints())
      if (original.startsWith('CLIENT 1001')) datapath.setDeadline(slot, -9);
    datapath.sweep();
    portOf(t, datapath, datagram(CLIENT, 1002, SERVER2, 53));
    t.equal(datapath.keys(), keys, 'nothing is left of what was refused');
  });

  await t.test('the port map knows what flows of mappings use, until they end', async (t) => {
    datapath.configure(gateway('eif'));
    const before = datapath.mappedPorts();
    // sides that no earlier test has had: their flows were not ended, but wiped
    for (const dport of [4801, 4802]) portOf(t, datapath, datagram(CLIENT, 40000, SERVER, dport));
    t.equal(datapath.mappedPorts(), before + 2, 'a flow each');
    for (const { slot } of datapath.flows()) t.ok(datapath.deleteFlow(slot));
    t.equal(datapath.mappedPorts(), before);
  });

  // What another CPU has done so far of beginning a mapping or a flow, when something holds it up for long.
  await t.test('a mapping that another CPU is just opening is used', (t) => {
    datapath.configure(gateway('eif'));
    portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 53));
    t.ok(datapath.deleteFlow(datapath.flows()[0]!.slot));
    const mapping = datapath.endpoints()[0]!.slot;

    datapath.lock(mapping, FlowLock.CLAIM + FlowLock.KILL + FlowLock.OPENING);
    t.equal(portOf(t, datapath, datagram(CLIENT, 40000, SERVER, 54)), 40000);
    t.match(datapath.endpoints(), [{ slot: mapping, flows: 1 }]);
    t.notOk(getsIn(datapath, datagram(STRANGER, 7, ROUTER_WAN, 40000)), 'its maker may still give it up');

    t.ok(datapath.deleteFlow(datapath.flows()[0]!.slot));
    datapath.lock(mapping, FlowLock.CLAIM + FlowLock.KILL);
    t.equal(
      walk(datapath, 'out', datagram(CLIENT, 40000, SERVER, 55)).verdict,
      'drop',
      'one that is ending is not',
    );
    t.match(datapath.reasons(), { 'DROP_RACE egress': 1 });
    t.end();
  });

  await t.test('a flow that another CPU has not finished is gone on with', (t) => {
    datapath.configure(gateway('eif'));
    const first = datagram(CLIENT, 40000, SERVER, 53);
    portOf(t, datapath, first);
    const [flow] = datapath.flows();
    datapath.lock(flow!.slot, FlowLock.CLAIM + FlowLock.KILL);
    const keys = datapath.keys();
    datapath.forgetKey(flow!.slot, TupleForm.ORIGINAL);

    t.equal(portOf(t, datapath, first), 40000);
    t.equal(datapath.keys(), keys, 'its last key is set for it');
    t.match(datapath.flows(), [{ slot: flow!.slot, packets: [2, 0] }], 'and is the one that counts');
    t.match(datapath.endpoints(), [{ flows: 1 }]);
    t.match(datapath.counters(), { CREATED: 1, CLASH_JOINED: 1 });
    t.end();
  });

  await t.test('everything goes at once, flows and mappings', async (t) => {
    datapath.configure(gateway('adf'));
    for (let i = 0; i < 20; i++) {
      walk(datapath, 'out', datagram(CLIENT, 1000 + i, SERVER, 53));
      walk(datapath, 'out', datagram(CLIENT, 1000 + i, SERVER2, 53));
    }
    t.equal(datapath.endpoints().length, 20);
    datapath.sweep('all');
    datapath.sweep('all');
    t.equal(datapath.endpoints().length + datapath.flows().length, 0);
    t.equal(datapath.keys(), 0, 'no key is left, not of the addresses either');
  });
});
