// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// How long flows live and when they give way. Invariant 6, expired is gone: past its deadline a flow matches
// nothing, though no sweep has run. Invariant 7: a full table costs no assured flow its entry.

import { SOON } from '../helpers/datapath/settings.js';
import { check, walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  CLIENT2,
  frame,
  type Host,
  host,
  icmp,
  idAndSequence,
  ROUTER_WAN,
  SERVER,
  text,
  udp,
} from '../helpers/packet.js';

const query = (from: Host, sport = 40000): Buffer =>
  frame(from, SERVER, udp({ sport, dport: 53 }), text('q'));
const answer = (to: Host, dport = 40000): Buffer =>
  frame(SERVER, to, udp({ sport: 53, dport }), text('answer'));
const client = (n: number): Host => host(`10.0.0.${n}`, `10.0.0.${n}`, 'fd00::1');

/** Lets a flow begin, and be answered if asked for. */
function talk(datapath: Datapath, from: Host, sport: number, answered: boolean): void {
  walk(datapath, 'out', query(from, sport));
  if (answered) walk(datapath, 'back', answer(ROUTER_WAN, sport));
}

/** Lets a flow begin that still talks both ways after 3 s. */
function talkLong(datapath: Datapath, from: Host, sport: number): void {
  talk(datapath, from, sport, true);
  datapath.age(datapath.flows().find(({ original }) => original.includes(` ${sport} >`))!.slot, 3);
  walk(datapath, 'out', query(from, sport));
}

withDatapath(async (t, datapath) => {
  await t.test('invariant 6: a reply to an expired flow is not translated', async (t) => {
    datapath.configure();
    talk(datapath, CLIENT, 40000, true);
    datapath.setDeadline(datapath.flows()[0]!.slot, -1);

    check(t, datapath, { path: 'in', given: answer(ROUTER_WAN), expect: 'same' }, 'reply');
  });

  await t.test('invariant 6: a packet of an expired flow begins a new one', async (t) => {
    datapath.configure();
    talk(datapath, CLIENT, 40000, true);
    datapath.setDeadline(datapath.flows()[0]!.slot, -1);

    check(t, datapath, { path: 'out', given: query(CLIENT), expect: query(ROUTER_WAN) }, 'again');

    t.match(datapath.flows(), [{ packets: [1, 0], status: ['SRC_NAT'] }]);
    t.equal(datapath.flows().length, 1);
    t.equal(datapath.keys(), 2);
    t.strictSame(datapath.counters(), { CREATED: 2, REPLACED: 1 });
  });

  await t.test('a flow shortly before its deadline is alive, and a packet prolongs it', async (t) => {
    datapath.configure();
    talk(datapath, CLIENT, 40000, false);
    datapath.setDeadline(datapath.flows()[0]!.slot, SOON);

    check(t, datapath, { path: 'back', given: answer(ROUTER_WAN), expect: answer(CLIENT) }, 'reply');

    t.match(datapath.flows(), [{ timeout: 'UDP', packets: [1, 1] }]);
    t.strictSame(datapath.counters(), { CREATED: 1 });
  });

  await t.test('UDP that talks both ways for 2 s becomes a stream', async (t) => {
    datapath.configure();
    talk(datapath, CLIENT, 40000, true);
    walk(datapath, 'out', query(CLIENT));
    t.match(datapath.flows(), [{ timeout: 'UDP', status: ['SEEN_REPLY', 'SRC_NAT'] }], 'within 2 s');

    datapath.age(datapath.flows()[0]!.slot, 3);
    walk(datapath, 'out', query(CLIENT));

    t.match(datapath.flows(), [{ timeout: 'UDP_STREAM', status: ['SEEN_REPLY', 'ASSURED', 'SRC_NAT'] }]);
  });

  await t.test('UDP without an answer never becomes a stream', async (t) => {
    datapath.configure();
    talk(datapath, CLIENT, 40000, false);
    datapath.age(datapath.flows()[0]!.slot, 60);
    walk(datapath, 'out', query(CLIENT));
    t.match(datapath.flows(), [{ timeout: 'UDP', status: ['SRC_NAT'] }]);
  });

  await t.test('packets and bytes are counted by direction, once, exactly', async (t) => {
    datapath.configure();
    let sent = 0;
    let received = 0;
    for (let size = 0; size < 40; size++) {
      walk(datapath, 'out', frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(size)));
      sent += 28 + size;
      if (size % 3 === 0) {
        walk(datapath, 'back', frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }), bytes(size * 2)));
        received += 28 + size * 2;
      }
    }
    t.match(datapath.flows(), [{ packets: [40, 14], bytes: [sent, received] }]);
    // the first goes through ingress as one that is to be born at egress; then both hooks know it
    const out = sent + 40 * 14;
    const back = received + 14 * 14;
    t.strictSame(datapath.metrics(), {
      'FORWARDED ingress': { packets: 53, bytes: out - 42 + back },
      'FORWARDED egress': { packets: 54, bytes: out + back },
      'DEFERRED ingress': { packets: 1, bytes: 42 },
    });
  });

  await t.test('in a full table a new flow takes the place of an unanswered one', async (t) => {
    datapath.configure({ slots: 8 });
    for (let n = 0; n < 8; n++) talk(datapath, client(10 + n), 5000 + n, n !== 3);
    t.equal(datapath.flows().length, 8);

    t.equal(walk(datapath, 'out', query(CLIENT)).verdict, 'pass');

    const originals = datapath.flows().map(({ original }) => original);
    t.equal(originals.length, 8);
    t.ok(originals.includes('CLIENT 40000 > SERVER 53'));
    t.notOk(originals.includes('10.0.0.13 5003 > SERVER 53'), 'the unanswered one is gone');
    t.equal(datapath.keys(), 16);
    t.strictSame(datapath.counters(), { CREATED: 9, EVICTED: 1 });
  });

  await t.test(
    'invariant 7: in a table full of assured flows a new flow is dropped, with a reason',
    async (t) => {
      datapath.configure({ slots: 8 });
      for (let n = 0; n < 8; n++) talkLong(datapath, client(10 + n), 5000 + n);
      const before = datapath.flows().map(({ original, slot }) => ({ original, slot }));

      for (let n = 0; n < 5; n++) t.equal(walk(datapath, 'out', query(CLIENT2, 6000 + n)).verdict, 'drop');

      t.strictSame(
        datapath.flows().map(({ original, slot }) => ({ original, slot })),
        before,
      );
      t.equal(datapath.keys(), 16);
      t.equal(datapath.reasons()['DROP_TABLE_FULL egress'], 5);
      t.strictSame(datapath.counters(), { CREATED: 8 });
      for (let n = 0; n < 8; n++) {
        check(
          t,
          datapath,
          { path: 'back', given: answer(ROUTER_WAN, 5000 + n), expect: answer(client(10 + n), 5000 + n) },
          `flow ${n} lives`,
        );
      }
    },
  );

  await t.test(
    'in a full table unanswered flows go first, then answered ones, never an assured one',
    async (t) => {
      datapath.configure({ slots: 8 });
      for (let n = 0; n < 8; n++) {
        if (n < 4) talkLong(datapath, client(10 + n), 5000 + n);
        else talk(datapath, client(10 + n), 5000 + n, n < 6);
      }
      const left = (): string[] =>
        datapath
          .flows()
          .map(({ original }) => original.split(' ')[1]!)
          .sort();

      // each new one is answered long enough to stay
      for (const [n, expect] of [
        ['5000', '5001', '5002', '5003', '5004', '5005'],
        ['5000', '5001', '5002', '5003', '5004', '5005'],
        ['5000', '5001', '5002', '5003'],
        ['5000', '5001', '5002', '5003'],
      ].entries()) {
        talkLong(datapath, CLIENT, 6000 + n);
        const old = left().filter((port) => port < '6000');
        if (n % 2 === 1) t.strictSame(old, expect, `after new flow ${n + 1}`);
        t.strictSame(left().filter((port) => port >= '6000').length, n + 1);
      }

      t.equal(walk(datapath, 'out', query(CLIENT2, 7000)).verdict, 'drop', 'all that is left is assured');
      t.strictSame(datapath.counters(), { CREATED: 12, EVICTED: 4 });
      t.equal(datapath.keys(), 16);
    },
  );

  await t.test('in a full table an expired flow gives way first, unanswered ones live', async (t) => {
    datapath.configure({ slots: 8 });
    for (let n = 0; n < 8; n++) talk(datapath, client(10 + n), 5000 + n, n === 2);
    datapath.setDeadline(datapath.flows().find(({ original }) => original.includes('5002'))!.slot, -10);

    t.equal(walk(datapath, 'out', query(CLIENT)).verdict, 'pass');

    t.strictSame(datapath.counters(), { CREATED: 9, REPLACED: 1 });
    t.notOk(datapath.flows().some(({ original }) => original.includes('5002')));
  });

  await t.test('a ping answered many times is one flow', async (t) => {
    datapath.configure();
    for (let sequence = 0; sequence < 5; sequence++) {
      walk(
        datapath,
        'out',
        frame(CLIENT, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(1, sequence) })),
      );
      walk(
        datapath,
        'back',
        frame(SERVER, ROUTER_WAN, icmp({ type: 0, code: 0, rest: idAndSequence(1, sequence) })),
      );
    }
    t.match(datapath.flows(), [{ packets: [5, 5], timeout: 'ICMP' }]);
    t.equal(datapath.flows().length, 1);
  });
});
