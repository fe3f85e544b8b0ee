// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// ICMP types that are neither query, answer nor error: no flow, INVALID as with Netfilter, and never out of a
// masquerading interface with an inside address (invariant 3).
import { walk, withDatapath } from '../helpers/datapath/table.js';
import { CLIENT, frame, frame6, icmp, icmp6, ROUTER_WAN, SERVER } from '../helpers/packet.js';

const NEITHER4 = [1, 2, 6, 9, 10, 19, 30, 40, 255];
const NEITHER6 = [138, 139, 141, 144, 150, 255];

withDatapath(async (t, datapath) => {
  await t.test('from a client they are dropped, from the router itself they leave', async (t) => {
    datapath.configure();
    const from4 = (type: number, host: typeof CLIENT): Buffer =>
      frame(host, SERVER, icmp({ type, code: 0, rest: 7 }));
    const from6 = (type: number, host: typeof CLIENT): Buffer =>
      frame6(host, SERVER, icmp6({ type, code: 0, rest: 7 }));
    for (const [types, make] of [
      [NEITHER4, from4],
      [NEITHER6, from6],
    ] as const) {
      for (const type of types) {
        t.equal(walk(datapath, 'out', make(type, CLIENT)).verdict, 'drop', `type ${type} of a client`);
        t.equal(walk(datapath, 'self', make(type, ROUTER_WAN)).verdict, 'pass', `type ${type} of the router`);
      }
    }
    t.strictSame([...datapath.flows(4), ...datapath.flows(6)], []);
    const count = NEITHER4.length + NEITHER6.length;
    t.match(datapath.reasons(), {
      'DROP_INVALID egress': count,
      'PASSED_INVALID ingress': count,
      'PASSED_INVALID egress': count,
    });
  });

  await t.test('where nothing is translated they pass as they came', async (t) => {
    datapath.configure({ interfaces: { lan0: { ip4: '10.0.0.1' }, wan0: { ip4: '198.51.100.1' } } });
    const packet = frame(CLIENT, SERVER, icmp({ type: 9, code: 0, rest: 7 }));
    const walked = walk(datapath, 'out', packet);
    t.equal(walked.verdict, 'pass');
    t.equal(walked.packet.toString('hex'), packet.toString('hex'));
    t.strictSame(datapath.flows(4), []);
  });
});
