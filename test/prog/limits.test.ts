// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Limits of a subscriber: how many translated flows it has, and how fast it begins new ones.

import { maps, SweepMode } from '../../src/generated/layouts.gen.js';
import { type Limits, limitPrefixOf } from '../../src/limits.js';
import { TICK_MS } from '../../src/ticks.js';
import { endFlow, portsCounted, sweepFlows } from '../helpers/datapath/control.js';
import { Listener } from '../helpers/datapath/listener.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  CLIENT2,
  frame,
  frame6,
  type Host,
  icmp,
  icmp6,
  SERVER,
  tcp,
  udp,
} from '../helpers/packet.js';

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

/** In another /64 than CLIENT and CLIENT2. */
const STRANGER: Host = { ...CLIENT2, ip6: 'fd00:11::3' };

function limited(limits: Limits, more: Setup = {}): Setup {
  return {
    ...more,
    interfaces: {
      lan0: { ip4: '10.0.0.1', ip6: 'fd00:10::1' },
      wan0: { ip4: '198.51.100.1', ip6: '2001:db8:1::1', masquerade: 'all', limits },
    },
  };
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    const query = (host: Host, sport: number) => build(host, SERVER, udp({ sport, dport: 53 }));
    const out = (host: Host, sport: number) => walk(datapath, 'out', query(host, sport)).verdict;
    const reasons = () => datapath.reasons();

    await t.test(`${family}: a subscriber at its limit of ports is refused; another is not`, async (t) => {
      datapath.configure(limited({ ports: 3 }));
      t.same(
        [1, 2, 3].map((n) => out(CLIENT, 5000 + n)),
        ['pass', 'pass', 'pass'],
      );
      t.not(out(CLIENT, 5004), 'pass', 'one too many');
      t.equal(reasons()['DROP_LIMIT_PORTS egress'], 1, 'has its own reason');
      t.equal(out(CLIENT, 5002), 'pass', 'a live flow goes on');
      t.equal(out(STRANGER, 5001), 'pass', 'another subscriber is not disturbed');
      t.equal(datapath.flows(version).length, 4);
      t.same(portsCounted(datapath), [1, 3]);
      const [, entry] = [...datapath.map(maps.subscribers).entries()].find(([, { flows }]) => flows === 3)!;
      t.same([entry.refusedPorts, entry.refusedRate], [1n, 0n]);
      t.equal(datapath.keys(version), 8, 'what was refused has left no key');
    });

    await t.test(
      `${family}: identifiers of ICMP and connections of TCP are counted as ports are`,
      async (t) => {
        datapath.configure(limited({ ports: 2 }));
        t.equal(
          walk(datapath, 'out', build(CLIENT, SERVER, tcp({ sport: 5000, dport: 80, flags: 'S' }))).verdict,
          'pass',
        );
        const echo = (id: number) =>
          version === 4
            ? icmp({ type: 8, code: 0, rest: id << 16 })
            : icmp6({ type: 128, code: 0, rest: id << 16 });
        const ping = (id: number) => walk(datapath, 'out', build(CLIENT, SERVER, echo(id))).verdict;
        t.equal(ping(1), 'pass');
        t.not(ping(2), 'pass');
        t.equal(ping(1), 'pass');
        t.same(portsCounted(datapath), [2]);
      },
    );

    const ends: Record<string, (slot: number) => void> = {
      'its deletion': (slot) => t.equal(sweepFlows(datapath, version, SweepMode.ONE, slot), 1),
      'the end of its address': (slot) => t.equal(sweepFlows(datapath, version, SweepMode.ADDRESS, slot), 1),
      'a sweep after its deadline': (slot) => {
        endFlow(datapath, version, slot);
        t.equal(sweepFlows(datapath, version, SweepMode.EXPIRED), 1);
      },
    };
    for (const [name, end] of Object.entries(ends)) {
      await t.test(`${family}: ${name} frees a port of the subscriber`, async (t) => {
        datapath.configure(limited({ ports: 2 }));
        out(CLIENT, 5001);
        out(CLIENT, 5002);
        t.not(out(CLIENT, 5003), 'pass');
        end(datapath.flows(version)[0]!.slot);
        t.same(portsCounted(datapath), [1]);
        t.equal(out(CLIENT, 5003), 'pass');
        t.not(out(CLIENT, 5004), 'pass');
        t.equal(sweepFlows(datapath, version, SweepMode.ALL), 2);
        t.same(portsCounted(datapath), [0], 'and a flush all of them');
        t.equal(datapath.keys(version), 0);
      });
    }

    await t.test(
      `${family}: a flow that is over is replaced by the packet that meets it, and counted once`,
      async (t) => {
        datapath.configure(limited({ ports: 2 }));
        out(CLIENT, 5001);
        endFlow(datapath, version, datapath.flows(version)[0]!.slot);
        t.equal(out(CLIENT, 5001), 'pass');
        t.same(portsCounted(datapath), [1]);
        t.equal(datapath.counters().REPLACED, 1);
      },
    );

    await t.test(`${family}: a flow that gives way in a full table is no longer counted`, async (t) => {
      datapath.configure(limited({ ports: 100 }, { slots: 8 }));
      for (let n = 0; n < 8; n++) t.equal(out(CLIENT, 5000 + n), 'pass');
      t.equal(out(STRANGER, 6000), 'pass');
      t.equal(datapath.counters().EVICTED, 1);
      t.same(portsCounted(datapath), [1, 7]);
    });

    await t.test(
      `${family}: new flows are refused that come faster than the rate, until time has passed`,
      async (t) => {
        datapath.configure(limited({ rate: 1, burst: 3 }));
        t.same(
          [1, 2, 3].map((n) => out(CLIENT, 5000 + n)),
          ['pass', 'pass', 'pass'],
          'the burst',
        );
        t.not(out(CLIENT, 5004), 'pass');
        t.ok(reasons()['DROP_LIMIT_RATE egress']! >= 1, 'has its own reason');
        t.equal(out(CLIENT, 5001), 'pass', 'a live flow goes on');
        t.equal(out(STRANGER, 5001), 'pass', 'another subscriber is not disturbed');
        rewind(datapath, 2050);
        t.same(
          [4, 5].map((n) => out(CLIENT, 5000 + n)),
          ['pass', 'pass'],
          'two seconds are two flows',
        );
        t.not(out(CLIENT, 5006), 'pass');
        rewind(datapath, 60_000);
        t.same(
          [6, 7, 8].map((n) => out(CLIENT, 5000 + n)),
          ['pass', 'pass', 'pass'],
          'a minute is the burst',
        );
        t.not(out(CLIENT, 5009), 'pass');
      },
    );

    await t.test(`${family}: what is not translated is not limited`, async (t) => {
      const setup = limited({ ports: 1, rate: 1, burst: 1 });
      setup.interfaces!.wan0!.masquerade = version === 4 ? 6 : 4;
      datapath.configure(setup);
      for (let n = 0; n < 4; n++) t.equal(out(CLIENT, 5000 + n), 'pass');
      t.same(portsCounted(datapath), []);
    });

    await t.test(`${family}: source NAT by a rule is limited as masquerade is`, async (t) => {
      const setup = limited({ ports: 1 });
      delete setup.interfaces!.wan0!.masquerade;
      setup.rules = [{ kind: 'masquerade', ...(version === 6 && { family: 6 as const }) }];
      datapath.configure(setup);
      t.equal(out(CLIENT, 5000), 'pass');
      t.not(out(CLIENT, 5001), 'pass');
      t.same(portsCounted(datapath), [1]);
    });

    await t.test(`${family}: a refused packet is told to those who listen`, async (t) => {
      datapath.configure(limited({ ports: 1 }));
      out(CLIENT, 5000);
      const listener = new Listener(t, datapath, ['drop']);
      out(CLIENT, 5001);
      t.match(listener.take(), [{ type: 'drop', reason: 'drop_limit_ports', iface: 'wan0' }]);
    });
  }

  await t.test('IPv6: the subscriber is a prefix of the length that was asked for', async (t) => {
    const out = (ip6: string, sport: number) =>
      walk(datapath, 'out', frame6({ ...CLIENT, ip6 }, SERVER, udp({ sport, dport: 53 }))).verdict;
    const shares = (length: number, a: string, b: string): boolean => {
      datapath.configure(limited({ ports: 1, prefix: length }));
      t.equal(out(a, 5000), 'pass');
      const [key] = [...datapath.map(maps.subscribers).keys()];
      t.equal(limitPrefixOf(key!.prefix), length);
      return out(b, 5001) !== 'pass';
    };
    t.ok(shares(64, 'fd00:10::2', 'fd00:10::3'));
    t.notOk(shares(64, 'fd00:10::2', 'fd00:10:0:1::2'));
    t.ok(shares(56, 'fd00:10::2', 'fd00:10:0:ff::2'));
    t.notOk(shares(56, 'fd00:10::2', 'fd00:10:0:100::2'));
    t.ok(shares(35, 'fd00:10::2', 'fd00:10:1fff:ff::2'));
    t.notOk(shares(35, 'fd00:10::2', 'fd00:10:2000::2'));
    t.ok(shares(128, 'fd00:10::2', 'fd00:10::2'));
    t.notOk(shares(128, 'fd00:10::2', 'fd00:10::3'));
  });

  await t.test('the flow that takes the place of one born at ingress is counted', async (t) => {
    const setup = limited({ ports: 1 });
    setup.rules = [
      { kind: 'dnat', ifindex: datapath.network.lan0, dst: '203.0.113.9/32', to: [SERVER.ip4, SERVER.ip4] },
    ];
    datapath.configure(setup);
    const far = { ...SERVER, ip4: '203.0.113.9' };
    const out = (sport: number) =>
      walk(datapath, 'out', frame(CLIENT, far, udp({ sport, dport: 53 }))).verdict;
    t.equal(out(5000), 'pass');
    t.same(portsCounted(datapath), [1]);
    t.match(datapath.flows(), [{ original: 'CLIENT 5000 > 203.0.113.9 53', status: ['SRC_NAT', 'DST_NAT'] }]);
    t.not(out(5001), 'pass');
    t.equal(sweepFlows(datapath, 4, SweepMode.ALL), 2);
    t.same(portsCounted(datapath), [0]);
  });
});

/** The test clock: what every subscriber did last was so long ago. */
function rewind(datapath: Datapath, ms: number): void {
  const subscribers = datapath.map(maps.subscribers);
  for (const [key, value] of [...subscribers.entries()])
    subscribers.set(key, { ...value, tick: (value.tick - Math.round(ms / TICK_MS)) >>> 0 });
}
