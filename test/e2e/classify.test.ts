// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What kind of NAT it is, found out from outside (RFC 4787, RFC 5382), and asserted: for ctnat as it is
// without further options, and for Netfilter's masquerade with CTNAT_E2E_NAT=nftables.

import t from 'tap';
import { classifyRefresh, classifyTcpMapping, classifyUdp } from '../helpers/classify.js';
import { CTNAT_ONLY, NAT_KIND } from '../helpers/nat.js';
import { scene } from '../helpers/scene.js';
import { slowly } from '../helpers/wait.js';

const EXPECTED = {
  ctnat: { mapping: 'address-and-port-dependent', filtering: 'address-and-port-dependent' },
  // Netfilter gives a host's port the outside port that it has already, where that one is free toward the new
  // destination (find_appropriate_src in net/netfilter/nf_nat_core.c): as good as endpoint-independent here.
  nftables: { mapping: 'endpoint-independent', filtering: 'address-and-port-dependent' },
}[NAT_KIND];

const SCOPES = {
  eif: 'endpoint-independent',
  adf: 'address-dependent',
  apdf: 'address-and-port-dependent',
} as const;

for (const filtering of ['eif', 'adf', 'apdf'] as const) {
  t.test(`endpoint-independent mapping, ${filtering}: UDP`, { skip: CTNAT_ONLY }, async (t) => {
    const lab = await scene(t, { servers: 2, filtering });
    t.setTimeout(slowly(120_000));
    const found = await classifyUdp(lab);
    t.comment(JSON.stringify(found));
    t.match(found, {
      mapping: 'endpoint-independent',
      filtering: SCOPES[filtering],
      hairpin: filtering === 'apdf' ? 'none' : 'external',
      preservation: true,
      overloading: false,
      portClass: true,
      parity: true,
      random: true,
    });
  });
}

t.test('endpoint-independent mapping: TCP', { skip: CTNAT_ONLY }, async (t) => {
  t.equal(await classifyTcpMapping(await scene(t, { servers: 2, filtering: 'eif' })), 'endpoint-independent');
});

t.test('endpoint-independent mapping: both directions keep it alive', { skip: CTNAT_ONLY }, async (t) => {
  const lab = await scene(t, { timeouts: { udp: 4, udpStream: 4 }, filtering: 'apdf' });
  t.setTimeout(slowly(120_000));
  t.same(await classifyRefresh(lab, 4), { outbound: true, inbound: true });
});

t.test(`${NAT_KIND} by default: UDP`, async (t) => {
  const lab = await scene(t, { servers: 2 });
  t.setTimeout(slowly(120_000));
  const found = await classifyUdp(lab);
  t.comment(JSON.stringify(found));
  t.match(found, {
    ...EXPECTED,
    hairpin: 'none',
    preservation: true,
    overloading: true,
    portClass: true,
    random: true,
  });
});

t.test(`${NAT_KIND} by default: TCP`, async (t) => {
  t.equal(await classifyTcpMapping(await scene(t, { servers: 2 })), EXPECTED.mapping);
});

t.test(`${NAT_KIND} by default: both directions keep a UDP mapping alive`, async (t) => {
  const lab = await scene(t, { timeouts: { udp: 4, udpStream: 4 } });
  t.setTimeout(slowly(120_000));
  t.same(await classifyRefresh(lab, 4), { outbound: true, inbound: true });
});
