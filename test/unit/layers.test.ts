// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which hook program an interface gets.
import type { Link } from 'libbpf-ts';
import { test } from 'tap';
import { hookVariant } from '../../src/layers.js';

function link(ifindex: number, more: Partial<Link> = {}): Link {
  return { ifindex, name: `if${ifindex}`, type: 1, mtu: 1500, flags: 0, isUp: true, address: '', ...more };
}

const PORT = link(2, { master: 4 });
const OTHER_PORT = link(3, { master: 4 });
const BRIDGE = link(4, { kind: 'bridge' });
const VLAN = link(5, { kind: 'vlan', link: 4 });
const MACVLAN = link(6, { kind: 'macvlan', link: 4 });
const TUN = link(7, { type: 65534 });
const VETH = link(8, { kind: 'veth', link: 9 });
const PEER = link(9, { kind: 'veth', link: 8 });
const CONTAINER = link(10, { kind: 'ipvlan', link: 2, linkNetnsid: 0 });
const ALL = [PORT, OTHER_PORT, BRIDGE, VLAN, MACVLAN, TUN, VETH, PEER, CONTAINER, link(1, { type: 772 })];

function variant(of: Link, ...attached: number[]) {
  return hookVariant(of, ALL, new Set([of.ifindex, ...attached]));
}

test('the link header decides first', async (t) => {
  t.equal(variant(PORT), 'ethernet');
  t.equal(variant(link(1, { type: 772 })), 'ethernet', 'loopback has one');
  t.equal(variant(TUN), 'ip');
});

test('a bridge is above its ports that are attached', async (t) => {
  t.equal(variant(BRIDGE), 'ethernet');
  t.equal(variant(BRIDGE, 3), 'upper');
  t.equal(variant(PORT, 4), 'ethernet', 'and the port below it');
});

test('a device that shares the packets of one below is above it, also with one in between', async (t) => {
  t.equal(variant(MACVLAN), 'ethernet');
  t.equal(variant(MACVLAN, 4), 'upper');
  t.equal(variant(MACVLAN, 2), 'upper', 'through the bridge');
});

test('a VLAN is not: below, its packets are tagged', async (t) => {
  t.equal(variant(VLAN, 4), 'ethernet');
});

test('what `link` means elsewhere makes nothing upper', async (t) => {
  t.equal(variant(VETH, 9), 'ethernet', 'a veth has a peer');
  t.equal(variant(CONTAINER, 2), 'ethernet', 'the index is of another namespace');
});

test('a circle ends', async (t) => {
  const a = link(20, { master: 21 });
  const b = link(21, { master: 20 });
  t.equal(hookVariant(a, [a, b], new Set()), 'ethernet');
});
