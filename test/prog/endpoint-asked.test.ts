// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Endpoint-independent mappings that somebody has asked for (PCP): what packets do while they are made and renewed,
// what may not end them, and what becomes of them when their time is over.

import { EditResult, FlowLock } from '../../src/generated/layouts.gen.js';
import { keepEndpoint, openEndpoint } from '../helpers/datapath/control.js';
import { SOON } from '../helpers/datapath/settings.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup } from '../helpers/datapath-fixture.js';
import { CLIENT, CLIENT2, frame, type Host, ROUTER_WAN, SERVER, STRANGER, udp } from '../helpers/packet.js';

function gateway(eim: 'apdf' | 'eif', more: Setup = {}): Setup {
  return { ...more, interfaces: { lan0: {}, wan0: { masquerade: 'all', ip4: ROUTER_WAN.ip4, eim } } };
}

const datagram = (from: Host, sport: number, to: Host, dport: number): Buffer =>
  frame(from, to, udp({ sport, dport }));

const { CLAIM, KILL, OPENING } = FlowLock;

withDatapath(async (t, datapath) => {
  const out = (sport: number, dport = 53) => walk(datapath, 'out', datagram(CLIENT, sport, SERVER, dport));
  const getsIn = (port: number, from = STRANGER): boolean => {
    const given = datagram(from, 7, ROUTER_WAN, port);
    const { verdict, packet } = datapath.step({ hook: 'ingress', at: 'wan0', packet: given });
    return verdict === 'pass' && !packet.equals(given);
  };
  const asks = (port: number, seconds = 600): number => {
    const { result, slot } = openEndpoint(datapath, 4, { inside: CLIENT, port, seconds });
    t.equal(result, EditResult.DONE);
    return slot;
  };
  const isAskedFor = (at: Datapath): boolean => at.endpoints()[0]!.status.includes('FIXED_TIMEOUT');

  await t.test('it is renewed while another CPU works on it, and knows being closed from being gone', (t) => {
    datapath.configure(gateway('apdf'));
    const slot = asks(4000);
    datapath.lock(slot, CLAIM + KILL + OPENING);
    t.equal(keepEndpoint(datapath, 4, slot, 900), EditResult.DONE, 'half made');
    t.ok(datapath.endpoints()[0]!.secondsLeft > 800);
    datapath.lock(slot, 5 * CLAIM);
    t.equal(keepEndpoint(datapath, 4, slot, 300), EditResult.DONE, 'with flows');
    t.match(datapath.endpoints(), [{ flows: 4 }], 'which it does not count itself among');
    datapath.lock(slot, CLAIM + KILL);
    t.equal(keepEndpoint(datapath, 4, slot, 900), EditResult.BUSY, 'somebody looks whether to close it');
    t.ok(datapath.endpoints()[0]!.secondsLeft < 301);
    datapath.lock(slot, CLAIM);
    t.equal(keepEndpoint(datapath, 4, slot, 0), EditResult.DONE);
    t.notOk(isAskedFor(datapath));
    t.ok(datapath.deleteFlow(slot));
    t.equal(keepEndpoint(datapath, 4, slot, 900), EditResult.GONE);
    t.equal(datapath.keys(), 0);
    t.end();
  });

  await t.test('packets do not move its time, not even just behind it, when it may be renewed', async (t) => {
    datapath.configure(gateway('apdf'));
    const slot = asks(4000);
    for (const [i, seconds] of [100, -0.5].entries()) {
      datapath.setDeadline(slot, seconds);
      t.equal(out(4000, 1000 + i).verdict, 'pass');
      datapath.setDeadline(datapath.flows()[0]!.slot, SOON);
      t.equal(out(4000, 1000).verdict, 'pass');
      t.ok(datapath.endpoints()[0]!.secondsLeft <= seconds);
      t.ok(isAskedFor(datapath));
    }
  });

  for (const begins of ['a new flow', 'a flow that is there']) {
    await t.test(`over and in use it is an ordinary one, by ${begins}`, async (t) => {
      for (const filter of ['eif', 'apdf'] as const) {
        datapath.configure(gateway(filter));
        const slot = asks(4000);
        out(4000, 53);
        t.ok(getsIn(4000), 'anybody comes in while it lasts');
        datapath.setDeadline(slot, -5);
        t.notOk(getsIn(4000, CLIENT2), 'over');
        const flow = datapath.flows().find(({ original }) => original.startsWith('CLIENT 4000'))!;
        datapath.setDeadline(flow.slot, SOON);
        t.equal(out(4000, begins === 'a new flow' ? 54 : 53).verdict, 'pass');
        t.notOk(isAskedFor(datapath), filter);
        t.ok(datapath.endpoints()[0]!.secondsLeft > SOON);
        t.equal(getsIn(4000, SERVER), filter === 'eif', `who comes in is for ${filter} to say`);
      }
    });
  }

  await t.test('it does not give way in a full table while its time lasts', async (t) => {
    const slots = 8;
    datapath.configure(gateway('apdf', { slots }));
    const asked = Array.from({ length: slots }, (_, i) => asks(4000 + i));
    for (let i = 0; i < 20; i++) t.equal(out(6000 + i).verdict, 'drop');
    t.equal(datapath.endpoints().length, slots, 'all are there');
    t.match(datapath.reasons(), { 'DROP_TABLE_FULL egress': 20 });
    t.strictSame(datapath.counters(), { ENDPOINTS_OPENED: slots });

    for (const slot of asked.slice(0, 2)) datapath.setDeadline(slot, -5);
    t.equal(out(6000).verdict, 'pass', 'those whose time is over do');
    t.same(
      datapath
        .endpoints()
        .map(({ original }) => original.split(' ').slice(0, 2).join(' '))
        .sort(),
      [
        'CLIENT 4002',
        'CLIENT 4003',
        'CLIENT 4004',
        'CLIENT 4005',
        'CLIENT 4006',
        'CLIENT 4007',
        'CLIENT 6000',
      ],
    );
  });
});
