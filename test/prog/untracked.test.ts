// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What is not tracked passes as it came, and is counted under its own name (invariant 9).
import { withDatapath } from '../helpers/datapath/table.js';
import {
  BROADCAST,
  build,
  bytes,
  CLIENT,
  dump,
  ETHERTYPE,
  ethernet,
  frame,
  frame6,
  frameWith,
  host,
  icmp,
  icmp6,
  MULTICAST,
  NOBODY,
  PEER_MAC,
  PROTOCOL,
  ROUTER_MAC,
  raw,
  SERVER,
  tcp,
  text,
  udp,
  vlan,
} from '../helpers/packet.js';

const query = udp({ sport: 40000, dport: 53 });
const link = (type: number): Buffer =>
  build(ethernet({ src: PEER_MAC, dst: ROUTER_MAC, type }), raw(Buffer.alloc(46, 0x45)));
const linkLocal = host('link-local', '169.254.0.1', 'fe80::1');

const UNTRACKED: [string, string, Buffer][] = [
  ['UNTRACKED_ETHERTYPE', 'ARP', link(ETHERTYPE.arp)],
  ['UNTRACKED_ETHERTYPE', 'PPPoE', link(0x8864)],
  ['UNTRACKED_ETHERTYPE', 'MPLS', link(0x8847)],
  ['UNTRACKED_ETHERTYPE', 'an unknown type', link(0x88b5)],
  ['UNTRACKED_VLAN', 'a tag in the frame', frameWith({ vlans: [vlan({ id: 100 })] }, CLIENT, SERVER, query)],
  [
    'UNTRACKED_VLAN',
    'two tags in the frame',
    frameWith({ vlans: [vlan({ id: 5, tpid: ETHERTYPE.qinq }), vlan({ id: 100 })] }, CLIENT, SERVER, query),
  ],
  [
    'UNTRACKED_PROTO',
    'a neighbour solicitation to one host',
    frame6(CLIENT, SERVER, icmp6({ type: 135, code: 0, rest: 0 })),
  ],
  ['UNTRACKED_MULTICAST', 'multicast', frame(CLIENT, MULTICAST, udp({ sport: 5353, dport: 5353 }))],
  [
    'UNTRACKED_MULTICAST',
    'IGMP',
    frameWith({ ip: { protocol: PROTOCOL.igmp, ttl: 1 } }, CLIENT, MULTICAST, bytes(8)),
  ],
  ['UNTRACKED_MULTICAST', 'limited broadcast', frame(CLIENT, BROADCAST, udp({ sport: 67, dport: 68 }))],
  [
    'UNTRACKED_MULTICAST',
    'no source address (DHCP)',
    frame(NOBODY, BROADCAST, udp({ sport: 68, dport: 67 })),
  ],
  ['UNTRACKED_MULTICAST', 'IPv6 multicast', frame6(CLIENT, MULTICAST, udp({ sport: 5353, dport: 5353 }))],
  ['UNTRACKED_MULTICAST', 'IPv6 link-local', frame6(linkLocal, SERVER, query)],
];

withDatapath(async (t, datapath) => {
  await t.test('passes untouched at both hooks, counted once, and leaves nothing', async (t) => {
    for (const [reason, name, packet] of UNTRACKED) {
      if (!datapath.showsAsGiven(packet)) {
        t.pass(`${name}: real interfaces take the tag out before the hook, see below`);
        continue;
      }
      datapath.configure();
      for (const at of [
        { hook: 'ingress', at: 'lan0' },
        { hook: 'egress', at: 'wan0', from: 'lan0' },
      ] as const) {
        const result = datapath.step({ ...at, packet, mark: 0x1234 });
        t.equal(result.verdict, 'pass', `${name}, ${at.hook}: ${dump(packet)}`);
        t.equal(result.packet.toString('hex'), packet.toString('hex'), `${name}: untouched`);
        t.equal(result.mark, 0x1234, `${name}: mark`);
      }
      t.strictSame(
        datapath.metrics(),
        {
          [`${reason} ingress`]: { packets: 1, bytes: packet.length },
          [`${reason} egress`]: { packets: 1, bytes: packet.length },
        },
        name,
      );
      t.strictSame([datapath.keys(4), datapath.keys(6)], [0, 0], name);
    }
  });

  await t.test(
    "a tag beside the frame: another VLAN's passes with its tag, a priority tag is no VLAN",
    async (t) => {
      const packet = frame(CLIENT, SERVER, query, text('tagged'));
      for (const protocol of [ETHERTYPE.vlan, ETHERTYPE.qinq]) {
        datapath.configure();
        const tagged = datapath.step({
          hook: 'egress',
          at: 'wan0',
          from: 'lan0',
          packet,
          vlan: { protocol, tci: 0x6064 },
        });
        t.equal(tagged.verdict, 'pass');
        t.strictSame(tagged.vlan, { protocol, tci: 0x6064 });
        t.equal(tagged.packet.toString('hex'), packet.toString('hex'));
        t.strictSame(datapath.reasons(), { 'UNTRACKED_VLAN egress': 1 });
      }
      datapath.configure();
      const priority = datapath.step({
        hook: 'egress',
        at: 'wan0',
        from: 'lan0',
        packet,
        vlan: { protocol: ETHERTYPE.vlan, tci: 0x6000 },
      });
      t.equal(priority.verdict, 'pass');
      t.strictSame(priority.vlan, { protocol: ETHERTYPE.vlan, tci: 0x6000 });
      t.strictSame(datapath.reasons(), { 'FORWARDED egress': 1 });
    },
  );

  await t.test('what a bridge or a promiscuous interface hears is not ours', async (t) => {
    for (const mac of ['02:00:00:00:00:77', 'ff:ff:ff:ff:ff:ff', '01:00:5e:00:00:01']) {
      datapath.configure();
      const packet = frameWith({ mac }, CLIENT, SERVER, query);
      const result = datapath.step({ hook: 'ingress', at: 'lan0', packet });
      t.equal(result.verdict, 'pass', mac);
      t.equal(result.packet.toString('hex'), packet.toString('hex'));
      t.strictSame(datapath.reasons(), { 'UNTRACKED_MULTICAST ingress': 1 }, mac);
    }
  });

  await t.test('what is of no flow passes where nothing is translated, and is counted', async (t) => {
    datapath.configure({ interfaces: { lan0: {}, wan0: {} } });
    for (const packet of [
      frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'R' })),
      frame(CLIENT, SERVER, icmp({ type: 0, code: 0, rest: 5 })),
      frame(
        CLIENT,
        SERVER,
        icmp({ type: 3, code: 1, rest: 0 }),
        raw(frame(SERVER, CLIENT, query).subarray(14)),
      ),
    ]) {
      const result = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet });
      t.equal(result.verdict, 'pass', dump(packet));
      t.equal(result.packet.toString('hex'), packet.toString('hex'));
    }
    t.strictSame(datapath.reasons(), { 'PASSED_INVALID egress': 3 });
    t.strictSame(datapath.flows(), []);
  });

  await t.test('mark, TTL and type of service of a translated packet are its own', async (t) => {
    datapath.configure();
    const given = frameWith(
      { ip: { ttl: 1, tos: 0xb8, id: 4711, df: true } },
      CLIENT,
      SERVER,
      query,
      text('x'),
    );
    const result = datapath.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet: given, mark: 0xabcd });
    t.equal(result.mark, 0xabcd);
    t.equal(result.packet[22], 1, 'TTL');
    t.equal(result.packet[15], 0xb8, 'type of service');
    t.equal(result.packet.readUInt16BE(18), 4711, 'identification');
  });
});
