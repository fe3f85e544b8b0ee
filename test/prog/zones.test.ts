// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Zones: two inside networks with the same addresses, lan0 in zone 1 and dmz0 in zone 2, and the outside in zone 0.
import type { Test } from 'tap';
import type { RuleSetup } from '../helpers/datapath/settings.js';
import type { InterfaceName } from '../helpers/datapath/step.js';
import { samePacket, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  fragments,
  frame,
  frame6,
  type Host,
  icmp,
  parse,
  quote,
  ROUTER_WAN,
  SERVER,
  tcp,
  text,
  udp,
} from '../helpers/packet.js';

type Tenant = 'lan0' | 'dmz0';

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

const INSIDE = { ip4: '10.0.0.1', ip6: 'fd00:10::1' };
const OUTSIDE = { ip4: '198.51.100.1', ip6: '2001:db8:1::1' };

function tenants(outside: object, zones: readonly [number, number, number] = [1, 2, 0]): Setup {
  const [lan, dmz, wan] = zones;
  return {
    interfaces: {
      lan0: { ...INSIDE, zone: lan },
      dmz0: { ...INSIDE, zone: dmz },
      wan0: { ...OUTSIDE, zone: wan, ...outside },
    },
  };
}

const MASQUERADE = tenants({ masquerade: 'all' });
const ROUTED = tenants({});

/** In by one interface and out by the other. undefined: it was dropped. */
function cross(
  datapath: Datapath,
  from: InterfaceName,
  at: InterfaceName,
  packet: Uint8Array,
): Buffer | undefined {
  const arrived = datapath.step({ hook: 'ingress', at: from, packet });
  if (arrived.verdict !== 'pass') return undefined;
  const { tcIndex } = arrived;
  const left = datapath.step({ hook: 'egress', at, from, packet: arrived.packet, tcIndex });
  return left.verdict === 'pass' ? left.packet : undefined;
}

/** The source port of a UDP datagram or TCP segment without IP options or extension headers. */
function sourcePort(packet: Buffer, version: 4 | 6): number {
  return packet.readUInt16BE(14 + (version === 4 ? 20 : 40));
}

function endAll(t: Test, datapath: Datapath, version: 4 | 6): void {
  if (version === 4) for (const { slot } of datapath.flows()) t.ok(datapath.deleteFlow(slot));
  if (version === 4) t.equal(datapath.keys(), 0, 'no key is left behind');
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    await t.test(`${family}: the same addresses in two zones are two flows behind one address`, async (t) => {
      datapath.configure(MASQUERADE);
      const ports = (['lan0', 'dmz0'] as const).map((tenant) => {
        const given = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text(tenant));
        const sport = sourcePort(cross(datapath, tenant, 'wan0', given)!, version);
        const expect = build(ROUTER_WAN, SERVER, udp({ sport, dport: 53 }), text(tenant));
        samePacket(t, cross(datapath, tenant, 'wan0', given)!, expect, `${tenant}: out`);
        return [tenant, sport] as const;
      });
      t.equal(ports[0]![1], 40000, 'the first keeps its port');
      t.not(ports[1]![1], 40000, 'the second has one of its own');
      for (const [tenant, dport] of [...ports, ...ports]) {
        const answer = build(SERVER, ROUTER_WAN, udp({ sport: 53, dport }), text(tenant));
        const expect = build(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text(tenant));
        samePacket(t, cross(datapath, 'wan0', tenant, answer)!, expect, `${tenant}: back`);
      }
      t.match(datapath.flows(version), [{ packets: [2, 2] }, { packets: [2, 2] }]);
      t.equal(datapath.flows(version).length, 2);
      endAll(t, datapath, version);
    });

    await t.test(`${family}: a TCP connection from its SYN to its end, in each zone`, async (t) => {
      datapath.configure(MASQUERADE);
      for (const tenant of ['lan0', 'dmz0'] as const) {
        const out = (fields: object): Buffer | undefined =>
          cross(datapath, tenant, 'wan0', build(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, ...fields })));
        const dport = sourcePort(out({ seq: 5, flags: 'S' })!, version);
        const back = (fields: object): Buffer | undefined =>
          cross(datapath, 'wan0', tenant, build(SERVER, ROUTER_WAN, tcp({ sport: 80, dport, ...fields })));
        t.ok(back({ seq: 9, ack: 6, flags: 'SA' }), `${tenant}: SYN+ACK`);
        t.ok(out({ seq: 6, ack: 10, flags: 'A' }), `${tenant}: ACK`);
        t.ok(back({ seq: 10, ack: 6, flags: 'A' }), `${tenant}: ACK back`);
        t.ok(out({ seq: 6, ack: 10, flags: 'FA' }), `${tenant}: FIN`);
        t.ok(back({ seq: 10, ack: 7, flags: 'FA' }), `${tenant}: FIN back`);
        t.ok(out({ seq: 7, ack: 11, flags: 'A' }), `${tenant}: last ACK`);
      }
      t.match(datapath.flows(version), [{ state: 'TIME_WAIT' }, { state: 'TIME_WAIT' }]);
      endAll(t, datapath, version);
    });

    await t.test(`${family}: an answer routed to the other zone's host is dropped`, async (t) => {
      datapath.configure(MASQUERADE);
      for (const tenant of ['lan0', 'dmz0'] as const)
        cross(datapath, tenant, 'wan0', build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 })));
      const answer = build(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }));
      t.equal(cross(datapath, 'wan0', 'dmz0', answer), undefined);
      t.match(datapath.reasons(), { 'DROP_ZONE egress': 1 });
    });

    await t.test(`${family}: untranslated between its zone and zone 0`, async (t) => {
      datapath.configure(ROUTED);
      const out = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('out'));
      const back = build(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('back'));
      for (let i = 0; i < 3; i++) {
        samePacket(t, cross(datapath, 'lan0', 'wan0', out)!, out, 'out');
        samePacket(t, cross(datapath, 'wan0', 'lan0', back)!, back, 'back');
      }
      t.match(datapath.flows(version), [{ nat: 'NONE', status: ['SEEN_REPLY'], packets: [3, 3] }]);
      t.equal(datapath.keys(version), 2, 'a key in each zone');
      // the other zone's flow looks the same outside: its port gives way
      const second = cross(datapath, 'dmz0', 'wan0', out)!;
      t.not(sourcePort(second, version), 40000);
      t.equal(datapath.flows(version).length, 2);
      endAll(t, datapath, version);
    });

    await t.test(`${family}: both sides in one zone have one key, and keep apart from zone 0`, async (t) => {
      datapath.configure(tenants({}, [3, 0, 3]));
      const out = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }));
      const back = build(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }));
      t.ok(cross(datapath, 'lan0', 'wan0', out));
      t.ok(cross(datapath, 'wan0', 'lan0', back));
      t.equal(datapath.keys(version), 1);
      t.match(datapath.flows(version), [{ nat: 'NONE', packets: [1, 1] }]);
      endAll(t, datapath, version);
    });

    await t.test(`${family}: from one zone into another there is no way`, async (t) => {
      datapath.configure(ROUTED);
      const packet = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }));
      t.equal(cross(datapath, 'lan0', 'dmz0', packet), undefined);
      t.match(datapath.reasons(), { 'DROP_ZONE egress': 1 });
      t.strictSame(datapath.flows(version), []);
    });

    for (const masquerade of [false, true]) {
      const name = masquerade ? ', and translated at both ends' : '';
      await t.test(`${family}: a port forward into a zone${name}`, async (t) => {
        const to = version === 4 ? '10.0.0.2' : 'fd00:10::2';
        const dst = version === 4 ? '198.51.100.1/32' : '2001:db8:1::1/128';
        const rule: RuleSetup = {
          kind: 'dnat',
          proto: 6,
          dst,
          dport: [8080, 8080],
          to: [to, to],
          ports: [80, 80],
        };
        const lan = { ...INSIDE, zone: 1, ...(masquerade && { masquerade: 'all' as const }) };
        datapath.configure({ interfaces: { lan0: lan, wan0: OUTSIDE }, rules: [rule] });
        const from = masquerade ? { ...SERVER, ...INSIDE, name: 'ROUTER_LAN' } : SERVER;
        const exchange: [InterfaceName, InterfaceName, Host, Host, Host, Host, object][] = [
          ['wan0', 'lan0', SERVER, ROUTER_WAN, from, CLIENT, { seq: 5, flags: 'S' }],
          ['lan0', 'wan0', CLIENT, from, ROUTER_WAN, SERVER, { seq: 9, ack: 6, flags: 'SA' }],
          ['wan0', 'lan0', SERVER, ROUTER_WAN, from, CLIENT, { seq: 6, ack: 10, flags: 'A' }],
          ['lan0', 'wan0', CLIENT, from, ROUTER_WAN, SERVER, { seq: 10, ack: 6, flags: 'A' }],
        ];
        for (const [a, b, source, destination, newSource, newDestination, fields] of exchange) {
          const inward = a === 'wan0';
          const given = inward ? { sport: 5000, dport: 8080 } : { sport: 80, dport: 5000 };
          const wanted = inward ? { sport: 5000, dport: 80 } : { sport: 8080, dport: 5000 };
          const expect = build(newSource, newDestination, tcp({ ...wanted, ...fields }));
          const left = cross(datapath, a, b, build(source, destination, tcp({ ...given, ...fields })));
          samePacket(t, left ?? Buffer.alloc(0), expect, `${a} to ${b}`);
        }
        t.match(datapath.flows(version), [{ nat: 'DNAT', packets: [2, 2], state: 'ESTABLISHED' }]);
        t.equal(datapath.flows(version).length, 1);
        t.equal(datapath.keys(version), masquerade ? 3 : 2);
        endAll(t, datapath, version);
      });
    }

    await t.test(`${family}: fragments with one identifier, of a host in each zone`, async (t) => {
      datapath.configure(MASQUERADE);
      const whole = (tenant: Tenant): Buffer =>
        build(CLIENT, SERVER, udp({ sport: tenant === 'lan0' ? 40000 : 41000, dport: 53 }), bytes(2500));
      const lan = fragments(whole('lan0'), 1400, 9);
      const dmz = fragments(whole('dmz0'), 1400, 9);
      for (const [i, piece] of lan.entries()) {
        t.ok(cross(datapath, 'lan0', 'wan0', piece), `lan0: fragment ${i}`);
        t.ok(cross(datapath, 'dmz0', 'wan0', dmz[i]!), `dmz0: fragment ${i}`);
      }
      t.match(datapath.flows(version), [{ packets: [2, 0] }, { packets: [2, 0] }]);
    });
  }

  await t.test(
    'an ICMP error from outside goes to the host in the zone that its packet came from',
    async (t) => {
      datapath.configure(MASQUERADE);
      for (const tenant of ['lan0', 'dmz0'] as const) {
        const sent = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(20));
        const sport = sourcePort(cross(datapath, tenant, 'wan0', sent)!, 4);
        const outside = frame(ROUTER_WAN, SERVER, udp({ sport, dport: 53 }), bytes(20));
        const error = icmp({ type: 3, code: 1, rest: 0 });
        const given = frame(SERVER, ROUTER_WAN, error, quote(outside));
        const left = cross(datapath, 'wan0', tenant, given);
        samePacket(t, left ?? Buffer.alloc(0), frame(SERVER, CLIENT, error, quote(sent)), tenant);
      }
      t.match(datapath.reasons(), { 'RELATED ingress': 2, 'RELATED egress': 2 });
      const unasked = quote(frame(ROUTER_WAN, SERVER, udp({ sport: 9, dport: 53 }), bytes(20)));
      const stray = cross(
        datapath,
        'wan0',
        'lan0',
        frame(SERVER, ROUTER_WAN, icmp({ type: 3, code: 1, rest: 0 }), unasked),
      );
      t.ok(stray === undefined || parse(stray), 'of nobody: as it came');
    },
  );

  await t.test('without a zone nothing is looked up', async (t) => {
    datapath.configure();
    const packet = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }));
    t.ok(cross(datapath, 'lan0', 'wan0', packet));
    t.match(datapath.flows(), [{ packets: [1, 0] }]);
  });
});
