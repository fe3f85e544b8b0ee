// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Rules for tracking: what is not tracked, and what becomes of marks. Both families, every flavour.
import type { Test } from 'tap';
import { maps, SettingsFlags } from '../../src/generated/layouts.gen.js';
import { trackEntries } from '../../src/track-entry.js';
import { parseTrackRule, type TrackRuleText } from '../../src/track-rule.js';
import { cross, flowMarks, type Marks } from '../helpers/datapath/cross.js';
import type { InterfaceName } from '../helpers/datapath/step.js';
import { samePacket, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath, Setup, StepResult } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  fragments,
  frame,
  frame6,
  icmp,
  icmp6,
  quote,
  ROUTER_WAN,
  SERVER,
  tcp,
  text,
  udp,
} from '../helpers/packet.js';

const FAMILIES = [
  ['IPv4', frame, 4],
  ['IPv6', frame6, 6],
] as const;

const setup = (...track: TrackRuleText[]): Setup => ({ track });

function untouched(t: Test, datapath: Datapath, packet: Uint8Array, family: 4 | 6, name: string): void {
  const { ingress, egress } = cross(datapath, 'lan0', 'wan0', packet, { given: 0x77 });
  samePacket(t, ingress.packet, packet, `${name}: ingress`);
  samePacket(t, egress.packet, packet, `${name}: egress`);
  t.equal(egress.verdict, 'pass', name);
  t.equal(egress.mark, 0x77, `${name}: the mark stays`);
  t.equal(egress.tcIndex, 0, `${name}: nothing goes out with it`);
  t.strictSame(datapath.flows(family), [], `${name}: no flow`);
  t.strictSame(
    datapath.reasons(),
    { 'UNTRACKED_RULE ingress': 1, 'UNTRACKED_RULE egress': 1 },
    `${name}: counted once at each hook`,
  );
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    const [source, destination, other] =
      version === 4
        ? ['10.0.0.0/24', '192.0.2.0/24', '10.9.0.0/16']
        : ['fd00:10::/64', '2001:db8:2::/64', 'fd00:9::/64'];
    const query = build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('q'));
    const answer = (dport = 40000): Buffer => build(SERVER, ROUTER_WAN, udp({ sport: 53, dport }), text('a'));

    const matches: [string, Omit<TrackRuleText, 'action'>, Omit<TrackRuleText, 'action'>][] = [
      ['everything', {}, { family: version === 4 ? 'ipv6' : 'ipv4' }],
      ['a source', { src: source }, { src: other }],
      ['a destination', { dst: destination }, { dst: other }],
      ['a protocol', { proto: 'udp' }, { proto: 'tcp' }],
      ['a port', { proto: 'udp', dport: '53' }, { proto: 'udp', dport: '54-60' }],
      ['a port below', { proto: 'udp', dport: '50-53' }, { proto: 'udp', dport: '50-52' }],
      ['a source port', { proto: 'udp', sport: '40000-40001' }, { proto: 'udp', sport: '40001-50000' }],
      ['an interface', { in: 'lan0' }, { in: 'wan0' }],
      ['a mark', { mark: '0x70/0xf0' }, { mark: '0x60/0xf0' }],
      [
        'all of it',
        { in: 'lan0', src: source, dst: destination, proto: 'udp', dport: '53', mark: '0x77' },
        {
          in: 'lan0',
          src: source,
          dst: other,
          proto: 'udp',
          dport: '53',
          mark: '0x77',
        },
      ],
    ];
    await t.test(`${family}: notrack passes untouched what its rule matches, and nothing else`, async (t) => {
      for (const [name, matching, not] of matches) {
        datapath.configure(setup({ action: 'notrack', ...not }, { action: 'notrack', ...matching }));
        untouched(t, datapath, query, version, name);
        datapath.configure(setup({ action: 'notrack', ...not }));
        cross(datapath, 'lan0', 'wan0', query, { given: 0x77 });
        t.equal(datapath.flows(version).length, 1, `${name}: not of another`);
        t.notOk(datapath.reasons()['UNTRACKED_RULE ingress'], `${name}: not counted of another`);
      }
    });

    await t.test(`${family}: the last of 32 rules is asked as the first`, async (t) => {
      const others = Array.from(
        { length: 31 },
        (_, i): TrackRuleText => ({ action: 'notrack', proto: 'tcp', dport: String(i + 1) }),
      );
      datapath.configure(setup(...others, { action: 'notrack', proto: 'udp' }));
      untouched(t, datapath, query, version, 'the last');
      datapath.configure(setup(...others, { action: 'mark set 5', proto: 'udp' }));
      cross(datapath, 'lan0', 'wan0', query);
      t.strictSame(flowMarks(datapath, version), [5]);
    });

    await t.test(`${family}: what the host itself sends is untracked where it leaves`, async (t) => {
      const own = build(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }));
      datapath.configure(setup({ action: 'notrack', out: 'wan0', proto: 'udp' }));
      const left = datapath.step({ hook: 'egress', at: 'wan0', packet: own });
      samePacket(t, left.packet, own, 'as it was');
      t.strictSame(datapath.reasons(), { 'UNTRACKED_RULE egress': 1 });
      t.equal(datapath.flows(version).length, 0);
    });

    await t.test(
      `${family}: a packet that was wrapped after ingress is tracked as what it is then`,
      async (t) => {
        datapath.configure(setup({ action: 'notrack', in: 'lan0' }));
        const { tcIndex } = datapath.step({ hook: 'ingress', at: 'lan0', packet: query });
        t.not(tcIndex, 0, 'ingress leaves word');
        t.equal(tcIndex & 0xc000, 0, 'of no kind');
        const outer = build(ROUTER_WAN, SERVER, udp({ sport: 4789, dport: 4789 }), text('inside'));
        datapath.step({ hook: 'egress', at: 'wan0', packet: outer, tcIndex });
        t.equal(datapath.flows(version).length, 1);
      },
    );

    await t.test(`${family}: fragments of what is untracked by its port`, async (t) => {
      const pieces = fragments(build(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(2000)), 1000, 7);
      datapath.configure(setup({ action: 'notrack', proto: 'udp', dport: '53' }));
      for (const piece of pieces) {
        const { egress } = cross(datapath, 'lan0', 'wan0', piece);
        samePacket(t, egress.packet, piece, 'as it was');
      }
      t.strictSame(datapath.reasons(), {
        'UNTRACKED_RULE ingress': pieces.length,
        'UNTRACKED_RULE egress': pieces.length,
      });
    });

    await t.test(`${family}: a new flow has its mark from its first packet on`, async (t) => {
      const rules: [string, TrackRuleText[], Marks, number][] = [
        ['set', [{ action: 'mark set 0x12', in: 'lan0' }], {}, 0x12],
        ['set of a part', [{ action: 'mark set 0x12/0xff', in: 'lan0' }], {}, 0x12],
        [
          'the first that matches',
          [
            { action: 'mark set 1', in: 'wan0' },
            { action: 'mark set 2', in: 'lan0' },
            { action: 'mark set 3' },
          ],
          {},
          2,
        ],
        ['save', [{ action: 'mark save', out: 'wan0' }], { between: 0x34 }, 0x34],
        [
          'save of marked packets',
          [{ action: 'mark save', out: 'wan0', mark: '0x30/0xf0' }],
          { between: 0x44 },
          0,
        ],
        [
          'save behind set',
          [
            { action: 'mark set 9', in: 'lan0' },
            { action: 'mark save', out: 'wan0' },
          ],
          { between: 0x34 },
          9,
        ],
        [
          'restore leaves what the stack has marked',
          [{ action: 'mark restore' }, { action: 'mark save', out: 'wan0' }],
          { between: 0x34 },
          0x34,
        ],
      ];
      for (const [name, track, marks, expect] of rules) {
        datapath.configure({ track });
        const { egress } = cross(datapath, 'lan0', 'wan0', query, marks);
        t.equal(egress.verdict, 'pass', name);
        t.strictSame(flowMarks(datapath, version), [expect], name);
        samePacket(
          t,
          egress.packet,
          build(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), text('q')),
          `${name}: translated all the same`,
        );
      }
    });

    await t.test(`${family}: a flow that is there takes a mark by its next packet`, async (t) => {
      datapath.configure();
      cross(datapath, 'lan0', 'wan0', query);
      t.strictSame(flowMarks(datapath, version), [0]);
      const settings = datapath.map(maps.settings);
      const before = settings.get(0)!;
      const flows = datapath.flows(version).length;
      // what configure() does, but for its emptying
      const rules: TrackRuleText[] = [
        { action: 'mark set 0x100/0xf00', in: 'lan0' },
        { action: 'mark save', out: 'lan0', mark: '0xab' },
      ];
      const entries = trackEntries(
        rules.map(parseTrackRule),
        (name) => datapath.network[name as InterfaceName],
      );
      datapath.map(maps.track_rules).set(0, entries);
      settings.set(0, { ...before, flags: before.flags | SettingsFlags.TRACK });
      cross(datapath, 'wan0', 'lan0', answer());
      t.strictSame(flowMarks(datapath, version), [0], 'a reply came in elsewhere');
      cross(datapath, 'lan0', 'wan0', query);
      t.strictSame(flowMarks(datapath, version), [0x100]);
      cross(datapath, 'wan0', 'lan0', answer(), { between: 0xab });
      t.strictSame(flowMarks(datapath, version), [0xab], 'saved where it leaves, of a reply');
      cross(datapath, 'lan0', 'wan0', query);
      t.strictSame(flowMarks(datapath, version), [0x1ab], 'other bits stay');
      t.equal(datapath.flows(version).length, flows);
    });

    await t.test(`${family}: restore marks a packet before it is routed`, async (t) => {
      datapath.configure(setup({ action: 'mark set 7', in: 'lan0' }, { action: 'mark restore', in: 'wan0' }));
      cross(datapath, 'lan0', 'wan0', query);
      const back = cross(datapath, 'wan0', 'lan0', answer(), { given: 0x99 });
      t.equal(back.ingress.mark, 7, 'at ingress');
      samePacket(
        t,
        back.egress.packet,
        build(SERVER, CLIENT, udp({ sport: 53, dport: 40000 }), text('a')),
        'translated',
      );
      t.equal(cross(datapath, 'lan0', 'wan0', query, { given: 0x99 }).ingress.mark, 0x99, 'of wan0 only');
      const stranger = build(SERVER, ROUTER_WAN, udp({ sport: 54, dport: 40009 }));
      t.equal(
        datapath.step({ hook: 'ingress', at: 'wan0', packet: stranger, mark: 0x99 }).mark,
        0,
        'a new flow has no mark',
      );
    });

    await t.test(`${family}: an ICMP error has the mark of the flow that it is about`, async (t) => {
      datapath.configure(setup({ action: 'mark set 7', in: 'lan0' }, { action: 'mark restore', in: 'wan0' }));
      const { egress } = cross(datapath, 'lan0', 'wan0', query);
      const message =
        version === 4 ? icmp({ type: 3, code: 1, rest: 0 }) : icmp6({ type: 1, code: 3, rest: 0 });
      const error = build(SERVER, ROUTER_WAN, message, quote(egress.packet));
      t.equal(datapath.step({ hook: 'ingress', at: 'wan0', packet: error, mark: 1 }).mark, 7);
      t.equal(datapath.reasons()['RELATED ingress'], 1);
    });

    await t.test(`${family}: set and restore act in their order`, async (t) => {
      const set: TrackRuleText = { action: 'mark set 7', in: 'wan0' };
      const restore: TrackRuleText = { action: 'mark restore', in: 'wan0' };
      const save: TrackRuleText = { action: 'mark save', in: 'wan0' };
      const orders: [string, TrackRuleText[], packet: number, flow: number][] = [
        ['set, restore', [set, restore], 7, 7],
        ['restore, set', [restore, set], 0, 7],
        ['save, restore', [save, restore], 0x99, 0x99],
        ['restore, save', [restore, save], 0, 0],
      ];
      for (const [name, rules, packet, flow] of orders) {
        datapath.configure({ track: rules });
        cross(datapath, 'lan0', 'wan0', query);
        t.equal(cross(datapath, 'wan0', 'lan0', answer(), { given: 0x99 }).ingress.mark, packet, name);
        t.strictSame(flowMarks(datapath, version), [flow], name);
      }
    });

    await t.test(`${family}: TCP with options from its SYN on`, async (t) => {
      datapath.configure(setup({ action: 'mark set 7', in: 'lan0' }, { action: 'mark restore', in: 'wan0' }));
      const out = (fields: object): StepResult =>
        cross(datapath, 'lan0', 'wan0', build(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, ...fields })))
          .egress;
      const back = (fields: object): StepResult =>
        cross(
          datapath,
          'wan0',
          'lan0',
          build(SERVER, ROUTER_WAN, tcp({ sport: 80, dport: 40000, ...fields })),
        ).ingress;
      out({ seq: 5, flags: 'S' });
      t.equal(back({ seq: 9, ack: 6, flags: 'SA' }).mark, 7, 'SYN+ACK');
      out({ seq: 6, ack: 10, flags: 'A' });
      t.equal(back({ seq: 10, ack: 6, flags: 'A' }).mark, 7, 'ACK');
      t.match(datapath.flows(version), [{ state: 'ESTABLISHED' }]);
      t.strictSame(flowMarks(datapath, version), [7]);
    });
  }
});
