// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Which entries interfaces with zones have, and which of them can't have the zones that they were given.
import type { Link } from 'libbpf-ts';
import t from 'tap';
import { mappingForAll } from '../../src/interface-config.js';
import type { Attachment } from '../../src/state.js';
import { refuseBesideZones, zoneEntries } from '../../src/zones.js';

function link(ifindex: number, name: string, more: Partial<Link> = {}): Link {
  return { ifindex, name, type: 1, mtu: 1500, ...more } as Link;
}

function attached(links: readonly Link[], zones: Readonly<Record<string, number>>) {
  return Object.entries(zones).map(([name, zone]) => ({
    link: links.find((each) => each.name === name)!,
    attachment: { name, ...(zone && { zone }) } as Attachment,
  }));
}

function entries(links: readonly Link[], zones: Readonly<Record<string, number>>) {
  return Object.fromEntries(zoneEntries(attached(links, zones), links));
}

const VRF = [
  link(1, 'red', { kind: 'vrf' }),
  link(2, 'lan0', { master: 1 }),
  link(3, 'lan1', { master: 1 }),
  link(4, 'wan0'),
];

t.test('interfaces with a zone have an entry', async (t) => {
  const links = [link(2, 'lan0'), link(3, 'lan1'), link(4, 'wan0')];
  t.strictSame(entries(links, { lan0: 1, lan1: 2, wan0: 0 }), { 2: 1, 3: 2 });
  t.strictSame(entries(links, { lan0: 0 }), {});
});

t.test('a VRF is of the zone of its members, which agree', async (t) => {
  t.strictSame(entries(VRF, { lan0: 5, wan0: 0 }), { 1: 5, 2: 5 });
  t.strictSame(entries(VRF, { lan0: 5, lan1: 5 }), { 1: 5, 2: 5, 3: 5 });
  t.throws(() => entries(VRF, { lan0: 5, lan1: 6 }), /lan1 zone 6 and lan0 zone 5.*give both the same zone/);
  t.throws(() => entries(VRF, { lan0: 0, lan1: 6 }), /give both the same zone/);
});

t.test('a bridge and its port are of one zone', async (t) => {
  const links = [link(1, 'br0', { kind: 'bridge' }), link(2, 'port0', { master: 1 })];
  t.strictSame(entries(links, { br0: 3, port0: 3 }), { 1: 3, 2: 3 });
  t.strictSame(entries(links, { br0: 3 }), { 1: 3 });
  t.throws(() => entries(links, { br0: 3, port0: 0 }), /can not give .*they share packets/);
});

t.test('XDP mode knows no zones', async (t) => {
  const mapping = mappingForAll('apdm');
  const of = (mode: string, zone?: number) =>
    ({ name: mode, mode, mapping, ...(zone && { zone }) }) as Attachment;
  t.doesNotThrow(() => refuseBesideZones({ interfaces: [of('xdp'), of('tc')] }));
  t.doesNotThrow(() => refuseBesideZones({ interfaces: [of('auto'), of('tc', 2)] }));
  t.throws(
    () => refuseBesideZones({ interfaces: [of('xdp'), of('tc', 2)] }),
    /give tc zone 2 while xdp is in mode xdp/,
  );
});

t.test('endpoint-independent mappings know no zones', async (t) => {
  const of = (name: string, mapping: 'apdm' | 'eim', zone?: number) =>
    ({ name, mapping: mappingForAll(mapping), ...(zone && { zone }) }) as Attachment;
  t.doesNotThrow(() => refuseBesideZones({ interfaces: [of('wan', 'eim'), of('lan', 'apdm')] }));
  t.doesNotThrow(() => refuseBesideZones({ interfaces: [of('wan', 'apdm'), of('lan', 'apdm', 2)] }));
  for (const interfaces of [
    [of('wan', 'eim'), of('lan', 'apdm', 2)],
    [of('lan', 'apdm', 2), of('wan', 'eim')],
  ]) {
    t.throws(() => refuseBesideZones({ interfaces }), /give lan zone 2 while wan has mapping eim/);
  }
  t.throws(() => refuseBesideZones({ interfaces: [of('wan', 'eim', 1)] }), /wan zone 1 while wan has/);
  const udpOnly = { name: 'wan', mapping: { ...mappingForAll('apdm'), udp: 'eim' } } as Attachment;
  t.throws(() => refuseBesideZones({ interfaces: [udpOnly, of('lan', 'apdm', 2)] }), /wan has mapping eim/);
});
