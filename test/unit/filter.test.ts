// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
import { test } from 'tap';
import {
  type FilterText,
  flowPredicate,
  isEmptyFilter,
  mappingPredicate,
  parseFamily,
  parseFilter,
} from '../../src/filter.js';
import type { Flow } from '../../src/flow.js';
import { exampleFlow, exampleMapping, pingFlow } from '../helpers/fake-product.js';

const TCP = exampleFlow();
const PING = pingFlow();
const IPV6 = exampleFlow({
  family: 'ipv6',
  state: 'SYN_SENT',
  iface: 'eth1',
  mark: 5,
  zone: 7,
  original: { src: 'fd00::2', dst: '2001:db8::9', sport: 5, dport: 443, packets: 1, bytes: 80 },
  reply: { src: '2001:db8::9', dst: '2001:db8::1', sport: 443, dport: 6, packets: 0, bytes: 0 },
});
const ALL: readonly (readonly [string, Flow])[] = [
  ['tcp', TCP],
  ['ping', PING],
  ['ipv6', IPV6],
];

test('a filter lets through the flows that match every field', async (t) => {
  for (const [text, names] of [
    [{}, 'tcp ping ipv6'],
    [{ family: 'ipv4' }, 'tcp ping'],
    [{ family: 'ipv6' }, 'ipv6'],
    [{ proto: 'tcp' }, 'tcp ipv6'],
    [{ proto: '1' }, 'ping'],
    [{ src: '10.0.0.2' }, 'tcp'],
    [{ src: '10.0.0.0/8' }, 'tcp ping'],
    [{ src: '10.0.0.2/31' }, 'tcp ping'],
    [{ src: '10.0.0.4/30' }, ''],
    [{ src: '0.0.0.0/0' }, 'tcp ping'],
    [{ src: '::/0' }, 'ipv6'],
    [{ src: 'fd00::/8' }, 'ipv6'],
    [{ src: 'fd00:0::2' }, 'ipv6'],
    [{ src: 'fe00::/8' }, ''],
    [{ dst: '192.0.2.9' }, 'tcp ping'],
    [{ dst: '192.0.2.0/24', proto: 'icmp' }, 'ping'],
    [{ sport: '40000' }, 'tcp'],
    [{ sport: '77' }, 'ping'],
    [{ dport: '77' }, 'ping'],
    [{ dport: '80' }, 'tcp'],
    [{ dport: '80-443' }, 'tcp ipv6'],
    [{ dport: '81' }, ''],
    [{ replySrc: '192.0.2.9', proto: 'tcp' }, 'tcp'],
    [{ replyDst: '198.51.100.1' }, 'tcp ping'],
    [{ replyDst: '198.51.100.0/28' }, 'tcp ping'],
    [{ replyDst: '10.0.0.2' }, ''],
    [{ replyDst: '2001:db8::/32' }, 'ipv6'],
    [{ mark: '5' }, 'ipv6'],
    [{ mark: '0x4/4' }, 'ipv6'],
    [{ mark: '0/0x2' }, 'tcp ping ipv6'],
    [{ zone: '7' }, 'ipv6'],
    [{ zone: '0' }, 'tcp ping'],
    [{ state: 'ESTABLISHED' }, 'tcp'],
    [{ state: 'established,syn_sent' }, 'tcp ipv6'],
    [{ state: 'TIME_WAIT', proto: 'tcp' }, ''],
    [{ iface: 'eth0' }, 'tcp ping'],
    [{ iface: 'eth0', proto: 'tcp', family: 'ipv4', src: '10.0.0.0/8', dport: '80' }, 'tcp'],
    [{ iface: 'eth1', proto: 'tcp', family: 'ipv6', dport: '80' }, ''],
  ] as const satisfies readonly (readonly [FilterText, string])[]) {
    const matches = flowPredicate(parseFilter(text));
    const found = ALL.filter(([, flow]) => matches(flow)).map(([name]) => name);
    t.equal(found.join(' '), names, JSON.stringify(text));
  }
});

test('the ends of an IPv4 prefix are inside, their neighbours are not', async (t) => {
  const matches = flowPredicate(parseFilter({ src: '10.0.16.0/20' }));
  const from = (src: string) => matches(exampleFlow({ original: { ...TCP.original, src } }));

  t.notOk(from('10.0.15.255'));
  t.ok(from('10.0.16.0'));
  t.ok(from('10.0.31.255'));
  t.notOk(from('10.0.32.0'));
  t.notOk(from('::'));
});

test('mappings match by the tuple of the flow that made them', async (t) => {
  const masquerade = exampleMapping({ state: 'ESTABLISHED' });
  const forward = exampleMapping({
    type: 'dnat',
    internal: { address: '10.0.0.2', port: 80 },
    external: { address: '198.51.100.1', port: 8080 },
    remote: { address: '203.0.113.5', port: 999 },
  });
  const shared = exampleMapping({ proto: 'udp', protonum: 17, remote: null });
  const all = [
    ['masquerade', masquerade],
    ['forward', forward],
    ['shared', shared],
  ] as const;
  for (const [text, names] of [
    [{}, 'masquerade forward shared'],
    [{ src: '10.0.0.2' }, 'masquerade shared'],
    [{ src: '203.0.113.5' }, 'forward'],
    [{ dst: '198.51.100.1', dport: '8080' }, 'forward'],
    [{ dst: '0.0.0.0/0' }, 'masquerade forward'],
    [{ dport: '80' }, 'masquerade'],
    [{ sport: '999' }, 'forward'],
    [{ replySrc: '10.0.0.2' }, 'forward'],
    [{ replyDst: '198.51.100.1' }, 'masquerade shared'],
    [{ proto: 'udp' }, 'shared'],
    [{ state: 'ESTABLISHED' }, 'masquerade'],
    [{ family: 'ipv6' }, ''],
    [{ iface: 'eth9' }, ''],
  ] as const satisfies readonly (readonly [FilterText, string])[]) {
    const matches = mappingPredicate(parseFilter(text));
    const found = all.filter(([, mapping]) => matches(mapping)).map(([name]) => name);
    t.equal(found.join(' '), names, JSON.stringify(text));
  }
});

test('a filter that can match nothing by its form is wrong usage and names the flag', async (t) => {
  for (const [text, message] of [
    [{ family: 'ipv5' }, /^--family: unknown family "ipv5" \(did you mean ipv4\?\)/],
    [{ proto: 'udpp' }, /^--proto: unknown protocol "udpp" \(did you mean udp\?\)/],
    [{ src: '10.0.0' }, /^--src: invalid address/],
    [{ replyDst: '10.0.0.0/99' }, /^--reply-dst: invalid prefix length/],
    [{ sport: '70000' }, /^--sport: port "70000" is out of range/],
    [{ dport: 'http' }, /^--dport: invalid port "http"/],
    [{ dport: '9-1' }, /^--dport: port range "9-1" is upside down/],
    [{ state: 'FOO' }, /^--state: unknown state "FOO"; give NONE, SYN_SENT/],
    [{ state: 'TIMEWAIT' }, /did you mean TIME_WAIT/],
    [{ state: 'ESTABLISHED,' }, /unknown state ""/],
    [{ state: 'ESTABLISHED', proto: 'udp' }, /udp has no states/],
    [{ state: 'COOKIE_WAIT', proto: 'tcp' }, /unknown state/],
    [{ family: 'ipv6', src: '10.0.0.1' }, /^--src: an ipv4 address can not match: the filter asks for ipv6/],
    [{ src: '10.0.0.1', dst: '::1' }, /^--dst: an ipv6 address can not match/],
  ] as const satisfies readonly (readonly [FilterText, RegExp])[]) {
    t.throws(() => parseFilter(text), { name: 'UsageError', status: 2, message }, JSON.stringify(text));
  }
});

test('families have several names', async (t) => {
  for (const name of ['ipv4', 'IPv4', '4', 'inet']) t.equal(parseFamily(name), 'ipv4');
  for (const name of ['ipv6', '6', 'inet6']) t.equal(parseFamily(name), 'ipv6');
});

test('a filter without fields is empty', async (t) => {
  t.ok(isEmptyFilter(parseFilter({})));
  t.notOk(isEmptyFilter(parseFilter({ iface: 'eth0' })));
});

test('marks and zones that are none are refused by the name of their flag', async (t) => {
  for (const text of [{ mark: 'x' }, { mark: '1/2/3' }, { mark: '4294967296' }, { mark: '1/' }]) {
    t.throws(() => parseFilter(text), { message: /^--mark: expected / }, JSON.stringify(text));
  }
  for (const zone of ['65536', '-1', ''])
    t.throws(() => parseFilter({ zone }), { message: /^--zone: expected / });
  t.equal(mappingPredicate(parseFilter({ zone: '0' }))(exampleMapping()), false, 'a mapping has no zone');
});
