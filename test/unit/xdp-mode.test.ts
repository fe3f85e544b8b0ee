// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import type { Link } from 'libbpf-ts';
import t from 'tap';
import { mappingForAll } from '../../src/interface-config.js';
import { chooseMode } from '../../src/xdp-mode.js';

const link = (more: Partial<Link>): Link => ({
  ifindex: 7,
  name: 'eth7',
  type: 1,
  mtu: 1500,
  flags: 1,
  isUp: true,
  address: '02:00:00:00:00:07',
  ...more,
});

const apdm = mappingForAll('apdm');
const choose = (mode: 'auto' | 'tc' | 'xdp', of: Link, more: { links?: Link[]; isTaken?: boolean } = {}) =>
  chooseMode({ mode, mapping: apdm }, { link: of, links: [of], flavour: 'v5_13', isTaken: false, ...more });

t.test('tc is tc, and says nothing', async (t) => {
  t.same(choose('tc', link({})), { runs: 'tc' });
});

t.test('xdp is xdp on whatever has an Ethernet header', async (t) => {
  for (const kind of ['veth', 'bridge', 'bond', 'vlan'])
    t.same(choose('xdp', link({ kind })), { runs: 'xdp' });
});

t.test('xdp is refused with the reason', async (t) => {
  const above = link({ ifindex: 8, name: 'eth7.5', kind: 'vlan', link: 7 });
  const refusals: [ReturnType<typeof choose>, RegExp][] = [
    [choose('xdp', link({ type: 65534, kind: 'tun' })), /Ethernet header/],
    [choose('xdp', link({ type: 512, kind: 'ppp' })), /Ethernet header/],
    [choose('xdp', link({}), { isTaken: true }), /another program/],
    [choose('xdp', link({}), { links: [link({}), above] }), /VLAN eth7\.5/],
    [
      chooseMode(
        { mode: 'xdp', mapping: apdm },
        { link: link({}), links: [], flavour: 'floor', isTaken: false },
      ),
      /Linux 5\.13/,
    ],
    ...(['xdp', 'auto'] as const).map((mode): [ReturnType<typeof choose>, RegExp] => [
      chooseMode(
        { mode, mapping: { ...apdm, udp: 'eim' } },
        { link: link({}), links: [], flavour: 'v5_13', isTaken: false },
      ),
      /endpoint-independent/,
    ]),
  ];
  for (const [choice, why] of refusals) {
    t.equal(choice.runs, 'tc');
    t.match(choice.why, why);
  }
});

t.test('auto is tc on what has no driver of its own, and on the ports of a bridge', async (t) => {
  for (const kind of ['veth', 'bridge', 'bond', 'vlan'])
    t.match(choose('auto', link({ kind })), { runs: 'tc', why: new RegExp(kind) });
  for (const [type, kind] of [
    [65534, 'tun'],
    [65534, 'wireguard'],
    [512, 'ppp'],
  ] as const)
    t.match(choose('auto', link({ type, kind })), { runs: 'tc', why: /Ethernet/ });
  t.match(choose('auto', link({ master: 3 })), { runs: 'tc', why: /bridge/ });
});
