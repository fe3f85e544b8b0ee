// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What the datapath is told of an attached interface.
import { test } from 'tap';
import { IfaceFlags, NatMappingMode } from '../../src/generated/layouts.gen.js';
import { ifaceEntry } from '../../src/iface-entry.js';
import { filteringFor, type InterfaceConfig, mappingForAll } from '../../src/interface-config.js';
import { parseNatRule } from '../../src/nat-rule.js';

const { MASQUERADE4, MASQUERADE6, SNAT4, SNAT6 } = IfaceFlags;
const APDM = { mapping: mappingForAll('apdm'), filtering: filteringFor(mappingForAll('apdm')) };
const NONE = { ipv4: undefined, ipv6: undefined };

function eth0(more: Partial<InterfaceConfig> = {}): InterfaceConfig {
  return { name: 'eth0', masquerade: false, mode: 'auto', ...APDM, ...more };
}

function flags(
  masquerade: InterfaceConfig['masquerade'],
  ...rules: ReturnType<typeof parseNatRule>[]
): number {
  return ifaceEntry(eth0({ masquerade }), rules, NONE).flags;
}

test('masquerade by family, and with it that nothing leaves unjudged', async (t) => {
  t.equal(flags(false), 0);
  t.equal(flags(4), MASQUERADE4 | SNAT4);
  t.equal(flags(6), MASQUERADE6 | SNAT6);
  t.equal(flags('all'), MASQUERADE4 | MASQUERADE6 | SNAT4 | SNAT6);
});

test('a source rule of this interface does the latter for its family; others do not', async (t) => {
  const snat = (ifname: string, to: string) => parseNatRule({ kind: 'snat', ifname, to });
  const dnat = parseNatRule({ kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport: '80', to: '10.0.0.2' });
  t.equal(flags(false, snat('eth0', '198.51.100.4')), SNAT4);
  t.equal(flags(false, snat('eth0', '2001:db8::4')), SNAT6);
  t.equal(flags(false, snat('eth1', '198.51.100.4'), dnat), 0);
});

test('addresses in network order, ports and mapping', async (t) => {
  const config = eth0({
    ports: [
      { min: 1024, max: 2047 },
      { min: 5000, max: 5001 },
    ],
    mapping: { udp: 'eim', tcp: 'apdm', icmp: 'apdm' },
  });
  t.match(ifaceEntry(config, [], { ipv4: '198.51.100.1', ipv6: '2001:db8::5' }), {
    addr4: 0xc6336401,
    addr6: [0x20010db8, 0, 0, 5],
    portMin: [1024, 5000, 0, 0],
    portMax: [2047, 5001, 0, 0],
    portRanges: 2,
    mappingUdp: NatMappingMode.EIM,
    mappingTcp: NatMappingMode.APDM,
    name: 'eth0',
  });
  t.match(ifaceEntry(eth0({ mss: 'pmtu' }), [], NONE, 65_536), { mss: 0xffff, mtu: 65_535 });
  t.match(ifaceEntry(eth0({ mss: 1452 }), [], NONE, 1500), { mss: 1452, mtu: 1500 });
  t.match(ifaceEntry(eth0(), [], NONE), { mss: 0, addr4: 0, addr6: [0, 0, 0, 0], portRanges: 0 });
});
