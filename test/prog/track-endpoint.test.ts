// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Rules for tracking beside endpoint-independent mappings and limits of subscribers.

import { portsCounted } from '../helpers/datapath/control.js';
import { cross, flowMarks } from '../helpers/datapath/cross.js';
import { samePacket, withDatapath } from '../helpers/datapath/table.js';
import type { Setup } from '../helpers/datapath-fixture.js';
import {
  CLIENT,
  frame,
  frame6,
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

const WAN = { ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6, masquerade: 'all' } as const;

function gateway(wan: object, ...track: NonNullable<Setup['track']>): Setup {
  return { interfaces: { lan0: {}, wan0: { ...WAN, ...wan } }, track };
}

withDatapath(async (t, datapath) => {
  for (const [family, build, version] of FAMILIES) {
    const datagram = (from: Host, sport: number, to: Host, dport: number) =>
      build(from, to, udp({ sport, dport }), text('x'));

    await t.test(`${family}: flows of a mapping have their marks from their first packets on`, async (t) => {
      datapath.configure(
        gateway(
          { eim: 'eif' },
          { action: 'mark set 0x12', in: 'lan0' },
          { action: 'mark set 0x34', in: 'wan0', src: version === 4 ? '203.0.113.0/24' : '2001:db8:3::/64' },
          { action: 'mark restore', in: 'wan0' },
        ),
      );
      for (const to of [SERVER, SERVER2]) {
        const { egress } = cross(datapath, 'lan0', 'wan0', datagram(CLIENT, 40000, to, 53));
        samePacket(t, egress.packet, datagram(ROUTER_WAN, 40000, to, 53), 'by its mapping');
      }
      t.match(datapath.endpoints(version), [{ flows: 2 }]);
      t.strictSame(flowMarks(datapath, version), [0x12, 0x12]);
      const back = cross(datapath, 'wan0', 'lan0', datagram(SERVER, 53, ROUTER_WAN, 40000));
      t.equal(back.ingress.mark, 0x12, 'restored to an answer');

      const stranger = cross(datapath, 'wan0', 'lan0', datagram(STRANGER, 7, ROUTER_WAN, 40000));
      samePacket(t, stranger.egress.packet, datagram(STRANGER, 7, CLIENT, 40000), 'comes in by its filter');
      t.strictSame(flowMarks(datapath, version), [0x12, 0x12, 0x34]);
      t.equal(stranger.ingress.mark, 0x34, 'and is routed by it');
      t.match(datapath.endpoints(version), [{ flows: 3 }]);
    });

    await t.test(`${family}: what is not tracked opens no mapping and takes no port`, async (t) => {
      datapath.configure(
        gateway({ eim: 'eif', limits: { ports: 1 } }, { action: 'notrack', proto: 'udp', dport: '53' }),
      );
      for (const sport of [40000, 40001]) {
        const packet = datagram(CLIENT, sport, SERVER, 53);
        const { egress } = cross(datapath, 'lan0', 'wan0', packet);
        samePacket(t, egress.packet, packet, 'as it came');
      }
      t.strictSame(datapath.endpoints(version), []);
      t.strictSame(portsCounted(datapath), []);
      const tracked = (sport: number) =>
        cross(datapath, 'lan0', 'wan0', datagram(CLIENT, sport, SERVER, 54)).egress.verdict;
      t.equal(tracked(40000), 'pass');
      t.not(tracked(40001), 'pass', 'the limit is for what is tracked');
      t.strictSame(portsCounted(datapath), [1]);
    });

    await t.test(`${family}: a flow that is counted for its subscriber has its mark as others`, async (t) => {
      datapath.configure(gateway({ limits: { ports: 1 } }, { action: 'mark set 7', in: 'lan0' }));
      const out = (sport: number) =>
        cross(datapath, 'lan0', 'wan0', datagram(CLIENT, sport, SERVER, 53)).egress.verdict;
      t.equal(out(40000), 'pass');
      t.not(out(40001), 'pass');
      t.strictSame(flowMarks(datapath, version), [7]);
      t.strictSame(portsCounted(datapath), [1]);
    });
  }
});
