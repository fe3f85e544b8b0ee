// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Limits of a subscriber where mappings are endpoint-independent: a mapping is one port, for as long as it is there;
// its flows are as many as the rate lets begin.

import { EditResult, maps, SweepMode } from '../../src/generated/layouts.gen.js';
import type { Limits } from '../../src/limits.js';
import {
  endFlow,
  keepEndpoint,
  openEndpoint,
  portsCounted,
  sweepFlows,
} from '../helpers/datapath/control.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Setup } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  CLIENT2,
  frame,
  frame6,
  gre,
  type Host,
  ROUTER_WAN,
  SERVER,
  SERVER2,
  STRANGER,
  text,
  udp,
} from '../helpers/packet.js';

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

/** In another /64 than CLIENT and CLIENT2. */
const OTHER: Host = { ...CLIENT2, ip6: 'fd00:11::3' };

function limited(limits: Limits, more: Setup = {}): Setup {
  const wan0 = { ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6, masquerade: 'all', eim: 'eif', limits } as const;
  return { ...more, interfaces: { lan0: {}, wan0 } };
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    const out = (host: Host, sport: number, to = SERVER, dport = 53) =>
      walk(datapath, 'out', build(host, to, udp({ sport, dport }))).verdict;
    const end = (slots: readonly { slot: number }[]) => {
      for (const { slot } of slots) endFlow(datapath, version, slot);
      sweepFlows(datapath, version, SweepMode.EXPIRED);
    };

    await t.test(`${family}: a mapping is one port of the subscriber, whatever its flows`, async (t) => {
      datapath.configure(limited({ ports: 2 }));
      for (const dport of [53, 54]) t.equal(out(CLIENT, 5001, SERVER, dport), 'pass');
      t.equal(out(CLIENT, 5001, SERVER2), 'pass');
      t.same(portsCounted(datapath), [1]);
      t.equal(out(CLIENT, 5002), 'pass');
      t.not(out(CLIENT, 5003), 'pass', 'one too many');
      t.equal(datapath.reasons()['DROP_LIMIT_PORTS egress'], 1);
      t.equal(out(CLIENT, 5002, SERVER2), 'pass', 'a mapping that is there takes more flows');
      t.equal(out(OTHER, 5001), 'pass', 'another subscriber is not disturbed');
      t.same(portsCounted(datapath), [1, 2]);
      t.match(datapath.endpoints(version), [{ flows: 3 }, { flows: 2 }, { flows: 1 }]);
      t.equal(datapath.keys(version), 3 * 2 + 6 * 2, 'what was refused has left no key');
    });

    await t.test(`${family}: a mapping counts until it ends, not until its flows do`, async (t) => {
      datapath.configure(limited({ ports: 1 }));
      for (const to of [SERVER, SERVER2]) out(CLIENT, 5001, to);
      for (const { slot } of datapath.flows(version))
        t.equal(sweepFlows(datapath, version, SweepMode.ONE, slot), 1);
      t.match(datapath.endpoints(version), [{ flows: 0 }]);
      t.same(portsCounted(datapath), [1]);
      t.not(out(CLIENT, 5002), 'pass');
      end(datapath.endpoints(version));
      t.same(portsCounted(datapath), [0]);
      t.equal(out(CLIENT, 5002), 'pass');
      t.not(out(CLIENT, 5003), 'pass');
    });

    const ends: Record<string, () => void> = {
      'a sweep that ends its last flow': () => {
        end([...datapath.endpoints(version), ...datapath.flows(version)]);
      },
      'its deletion': () => {
        for (const { slot } of [...datapath.flows(version), ...datapath.endpoints(version)])
          sweepFlows(datapath, version, SweepMode.ONE, slot);
      },
      'the end of its address': () => {
        for (const { slot } of [...datapath.flows(version), ...datapath.endpoints(version)])
          sweepFlows(datapath, version, SweepMode.ADDRESS, slot);
      },
      'a flush': () => {
        for (let pass = 0; pass < 2; pass++) sweepFlows(datapath, version, SweepMode.ALL);
      },
    };
    for (const [name, finish] of Object.entries(ends)) {
      await t.test(`${family}: ${name} frees a mapping's port`, async (t) => {
        datapath.configure(limited({ ports: 2 }));
        for (const sport of [5001, 5002]) t.equal(out(CLIENT, sport), 'pass');
        t.not(out(CLIENT, 5003), 'pass');
        finish();
        t.same(portsCounted(datapath), [0]);
        t.equal(datapath.counters().ENDPOINTS_CLOSED, 2);
        t.equal(datapath.keys(version), 0);
        for (const sport of [5003, 5004]) t.equal(out(CLIENT, sport), 'pass');
        t.not(out(CLIENT, 5005), 'pass');
      });
    }

    await t.test(`${family}: a mapping that is asked for is one port, until it ends`, async (t) => {
      datapath.configure(limited({ ports: 2 }));
      const ask = (port: number, inside = CLIENT) => openEndpoint(datapath, version, { inside, port });
      const asked = ask(5001);
      t.equal(asked.result, EditResult.DONE);
      t.same(portsCounted(datapath), [1]);
      for (const to of [SERVER, SERVER2]) t.equal(out(CLIENT, 5001, to), 'pass');
      t.same(portsCounted(datapath), [1], 'its flows take none');
      t.equal(out(CLIENT, 5002), 'pass');
      t.equal(ask(5003).result, EditResult.LIMIT, 'no more than a packet may have');
      t.not(out(CLIENT, 5003), 'pass');
      t.equal(ask(5001, OTHER).result, EditResult.EXISTS, 'what is not made is not counted');
      t.equal(ask(5009, OTHER).result, EditResult.DONE, 'another subscriber is not disturbed');
      t.same(portsCounted(datapath), [1, 2]);
      const refused = [...datapath.map(maps.subscribers).values()].map((each) => Number(each.refusedPorts));
      t.same(refused.sort(), [0, 2]);

      t.equal(keepEndpoint(datapath, version, asked.slot, 0), EditResult.DONE);
      sweepFlows(datapath, version, SweepMode.ONE, asked.slot);
      t.same(portsCounted(datapath), [1, 2], 'deleted it is one of those that packets make');
      end([asked, ...datapath.flows(version).filter(({ original }) => original.startsWith('CLIENT 5001'))]);
      sweepFlows(datapath, version, SweepMode.EXPIRED);
      t.same(portsCounted(datapath), [1, 1], 'and gone with them');
      t.equal(ask(5003).result, EditResult.DONE);
      t.equal(ask(5004).result, EditResult.LIMIT);
    });

    await t.test(`${family}: a mapping of packets that is asked for later is counted once`, async (t) => {
      datapath.configure(limited({ ports: 1 }));
      t.equal(out(CLIENT, 5001), 'pass');
      const { slot } = datapath.endpoints(version)[0]!;
      t.equal(keepEndpoint(datapath, version, slot, 600), EditResult.DONE);
      t.same(portsCounted(datapath), [1]);
      end(datapath.flows(version));
      t.same(portsCounted(datapath), [1], 'it is promised');
      endFlow(datapath, version, slot);
      sweepFlows(datapath, version, SweepMode.EXPIRED);
      t.same(portsCounted(datapath), [0]);
    });

    await t.test(`${family}: mappings that give way in a full table are no longer counted`, async (t) => {
      datapath.configure(limited({ ports: 100 }, { slots: 8 }));
      for (let n = 0; n < 4; n++) t.equal(out(CLIENT, 5000 + n), 'pass');
      for (const { slot } of datapath.flows(version)) sweepFlows(datapath, version, SweepMode.ONE, slot);
      t.same(portsCounted(datapath), [4]);
      for (let n = 0; n < 4; n++) t.equal(out(OTHER, 6000 + n), 'pass');
      const mappings = datapath.endpoints(version);
      const mine = mappings.filter(({ original }) => original.startsWith('CLIENT ')).length;
      t.ok(mine < 4, 'some gave way');
      t.same(portsCounted(datapath), [mine, 4].sort());
    });

    await t.test(`${family}: a mapping whose port another one takes over is no longer counted`, async (t) => {
      const setup = limited({ ports: 100 });
      setup.interfaces!.wan0!.ports = [3000, 3000];
      datapath.configure(setup);
      t.equal(out(CLIENT, 5000), 'pass');
      end(datapath.flows(version));
      for (const { slot } of datapath.endpoints(version)) endFlow(datapath, version, slot);
      t.equal(out(OTHER, 5000), 'pass');
      t.same(portsCounted(datapath), [0, 1]);
      t.equal(datapath.endpoints(version).length, 1);
    });

    await t.test(
      `${family}: the rate is that of flows, those that make a mapping counted once`,
      async (t) => {
        datapath.configure(limited({ rate: 1, burst: 4 }));
        t.equal(out(CLIENT, 5001), 'pass');
        t.equal(out(CLIENT, 5001, SERVER2), 'pass');
        t.equal(out(CLIENT, 5002), 'pass');
        t.equal(out(CLIENT, 5002, SERVER2), 'pass');
        t.not(out(CLIENT, 5001, SERVER, 54), 'pass');
        t.not(out(CLIENT, 5003), 'pass');
        t.equal(datapath.reasons()['DROP_LIMIT_RATE egress'], 2);
        t.equal(out(CLIENT, 5001), 'pass', 'a live flow goes on');
        t.same(portsCounted(datapath), [2], 'counted though nothing limits the ports');
      },
    );

    await t.test(`${family}: a protocol without mappings is counted by its flows beside them`, async (t) => {
      datapath.configure(limited({ ports: 2 }));
      const tunnel = (to: Host) =>
        walk(datapath, 'out', build(CLIENT, to, gre({ protocol: 0x0800, key: 7 }))).verdict;
      t.equal(out(CLIENT, 5001), 'pass');
      t.equal(tunnel(SERVER), 'pass');
      t.not(tunnel(SERVER2), 'pass');
      t.not(out(CLIENT, 5002), 'pass');
      t.equal(out(CLIENT, 5001, SERVER2), 'pass');
      t.same(portsCounted(datapath), [2]);
    });

    await t.test(`${family}: what comes in from outside is neither counted nor slowed down`, async (t) => {
      datapath.configure(limited({ ports: 1, rate: 1, burst: 1 }));
      t.equal(out(CLIENT, 5001), 'pass');
      for (const sport of [7, 8, 9]) {
        const packet = build(STRANGER, ROUTER_WAN, udp({ sport, dport: 5001 }), text('x'));
        t.equal(walk(datapath, 'back', packet).verdict, 'pass');
      }
      t.match(datapath.endpoints(version), [{ flows: 4 }]);
      t.same(portsCounted(datapath), [1]);
    });

    await t.test(
      `${family}: a neighbour's mapping for hairpin is counted, and refused as others`,
      async (t) => {
        datapath.configure(limited({ ports: 1 }));
        const hairpin = (sport: number, dport: number) => {
          const packet = build(OTHER, ROUTER_WAN, udp({ sport, dport }), text('x'));
          return datapath.step({ hook: 'ingress', at: 'lan0', packet }).verdict;
        };
        t.equal(out(CLIENT, 5001), 'pass');
        t.equal(hairpin(6001, 5001), 'pass');
        t.same(portsCounted(datapath), [1, 1]);
        t.not(hairpin(6002, 5001), 'pass');
        t.equal(datapath.reasons()['DROP_LIMIT_PORTS ingress'], 1);
        t.equal(out(OTHER, 6001), 'pass', 'its mapping serves outside as well');
        t.not(out(OTHER, 6002), 'pass');
        t.match(
          datapath.endpoints(version).map(({ flows }) => flows),
          [2, 2],
        );

        datapath.configure(limited({ rate: 1, burst: 2 }));
        t.equal(out(CLIENT, 5001), 'pass');
        t.equal(out(CLIENT, 5002), 'pass');
        t.equal(hairpin(6001, 5001), 'pass', 'one for the mapping and its first flow');
        t.equal(hairpin(6001, 5002), 'pass');
        t.not(hairpin(6002, 5002), 'pass', 'faster than the rate');
        t.equal(datapath.reasons()['DROP_LIMIT_RATE ingress'], 1);
      },
    );
  }

  await t.test('a forward whose source is translated as well is counted as a flow', async (t) => {
    datapath.configure({
      ...limited({ ports: 1 }),
      rules: [
        { kind: 'dnat', ifindex: datapath.network.lan0, dst: '203.0.113.9/32', to: [SERVER.ip4, SERVER.ip4] },
      ],
    });
    const far = { ...SERVER, ip4: '203.0.113.9' };
    const out = (sport: number) =>
      walk(datapath, 'out', frame(CLIENT, far, udp({ sport, dport: 53 }))).verdict;
    t.equal(out(5000), 'pass');
    t.same(portsCounted(datapath), [1]);
    t.equal(datapath.endpoints().length, 0);
    t.not(out(5001), 'pass');
  });
});
