// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { test } from 'tap';
import {
  isSameRule,
  NatRuleError,
  type NatRuleText,
  natRuleJson,
  natRuleText,
  parseNatRule,
} from '../../src/nat-rule.js';
import { formatTarget, parseTarget } from '../../src/nat-target.js';
import { parseProtocol, protocolName } from '../../src/protocol.js';

const SNAT = { kind: 'snat', ifname: 'eth0', to: 'masquerade' } as const;
const REDIRECT: NatRuleText = { kind: 'redirect', ifname: 'lan0', proto: 'tcp', dport: '80', to: '3128' };
const NETMAP: NatRuleText = { kind: 'netmap', ifname: 'eth0', src: '10.5.0.0/24', to: '198.51.100.0/24' };
const DNAT = { kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport: '8080', to: '10.0.0.2:80' } as const;

test('targets come back as they were written', async (t) => {
  for (const text of [
    'masquerade',
    'masquerade:1024-2047',
    '198.51.100.4',
    '198.51.100.4:80',
    '198.51.100.4-198.51.100.7',
    '198.51.100.4-198.51.100.7:20000-29999',
    '2001:db8::1',
    '2001:db8::1-2001:db8::9',
    '[2001:db8::1]:80',
    '[2001:db8::1]-[2001:db8::9]:80-90',
  ]) {
    t.equal(formatTarget(parseTarget(text)), text);
  }
  t.equal(formatTarget(parseTarget('[2001:db8::1-2001:db8::9]:80')), '[2001:db8::1]-[2001:db8::9]:80');
  t.equal(formatTarget(parseTarget('[2001:db8::1]')), '2001:db8::1');
  t.equal(formatTarget(parseTarget('10.0.0.1-10.0.0.1')), '10.0.0.1');
});

test('targets that are none are refused', async (t) => {
  for (const [text, message] of [
    ['', /invalid target/],
    ['10.0.0.1-', /invalid target/],
    ['10.0.0.1-10.0.0.2-10.0.0.3', /invalid target/],
    ['10.0.0.2-10.0.0.1', /upside down/],
    ['10.0.0.1-::1', /mixes IPv4 and IPv6/],
    ['10.0.0.1:0', /out of range/],
    ['10.0.0.1:65536', /out of range/],
    ['10.0.0.1:9-8', /upside down/],
    ['10.0.0.1:', /invalid port/],
    ['masquerade:', /invalid port/],
    ['masquerade!', /invalid address/],
    ['[::1', /invalid address/],
  ] as const) {
    t.throws(() => parseTarget(text), { name: 'RangeError', message }, text);
  }
});

test('a rule says what it restricts, and its text makes the same rule again', async (t) => {
  for (const [text, line] of [
    [SNAT, 'snat -o eth0 --to masquerade'],
    [
      { ...SNAT, to: '198.51.100.4-198.51.100.7:20000-29999, 203.0.113.9' },
      'snat -o eth0 --to 198.51.100.4-198.51.100.7:20000-29999,203.0.113.9',
    ],
    [
      { ...SNAT, to: '2001:db8::1,[2001:db8::2]:80', spill: true },
      'snat -o eth0 --to 2001:db8::1,[2001:db8::2]:80 --spill',
    ],
    [{ ...SNAT, family: 'ipv6' }, 'snat -o eth0 -f ipv6 --to masquerade'],
    [
      { ...SNAT, src: 'fd00::1/8', to: 'masquerade:1024-2047' },
      'snat -o eth0 -s fd00::/8 --to masquerade:1024-2047',
    ],
    [
      {
        ...SNAT,
        src: '10.1.2.3/16',
        dst: '192.0.2.1',
        proto: 'udp',
        to: '198.51.100.4-198.51.100.7:20000-29999',
      },
      'snat -o eth0 -s 10.1.0.0/16 -d 192.0.2.1 -p udp --to 198.51.100.4-198.51.100.7:20000-29999',
    ],
    [{ ...SNAT, proto: 'icmp', to: '198.51.100.4:1-9' }, 'snat -o eth0 -p icmp --to 198.51.100.4:1-9'],
    [DNAT, 'dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80'],
    [
      { ...DNAT, to: '10.0.0.2-10.0.0.5', mark: '16/0xf0' },
      'dnat -i eth0 -p tcp --dport 8080 --mark 0x10/0xf0 --to 10.0.0.2-10.0.0.5',
    ],
    [
      { ...DNAT, to: '10.0.0.2:80, 10.0.0.9-10.0.0.10:8080' },
      'dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80,10.0.0.9-10.0.0.10:8080',
    ],
    [REDIRECT, 'redirect -i lan0 -p tcp --dport 80 --to 3128'],
    [NETMAP, 'netmap -o eth0 -s 10.5.0.0/24 --to 198.51.100.0/24'],
    [
      { ...NETMAP, src: 'fd00:5::/48', to: '2001:db8:5::/48', neutral: true },
      'netmap -o eth0 -s fd00:5::/48 --to 2001:db8:5::/48 --neutral',
    ],
    [{ ...DNAT, dport: '1-5', to: '10.0.0.2:11-15' }, 'dnat -i eth0 -p tcp --dport 1-5 --to 10.0.0.2:11-15'],
    [{ ...DNAT, dport: '1-5' }, 'dnat -i eth0 -p tcp --dport 1-5 --to 10.0.0.2:80'],
    [{ ...DNAT, to: '[fd00::2]:80' }, 'dnat -i eth0 -p tcp --dport 8080 --to [fd00::2]:80'],
  ] as const satisfies readonly (readonly [NatRuleText, string])[]) {
    const rule = parseNatRule(text);
    t.equal(natRuleText(rule), line);
    const { kind, iface, to, dport, id: _id, ...rest } = natRuleJson(rule);
    const again = parseNatRule({
      kind: kind === 'masquerade' ? 'snat' : kind,
      ifname: iface,
      to,
      ...(dport !== undefined && { dport: String(dport) }),
      ...rest,
    });
    t.same(again, rule, `${line} by its JSON`);
    t.ok(isSameRule(rule, { ...again, id: 9 }));
  }
});

test('a rule whose parts do not fit names the part', async (t) => {
  for (const [text, part, message] of [
    [{ ...SNAT, ifname: '' }, 'ifname', /invalid interface name ""/],
    [{ ...SNAT, ifname: 'sixteen-letters-' }, 'ifname', /1 to 15 bytes/],
    [{ ...SNAT, src: 'x' }, 'src', /invalid address "x"/],
    [{ ...SNAT, src: '10.0.0.0/8', dst: 'fd00::/8' }, 'dst', /mixes ipv4 and ipv6/],
    [{ ...SNAT, src: 'fd00::/8', to: '198.51.100.4' }, 'src', /mixes ipv4 and ipv6/],
    [{ ...SNAT, family: 'ipv6', to: '198.51.100.4' }, 'to', /mixes ipv6 and ipv4/],
    [{ ...SNAT, proto: 'tpc' }, 'proto', /did you mean tcp/],
    [{ ...SNAT, proto: 'esp', to: '198.51.100.4:5' }, 'to', /esp has no ports/],
    [{ ...SNAT, to: '224.0.0.1' }, 'to', /no address that a host can have/],
    [{ ...SNAT, dport: '80' }, 'dport', /needs a protocol with ports/],
    [{ ...SNAT, to: '198.51.100.4,masquerade' }, 'to', /not one of several/],
    [{ ...SNAT, to: '198.51.100.4,2001:db8::1' }, 'to', /mixes IPv4 and IPv6/],
    [{ ...SNAT, to: '198.51.100.4,198.51.100.1-198.51.100.9' }, 'to', /198\.51\.100\.4 is in the pool twice/],
    [{ ...SNAT, to: '198.51.100.4:1-9,198.51.100.4:9-20' }, 'to', /twice with the same ports/],
    [{ ...SNAT, to: '10.0.0.0-10.0.31.255,10.1.0.0' }, 'to', /at most 8192/],
    [{ ...SNAT, to: '198.51.100.4,224.0.0.1' }, 'to', /no address that a host can have/],
    [{ ...SNAT, proto: 'esp', to: '198.51.100.4:5,198.51.100.5' }, 'to', /esp has no ports/],
    [{ ...SNAT, spill: true }, 'spill', /only snat to a pool/],
    [{ ...DNAT, spill: true }, 'spill', /only snat to a pool/],
    [{ ...DNAT, to: '10.0.0.2:80,10.0.0.2:80' }, 'to', /10\.0\.0\.2 is in the pool twice/],
    [{ ...DNAT, to: '10.0.0.2,masquerade' }, 'to', /not one of several/],
    [{ ...DNAT, dport: '1-5', to: '10.0.0.2:11-15,10.0.0.3:1-4' }, 'to', /to 1-4 has 4/],
    [{ ...DNAT, to: 'masquerade' }, 'to', /give dnat an address/],
    [{ ...DNAT, mark: '0x100/0xff' }, 'mark', /matches nothing/],
    [{ ...DNAT, neutral: true }, 'neutral', /only netmap/],
    [{ kind: 'redirect', ifname: 'lan0', proto: 'tcp', to: '80' }, 'dport', /a redirect rule needs dport/],
    [{ ...REDIRECT, to: '10.0.0.1:80' }, 'to', /invalid port/],
    [{ kind: 'netmap', ifname: 'eth0', to: '198.51.100.0/24' }, 'src', /netmap needs src/],
    [{ ...NETMAP, to: '198.51.100.0/25' }, 'to', /src has 24 bits, to has 25/],
    [{ ...NETMAP, neutral: true }, 'neutral', /of IPv6/],
    [{ ...DNAT, dport: '1-5', to: '10.0.0.2:1-4' }, 'to', /dport 1-5 has 5 ports, to 1-4 has 4/],
    [{ ...DNAT, proto: 'icmp' }, 'dport', /needs a protocol with ports/],
    [{ ...DNAT, dport: '0' }, 'dport', /out of range/],
    [{ kind: 'dnat', ifname: 'eth0', to: '10.0.0.2' }, 'proto', /needs a protocol/],
    [{ kind: 'dnat', ifname: 'eth0', proto: 'tcp', to: '10.0.0.2' }, 'dport', /needs dport/],
  ] as const satisfies readonly (readonly [NatRuleText, string, RegExp])[]) {
    try {
      parseNatRule(text);
      t.fail(`${JSON.stringify(text)} was accepted`);
    } catch (error) {
      t.match(error, { part, message }, JSON.stringify(text));
      t.ok(error instanceof NatRuleError);
    }
  }
});

test('rules that differ in anything are not the same', async (t) => {
  const rule = parseNatRule(SNAT);
  for (const other of [
    { ...SNAT, ifname: 'eth1' },
    { ...SNAT, src: '10.0.0.0/8' },
    { ...SNAT, family: 'ipv6' },
  ] as const) {
    t.notOk(isSameRule(rule, parseNatRule(other)));
  }
});

test('protocols are known by name, alias and number', async (t) => {
  for (const [name, number] of [
    ['tcp', 6],
    ['UDP', 17],
    ['icmpv6', 58],
    ['ipv6-icmp', 58],
    ['sctp', 132],
    ['udplite', 136],
    ['dccp', 33],
    ['gre', 47],
    ['esp', 50],
    ['ah', 51],
    ['igmp', 2],
    ['0', 0],
    ['255', 255],
  ] as const) {
    t.equal(parseProtocol(name), number, name);
  }
  t.equal(protocolName(6), 'tcp');
  t.equal(protocolName(58), 'icmpv6');
  t.equal(protocolName(200), '200');
  for (const name of ['', '256', '-1', '6.0', 'tpc', 'constructor']) {
    t.throws(() => parseProtocol(name), { message: /unknown protocol/ }, name);
  }
});
