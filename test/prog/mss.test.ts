// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// MSS clamping: SYN and SYN+ACK of both families are lowered, with the right checksum, wherever the option stands;
// nothing is ever raised, and nothing else is touched.
import type { Test } from 'tap';
import { MSS_OF_PATH } from '../../src/generated/layouts.gen.js';
import { check, withDatapath } from '../helpers/datapath/table.js';
import {
  bytes,
  CLIENT,
  frame,
  frame6,
  type Host,
  ROUTER_WAN,
  SERVER,
  synOptions,
  tcp,
} from '../helpers/packet.js';

const FAMILIES = [
  ['IPv4', frame, 40],
  ['IPv6', frame6, 60],
] as const;

const wan = (mss: number, mtu = 1500) => ({
  interfaces: {
    lan0: { mtu: 1500 },
    wan0: { masquerade: 'all' as const, ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6, mss, mtu },
  },
});

withDatapath(async (t, datapath) => {
  for (const [family, build, headers] of FAMILIES) {
    const syn = (from: Host, options: Uint8Array): Buffer =>
      build(from, SERVER, tcp({ sport: 40000, dport: 80, seq: 1, flags: 'S', options }));
    const synAck = (to: Host, options: Uint8Array): Buffer =>
      build(SERVER, to, tcp({ sport: 80, dport: 40000, seq: 9, ack: 2, flags: 'SA', options }));
    const crosses = (t: Test, offered: number, becomes: number): void => {
      const [given, expected] = [synOptions({ mss: offered }), synOptions({ mss: becomes })];
      const out = { path: 'out', given: syn(CLIENT, given), expect: syn(ROUTER_WAN, expected) } as const;
      check(t, datapath, out, `SYN ${offered}`);
      const back = {
        path: 'back',
        given: synAck(ROUTER_WAN, given),
        expect: synAck(CLIENT, expected),
      } as const;
      check(t, datapath, back, `SYN+ACK ${offered}`);
    };

    await t.test(`${family}: a fixed number`, async (t) => {
      for (const [offered, becomes] of [
        [1460, 1200],
        [65535, 1200],
        [1201, 1200],
        [1200, 1200],
        [536, 536],
        [0, 0],
      ] as const) {
        datapath.configure(wan(1200));
        crosses(t, offered, becomes);
      }
    });

    await t.test(`${family}: what the path leaves room for`, async (t) => {
      datapath.configure(wan(MSS_OF_PATH, 1400));
      crosses(t, 1460, 1400 - headers);
      datapath.configure({
        interfaces: { ...wan(MSS_OF_PATH).interfaces, lan0: { mtu: 1300 } },
      });
      const offered = synOptions({ mss: 1460 });
      const becomes = synOptions({ mss: 1300 - headers });
      check(
        t,
        datapath,
        { path: 'out', given: syn(CLIENT, offered), expect: syn(ROUTER_WAN, becomes) },
        'the way it came by is the narrow one',
      );
    });

    await t.test(`${family}: wherever the option stands, whatever else does`, async (t) => {
      const mss = (value: number): number[] => [2, 4, value >> 8, value & 255];
      const layouts: Record<string, (value: number) => number[]> = {
        alone: (value) => mss(value),
        'at an odd place': (value) => [1, ...mss(value), 1, 1, 1],
        'behind window scale and SACK': (value) => [3, 3, 7, 4, 2, ...mss(value), 1, 1, 1],
        'behind a timestamp': (value) => [8, 10, 1, 2, 3, 4, 5, 6, 7, 8, ...mss(value), 1, 1],
        'last of forty bytes': (value) => [254, 36, ...Array(34).fill(0xff), ...mss(value)],
      };
      for (const [name, options] of Object.entries(layouts)) {
        datapath.configure(wan(1000));
        const given = syn(CLIENT, Buffer.from(options(1460)));
        check(t, datapath, { path: 'out', given, expect: syn(ROUTER_WAN, Buffer.from(options(1000))) }, name);
      }
      for (const [name, options] of Object.entries({
        none: [1, 1, 1, 1],
        'behind the end': [0, 2, 4, 5, 180, 0, 0, 0],
        'cut off': [1, 1, 1, 1, 1, 1, 2, 4],
        'of another length': [2, 3, 255, 1],
        'an option without length': [5, 0, 2, 4, 5, 180, 0, 0],
      })) {
        datapath.configure(wan(1000));
        const given = syn(CLIENT, Buffer.from(options));
        check(t, datapath, { path: 'out', given, expect: syn(ROUTER_WAN, Buffer.from(options)) }, name);
      }
    });

    await t.test(`${family}: segments without SYN stay, and interfaces without the option`, async (t) => {
      datapath.configure(wan(1000));
      crosses(t, 1460, 1000);
      const options = synOptions({ mss: 1460 });
      const ack = (from: Host): Buffer =>
        build(from, SERVER, tcp({ sport: 40000, dport: 80, seq: 2, ack: 10, flags: 'A', options }), bytes(9));
      check(t, datapath, { path: 'out', given: ack(CLIENT), expect: ack(ROUTER_WAN) }, 'ACK');
      datapath.configure();
      crosses(t, 1460, 1460);
    });
  }
});
