// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// NAT rules as the datapath reads them.
import { test } from 'tap';
import { NatRuleFlags, NatRuleKind } from '../../src/generated/layouts.gen.js';
import { type NatRuleText, parseNatRule } from '../../src/nat-rule.js';
import { type RuleInterface, ruleEntries, rulePools } from '../../src/rule-entry.js';

const ETH0: RuleInterface = {
  ifindex: 7,
  addresses: { ipv4: ['198.51.100.1', '198.51.100.4'], ipv6: ['2001:db8::1'] },
};

const interfaceOf = (name: string): RuleInterface | undefined => (name === 'eth0' ? ETH0 : undefined);

function encode(...texts: NatRuleText[]) {
  return ruleEntries(
    texts.map((text, i) => ({ ...parseNatRule(text), id: i + 1 })),
    interfaceOf,
  );
}

test('a source rule: prefixes as value and mask, the address range and its ports', async (t) => {
  const to = '198.51.100.4-198.51.100.7:20000-29999';
  t.match(
    encode({ kind: 'snat', ifname: 'eth0', src: '10.1.2.3/16', dst: '192.0.2.0/24', proto: 'udp', to }),
    [
      {
        id: 1,
        kind: NatRuleKind.SNAT,
        family: 4,
        proto: 17,
        ifindex: 7,
        saddr: [0x0a010000, 0, 0, 0],
        smask: [0xffff0000, 0, 0, 0],
        daddr: [0xc0000200, 0, 0, 0],
        dmask: [0xffffff00, 0, 0, 0],
        dportMin: 0,
        dportMax: 65535,
        toPortMin: 20000,
        toPortMax: 29999,
        toMin: [0xc6336404, 0, 0, 0],
        toMax: [0xc6336407, 0, 0, 0],
      },
    ],
  );
});

test('a pool: its entries by address, and where a rule finds them', async (t) => {
  const rules = [
    { kind: 'snat', ifname: 'eth0', to: '192.0.2.1-192.0.2.2:1-9,192.0.2.1:20-29' },
    { kind: 'snat', ifname: 'eth0', src: '10.0.0.0/8', to: '198.51.100.4-198.51.100.5' },
    { kind: 'snat', ifname: 'eth0', src: '10.1.0.0/16', to: '198.51.100.6-198.51.100.7', spill: true },
  ] as const satisfies NatRuleText[];
  t.match(encode(...rules), [
    { kind: NatRuleKind.SNAT, poolFirst: 0, poolSize: 3, flags: 0 },
    { poolFirst: 0, poolSize: 0, toMin: [0xc6336404, 0, 0, 0] },
    { poolFirst: 3, poolSize: 2, flags: NatRuleFlags.SPILL },
  ]);
  t.strictSame(rulePools(rules.map((rule) => parseNatRule(rule))), [
    { addr: [0xc0000201, 0, 0, 0], portMin: 1, portMax: 9, place: 0, places: 2 },
    { addr: [0xc0000201, 0, 0, 0], portMin: 20, portMax: 29, place: 1, places: 2 },
    { addr: [0xc0000202, 0, 0, 0], portMin: 1, portMax: 9, place: 0, places: 1 },
    { addr: [0xc6336406, 0, 0, 0], portMin: 0, portMax: 0, place: 0, places: 1 },
    { addr: [0xc6336407, 0, 0, 0], portMin: 0, portMax: 0, place: 0, places: 1 },
  ]);
  const large = { kind: 'snat', ifname: 'eth0', to: '10.0.0.0-10.0.31.254,10.1.0.0' } as const;
  t.throws(() => rulePools([parseNatRule(large), parseNatRule(rules[2])]), /8192 is the limit/);
});

test('a list of backends is a pool, which a forward for several own addresses shares', async (t) => {
  const rules = [
    { kind: 'snat', ifname: 'eth0', to: '192.0.2.1:1-9,192.0.2.1:20-29' },
    {
      kind: 'dnat',
      ifname: 'eth0',
      proto: 'tcp',
      dport: '80',
      to: '10.0.0.2:80,10.0.0.9:8080,10.0.0.9:8081',
    },
  ] as const satisfies NatRuleText[];
  t.match(encode(...rules), [
    { id: 1 },
    { id: 2, daddr: [0xc6336401, 0, 0, 0], poolFirst: 2, poolSize: 3, flags: NatRuleFlags.HAIRPIN },
    { id: 2, daddr: [0xc6336404, 0, 0, 0], poolFirst: 2, poolSize: 3, flags: NatRuleFlags.HAIRPIN },
  ]);
  t.match(rulePools(rules.map((rule) => parseNatRule(rule))).slice(2), [
    { addr: [0x0a000002, 0, 0, 0], portMin: 80, portMax: 80 },
    { addr: [0x0a000009, 0, 0, 0], portMin: 8080, portMax: 8080 },
    { addr: [0x0a000009, 0, 0, 0], portMin: 8081, portMax: 8081 },
  ]);
});

test('a masquerade rule has no address, and ports only where they were given', async (t) => {
  t.match(encode({ kind: 'snat', ifname: 'eth0', to: 'masquerade' }), [
    { kind: NatRuleKind.MASQUERADE, smask: [0, 0, 0, 0], toPortMin: 0, toPortMax: 0, toMin: [0, 0, 0, 0] },
  ]);
  t.match(encode({ kind: 'snat', ifname: 'eth0', to: 'masquerade:1024-2047' }), [
    { toPortMin: 1024, toPortMax: 2047 },
  ]);
});

test('IPv6 fills all four words', async (t) => {
  t.match(encode({ kind: 'snat', ifname: 'eth0', src: 'fd00::/8', to: '2001:db8::9' }), [
    {
      family: 6,
      saddr: [0xfd000000, 0, 0, 0],
      smask: [0xff000000, 0, 0, 0],
      toMin: [0x20010db8, 0, 0, 9],
      toMax: [0x20010db8, 0, 0, 9],
    },
  ]);
});

test('a forward without a destination is for each own address, under one id', async (t) => {
  const entries = encode({ kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport: '8080', to: '10.0.0.2:80' });
  t.match(entries, [
    { id: 1, daddr: [0xc6336401, 0, 0, 0], dmask: [0xffffffff, 0, 0, 0], dportMin: 8080, dportMax: 8080 },
    { id: 1, daddr: [0xc6336404, 0, 0, 0], toPortMin: 80, toPortMax: 80, toMin: [0x0a000002, 0, 0, 0] },
  ]);
  t.equal(entries.length, 2);
});

test('a forward with a destination is for that alone', async (t) => {
  const text = { kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport: '80-89', dst: '198.51.100.9' } as const;
  const entries = encode({ ...text, to: '10.0.0.2' });
  t.match(entries, [
    { daddr: [0xc6336409, 0, 0, 0], dportMin: 80, dportMax: 89, toPortMin: 0, toPortMax: 0 },
  ]);
  t.equal(entries.length, 1);
});

test('a rule whose interface is not there has no entry, and the others keep their order and ids', async (t) => {
  const entries = encode(
    { kind: 'snat', ifname: 'gone0', to: 'masquerade' },
    { kind: 'snat', ifname: 'eth0', to: '198.51.100.4' },
  );
  t.same(
    entries.map(({ id }) => id),
    [2],
  );
});

test('more entries than a bank holds are refused with what they come from', async (t) => {
  const rules = Array.from({ length: 129 }, (_, i) => ({
    ...parseNatRule({ kind: 'dnat', ifname: 'eth0', proto: 'tcp', dport: String(1000 + i), to: '10.0.0.2' }),
    id: i + 1,
  }));
  t.equal(ruleEntries(rules.slice(1), interfaceOf).length, 256);
  t.throws(() => ruleEntries(rules, interfaceOf), /129 NAT rules.*258 of 256 entries/);
});
