// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Frames with tags at an interface that is attached: a VLAN's belong to the interface above it and are left alone, a
// priority tag hides nothing.
import t from 'tap';
import type { Ctnat } from '../helpers/ctnat.js';
import { CTNAT_ONLY } from '../helpers/nat.js';
import { dump, find, parse, raw, udp, type Vlan, verify, vlan } from '../helpers/packet.js';
import { scene } from '../helpers/scene.js';
import { Wire } from '../helpers/wire.js';

const PORT = 40_000;
t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file

const TAGS: readonly (readonly [name: string, tags: Vlan[]])[] = [
  ['one tag', [vlan({ id: 20, tpid: 0x8100 })]],
  ['two tags (QinQ)', [vlan({ id: 10, tpid: 0x88a8 }), vlan({ id: 20, tpid: 0x8100 })]],
];

for (const family of [4, 6] as const) {
  for (const [name, tags] of TAGS) {
    t.test(
      `IPv${family}: frames with ${name} cross attached interfaces as they are`,
      { skip: CTNAT_ONLY },
      async (t) => {
        const scenery = await scene(t, { ipv6: true });
        const ctnat = scenery.nat as Ctnat;
        await ctnat.run(['attach', 'port0', 'port1']);
        const wire = await Wire.of(scenery, family);
        const datagram = [udp({ sport: PORT, dport: 53 }), raw(Buffer.from('tagged'))];
        const given = wire.betweenClients(datagram, { tags });
        const untagged = wire.betweenClients(datagram);

        // tcpdump's own word for tags would move what else its filter looks at
        const passed = await wire.across(`ether src ${wire.macs.clients[0]}`, [given]);
        t.strictSame(
          passed.filter((frame) => find(parse(frame), 'vlan')).map((frame) => frame.toString('hex')),
          [given.toString('hex')],
          'byte for byte',
        );
        t.strictSame(await ctnat.flows(), [], 'it is of no flow of these interfaces');
        const left = await wire.out('udp', [wire.fromClient(0, datagram, { tags })]);
        t.strictSame(left, [], 'no interface of that VLAN is there to route it');
        const counted = (await ctnat.metrics()).filter(({ reason }) => reason === 'untracked_vlan');
        t.ok(
          counted.some(({ packets }) => packets > 0),
          'and it is counted',
        );
        t.strictSame(await ctnat.flows(), []);

        await wire.across('udp port 53', [untagged]);
        t.match(await ctnat.flows(), [{ proto: 'udp', original: { sport: PORT } }], 'without tags it is one');
      },
    );
  }

  t.test(`IPv${family}: a priority tag is no VLAN`, { skip: CTNAT_ONLY }, async (t) => {
    const scenery = await scene(t, { ipv6: true });
    const ctnat = scenery.nat as Ctnat;
    const wire = await Wire.of(scenery, family);
    const tags = [vlan({ id: 0, priority: 5, tpid: 0x8100 })];
    const given = wire.fromClient(0, [udp({ sport: PORT, dport: 99 }), raw(Buffer.from('tag 0'))], { tags });
    const [left, ...more] = await wire.out('udp port 99', [given]);
    t.strictSame(more, []);
    t.strictSame(verify(left!), [], dump(left!));
    t.equal((find(parse(left!), 'ipv4') ?? find(parse(left!), 'ipv6'))?.src, wire.outside);
    t.match(await ctnat.flows(), [{ proto: 'udp', original: { sport: PORT, packets: 1 } }]);
  });
}
