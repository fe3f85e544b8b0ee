// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Configuration files, good and bad: what the good ones mean, and the exact line that a bad one gets.
import { execFileSync } from 'node:child_process';
import { readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { formatCidr } from '../../src/address.js';
import type { Config } from '../../src/config/config.js';
import { loadConfig, parseConfig } from '../../src/config/load.js';
import { MAX_CONFIG_BYTES } from '../../src/config/source.js';
import { SCHEMA_FILE } from '../../src/config/validate.js';
import { DEFAULT_TIMEOUTS, TIMEOUT_PRESETS } from '../../src/defaults.js';
import { ATTACH_MODES, MAPPING_MODES } from '../../src/interface-config.js';
import { natRuleText } from '../../src/nat-rule.js';
import { TIMEOUT_KEYS, TIMEOUT_NAMES } from '../../src/timeouts.js';
import { trackRuleText } from '../../src/track-rule.js';
import { packageFile } from '../../src/version.js';

const CONTRACT = `interfaces:
  - name: eth0
    masquerade: 4            # 4, 6, all or false
    mode: auto               # auto, tc, xdp
    mapping: { udp: eim, tcp: apdm, icmp: apdm }   # or one word for all
    ports: [1024-65535]
  - name: lan0
nat:
  - { dnat: { in: eth0, proto: tcp, dport: 8080, to: "10.0.0.2:80" } }
  - { snat: { out: eth0, src: 10.1.0.0/16, to: "198.51.100.4-198.51.100.7:20000-29999" } }
track:
  - { action: notrack, in: lan0, proto: udp, dport: 53 }
  - { action: mark set 0x1/0xff, in: lan0, src: 10.1.2.3/16 }
  - { action: mark restore, in: eth0, mark: 0, family: ipv6 }
exempt: [10.0.0.0/8]         # destinations that are never source-translated
timeouts:
  preset: rfc                # rfc (default), netfilter, cilium
  tcp: { established: 7440s }   # names after Netfilter's sysctls
tables: { flows: 262144 }
gc: { minInterval: 1s, maxInterval: 60s }
metrics: { listen: "127.0.0.1:9464" }
events: [{ file: /var/log/ctnat/events.jsonl, format: jsonl, types: [new, destroy] }]
`;

const read = (text: string) => parseConfig(text, 'f.yaml');

test('the contract example means what it says', async (t) => {
  const config = read(CONTRACT);

  t.same(config.interfaces, [
    {
      name: 'eth0',
      masquerade: 4,
      mode: 'auto',
      mapping: { udp: 'eim', tcp: 'apdm', icmp: 'apdm' },
      filtering: { udp: 'eif', tcp: 'apdf' },
      ports: [{ min: 1024, max: 65535 }],
    },
    {
      name: 'lan0',
      masquerade: false,
      mode: 'auto',
      mapping: { udp: 'apdm', tcp: 'apdm', icmp: 'apdm' },
      filtering: { udp: 'apdf', tcp: 'apdf' },
    },
  ]);
  t.same(config.rules.map(natRuleText), [
    'dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80',
    'snat -o eth0 -s 10.1.0.0/16 --to 198.51.100.4-198.51.100.7:20000-29999',
  ]);
  t.same(config.track.map(trackRuleText), [
    'notrack -i lan0 -p udp --dport 53',
    'set -i lan0 -s 10.1.0.0/16 --to 0x1/0xff',
    'restore -i eth0 -f ipv6 --mark 0x0',
  ]);
  t.same(config.exempt.map(formatCidr), ['10.0.0.0/8']);
  t.same(config.timeouts, DEFAULT_TIMEOUTS);
  t.same(config.tables, { flows4: 262144, flows6: 262144 });
  t.same(config.gc, { minIntervalMs: 1000, maxIntervalMs: 60_000 });
  t.same(config.metrics, { host: '127.0.0.1', port: 9464 });
  t.same(config.events, [
    { file: '/var/log/ctnat/events.jsonl', format: 'jsonl', types: ['new', 'destroy'] },
  ]);
});

test('a file that names nothing gets the defaults', async (t) => {
  t.same(read('interfaces: []\n'), {
    interfaces: [],
    rules: [],
    track: [],
    exempt: [],
    timeouts: TIMEOUT_PRESETS.rfc,
    tables: {},
    gc: { minIntervalMs: 1000, maxIntervalMs: 60_000 },
    events: [],
  });
});

test('the RFC preset holds what the RFCs ask for', async (t) => {
  const { tcpEstablished, udp, udpStream, icmp, ...rest } = DEFAULT_TIMEOUTS;

  t.equal(tcpEstablished, 7_440_000, 'RFC 5382 REQ-5');
  t.equal(udp, 120_000, 'RFC 4787 REQ-5');
  t.equal(udpStream, 300_000, 'RFC 4787 REQ-5c');
  t.equal(icmp, 60_000, 'RFC 5508 REQ-2');
  for (const name of TIMEOUT_NAMES) {
    if (name.startsWith('tcp') && name in rest)
      t.ok(DEFAULT_TIMEOUTS[name] >= 240_000, `${name}: RFC 5382 REQ-5`);
  }
});

const GOOD: Record<string, [text: string, check: (config: Config) => unknown, expected: unknown]> = {
  'JSON is YAML': ['{"interfaces": [{"name": "a"}]}', (c) => c.interfaces[0]?.name, 'a'],
  'a byte order mark': ['\uFEFFinterfaces: [{name: a}]', (c) => c.interfaces[0]?.name, 'a'],
  'carriage returns': ['interfaces:\r\n  - name: a\r\n', (c) => c.interfaces[0]?.name, 'a'],
  'a document marker': ['---\ninterfaces: [{name: a}]\n...\n', (c) => c.interfaces[0]?.name, 'a'],
  'an interface called no': ['interfaces: [{name: no}]', (c) => c.interfaces[0]?.name, 'no'],
  'masquerade 6': ['interfaces: [{name: a, masquerade: 6}]', (c) => c.interfaces[0]?.masquerade, 6],
  'masquerade all': ['interfaces: [{name: a, masquerade: all}]', (c) => c.interfaces[0]?.masquerade, 'all'],
  'masquerade false': [
    'interfaces: [{name: a, masquerade: false}]',
    (c) => c.interfaces[0]?.masquerade,
    false,
  ],
  'one mapping word': ['interfaces: [{name: a, mapping: eim}]', (c) => c.interfaces[0]?.mapping.icmp, 'eim'],
  'a mapping for one protocol': [
    'interfaces: [{name: a, mapping: {udp: eim}}]',
    (c) => c.interfaces[0]?.mapping,
    { udp: 'eim', tcp: 'apdm', icmp: 'apdm' },
  ],
  'one port': [
    'interfaces: [{name: a, ports: [4000]}]',
    (c) => c.interfaces[0]?.ports,
    [{ min: 4000, max: 4000 }],
  ],
  'several port ranges': [
    'interfaces: [{name: a, ports: [1024-9999, 20000-29999, 7]}]',
    (c) => c.interfaces[0]?.ports,
    [
      { min: 1024, max: 9999 },
      { min: 20000, max: 29999 },
      { min: 7, max: 7 },
    ],
  ],
  'an MSS of the path': ['interfaces: [{name: a, mss: pmtu}]', (c) => c.interfaces[0]?.mss, 'pmtu'],
  'past the stack': ['interfaces: [{name: a, redirect: true}]', (c) => c.interfaces[0]?.redirect, true],
  'a zone': ['interfaces: [{name: a, zone: 7}]', (c) => c.interfaces[0]?.zone, 7],
  limits: [
    'interfaces: [{name: a, limits: {ports: 2000, rate: 50, burst: 200, prefix: 56}}]',
    (c) => c.interfaces[0]?.limits,
    { ports: 2000, rate: 50, burst: 200, prefix: 56 },
  ],
  'an MSS in bytes': ['interfaces: [{name: a, mss: 1452}]', (c) => c.interfaces[0]?.mss, 1452],
  'a pool of several ranges': [
    'interfaces: [{name: a}]\nnat: [{snat: {out: a, to: ["198.51.100.4-198.51.100.7:20000-29999", 203.0.113.9], spill: true}}]',
    (c) => c.rules.map(natRuleText),
    ['snat -o a --to 198.51.100.4-198.51.100.7:20000-29999,203.0.113.9 --spill'],
  ],
  'netfilter timeouts': ['timeouts: {preset: netfilter}', (c) => c.timeouts.tcpEstablished, 432_000_000],
  'cilium timeouts': ['timeouts: {preset: cilium}', (c) => c.timeouts.tcpEstablished, 8_000_000],
  'a preset with one change': [
    'timeouts: {preset: netfilter, tcp: {time_wait: 2m}}',
    (c) => [c.timeouts.tcpTimeWait, c.timeouts.tcpClose],
    [120_000, 10_000],
  ],
  'a short icmp timeout': [
    'timeouts: {icmp: 90s, generic: 1.5m}',
    (c) => [c.timeouts.icmp, c.timeouts.generic],
    [90_000, 90_000],
  ],
  'a long icmp timeout': ['timeouts: {icmp: {timeout: 1500ms}}', (c) => c.timeouts.icmp, 1500],
  'udp timeouts': [
    'timeouts: {udp: {timeout: 2h, stream: 1d}}',
    (c) => [c.timeouts.udp, c.timeouts.udpStream],
    [7_200_000, 86_400_000],
  ],
  'flows by family': ['tables: {flows: {ipv4: 1024}}', (c) => c.tables, { flows4: 1024 }],
  'a gc interval above the other default': [
    'gc: {minInterval: 5m}',
    (c) => c.gc,
    { minIntervalMs: 300_000, maxIntervalMs: 300_000 },
  ],
  'a gc interval below the other default': [
    'gc: {maxInterval: 200ms}',
    (c) => c.gc,
    { minIntervalMs: 200, maxIntervalMs: 200 },
  ],
  'metrics on IPv6': ['metrics: {listen: "[::1]:9464"}', (c) => c.metrics, { host: '::1', port: 9464 }],
  'metrics on localhost': [
    'metrics: {listen: localhost:1}',
    (c) => c.metrics,
    { host: 'localhost', port: 1 },
  ],
  'event types by default': ['events: [{file: /a}]', (c) => c.events[0]?.types, ['new', 'destroy']],
  'a masquerade rule for IPv6': [
    'interfaces: [{name: a}]\nnat: [{snat: {out: a, family: ipv6, to: "masquerade:1024-2047"}}]',
    (c) => c.rules.map(natRuleText),
    ['snat -o a -f ipv6 --to masquerade:1024-2047'],
  ],
  'a list of backends': [
    'interfaces: [{name: a}]\nnat: [{dnat: {in: a, proto: tcp, dport: 80, to: ["10.0.0.2:80", "10.0.0.9:8080"]}}]',
    (c) => c.rules.map(natRuleText),
    ['dnat -i a -p tcp --dport 80 --to 10.0.0.2:80,10.0.0.9:8080'],
  ],
  'a protocol by number and a port range': [
    'interfaces: [{name: a}]\nnat: [{dnat: {in: a, proto: 17, dport: 1-5, to: 10.0.0.2}}]',
    (c) => c.rules.map(natRuleText),
    ['dnat -i a -p udp --dport 1-5 --to 10.0.0.2'],
  ],
  'PCP by itself': [
    'interfaces: [{name: lan0}, {name: wan0, masquerade: 4, mapping: eim}]\npcp: {inside: [lan0]}',
    (c) => c.pcp,
    {
      inside: ['lan0'],
      outside: 'wan0',
      lifetime: { min: 120, max: 86_400 },
      limit: 64,
      ports: [{ min: 1024, max: 65_535 }],
      natPmp: true,
    },
  ],
  'PCP as wanted': [
    'interfaces: [{name: a}, {name: b, mapping: {udp: eim}}, {name: c, mapping: eim}]\n' +
      'pcp: {inside: [a], outside: b, allow: [10.1.2.3/8], lifetime: {max: 1m}, limit: 9, ports: [80, 1024-2047], natPmp: false}',
    (c) => ({ ...c.pcp, allow: c.pcp?.allow?.map(formatCidr) }),
    {
      inside: ['a'],
      outside: 'b',
      allow: ['10.0.0.0/8'],
      lifetime: { min: 60, max: 60 },
      limit: 9,
      ports: [
        { min: 80, max: 80 },
        { min: 1024, max: 2047 },
      ],
      natPmp: false,
    },
  ],
  'exempt IPv6': [
    'exempt: ["fd00::/8", 10.1.2.3/8]',
    (c) => c.exempt.map(formatCidr),
    ['fd00::/8', '10.0.0.0/8'],
  ],
};

for (const [name, [text, check, expected]] of Object.entries(GOOD)) {
  test(`good: ${name}`, async (t) => t.same(check(read(text)), expected));
}

const TOP = 'interfaces, nat, track, exempt, timeouts, tables, gc, metrics, events, pcp';
const DURATION = 'expected a duration with its unit such as 7440s, 5m, 2h or 1500ms';
const A = 'interfaces: [{name: a}]\n';

/** Text of the file, and the line that follows `f.yaml`. */
const BAD: Record<string, [text: string, line: string]> = {
  'an empty file': ['', ': empty; a configuration that shall attach nothing says so: interfaces: []'],
  'only comments': [
    '# nothing\n',
    ': empty; a configuration that shall attach nothing says so: interfaces: []',
  ],
  'a word': ['foo', `:1:1: expected keys with values: ${TOP}, got "foo"`],
  'a list': ['- a', `:1:1: expected keys with values: ${TOP}, got a list`],
  'an unknown key': [
    'interfacse: []',
    `:1:1: unknown key "interfacse" (did you mean interfaces?); allowed: ${TOP}`,
  ],
  'a key that resembles nothing': ['zzz: 1', `:1:1: unknown key "zzz"; allowed: ${TOP}`],
  'an unknown key below': [
    'interfaces:\n  - name: a\n    masqerade: 4',
    ':3:5: interfaces[0]: unknown key "masqerade" (did you mean masquerade?); allowed: name, masquerade, mode, mapping, filtering, ports, mss, redirect, zone, limits',
  ],
  'a misspelt required key': [
    'interfaces: [{nam: a}]',
    ':1:15: interfaces[0]: unknown key "nam" (did you mean name?); allowed: name, masquerade, mode, mapping, filtering, ports, mss, redirect, zone, limits',
  ],
  'a missing key': ['interfaces:\n  - mode: tc', ':2:5: interfaces[0]: key "name" is missing'],
  'a key without value': ['interfaces:', ':1:12: interfaces: expected a list of interfaces, got nothing'],
  'a mapping for a list': ['nat: {}', ':1:6: nat: expected a list of rules, got a mapping'],
  'the no of YAML 1.1': [
    'interfaces: [{name: a, masquerade: no}]',
    ':1:36: interfaces[0].masquerade: expected 4, 6, all or false, got "no"',
  ],
  'masquerade true': [
    'interfaces: [{name: a, masquerade: true}]',
    ':1:36: interfaces[0].masquerade: expected 4, 6, all or false, got true',
  ],
  'a quoted number': [
    'interfaces: [{name: a, masquerade: "4"}]',
    ':1:36: interfaces[0].masquerade: expected 4, 6, all or false, got "4"',
  ],
  'a number for a name': [
    'interfaces: [{name: 12}]',
    `:1:21: interfaces[0].name: expected an interface's name, got 12`,
  ],
  'a name with blanks': [
    'interfaces: [{name: "a b"}]',
    ':1:21: interfaces[0].name: invalid interface name "a b"; it has 1 to 15 bytes, no white space, no slash and no colon',
  ],
  'an escape in a name': [
    'interfaces: [{name: "a\\e[31m"}]',
    ':1:21: interfaces[0].name: invalid interface name "a\\u001b[31m"; it has 1 to 15 bytes, no white space, no slash and no colon',
  ],
  'an MSS that is none': [
    'interfaces: [{name: a, mss: 40}]',
    ':1:29: interfaces[0].mss: expected pmtu, or 88 to 65495, got 40',
  ],
  'a word for an MSS': [
    'interfaces: [{name: a, mss: mtu}]',
    ':1:29: interfaces[0].mss: expected pmtu, or 88 to 65495, got "mtu"',
  ],
  'an interface twice': [
    'interfaces: [{name: a}, {name: a}]',
    ':1:32: interfaces[1].name: "a" is interfaces[0] already',
  ],
  'an unknown mode': [
    'interfaces: [{name: a, mode: TC}]',
    ':1:30: interfaces[0].mode: expected auto, tc or xdp, got "TC"',
  ],
  'a zone beside mode xdp': [
    'interfaces: [{name: a, mode: xdp}, {name: b, zone: 2}]',
    ':1:52: interfaces[1].zone: can not have zone 2 while a is in mode xdp, which knows no zones; attach a in mode tc or auto',
  ],
  'a zone beside endpoint-independent mappings': [
    'interfaces: [{name: a, mapping: {udp: eim}}, {name: b, zone: 2}]',
    ':1:62: interfaces[1].zone: can not have zone 2 while a has mapping eim, which knows no zones; attach a with mapping apdm, or b without a zone',
  ],
  'rules for tracking beside mode xdp': [
    'interfaces: [{name: a, mode: xdp}]\ntrack: [{action: notrack}]',
    ':1:30: interfaces[0].mode: XDP mode asks no rules for tracking (track); use tc or auto',
  ],
  'endpoint-independent mappings in mode xdp': [
    'interfaces: [{name: a, mode: xdp, mapping: eim}]',
    ':1:30: interfaces[0].mode: endpoint-independent mappings are made by TC mode; use tc or auto',
  ],
  'an unknown mapping': [
    'interfaces: [{name: a, mapping: cone}]',
    ':1:33: interfaces[0].mapping: expected apdm, eim, or a mapping with the keys udp, tcp, icmp, got "cone"',
  ],
  'a mapping of an unknown protocol': [
    'interfaces: [{name: a, mapping: {tpc: eim}}]',
    ':1:34: interfaces[0].mapping: unknown key "tpc" (did you mean tcp?); allowed: udp, tcp, icmp',
  ],
  'limits that limit nothing': [
    'interfaces: [{name: a, limits: {prefix: 56}}]',
    ':1:32: interfaces[0].limits: give ports, rate or both',
  ],
  'a burst without a rate': [
    'interfaces: [{name: a, limits: {ports: 9, burst: 5}}]',
    ':1:50: interfaces[0].limits.burst: give the rate, too',
  ],
  'a prefix that no subscriber has': [
    'interfaces: [{name: a, limits: {ports: 9, prefix: 96}}]',
    ':1:51: interfaces[0].limits.prefix: expected 35 to 64, or 128, got 96',
  ],
  'ports upside down': [
    'interfaces: [{name: a, ports: [90-80]}]',
    ':1:32: interfaces[0].ports[0]: port range "90-80" is upside down; give the lower port first',
  ],
  'port ranges that overlap': [
    'interfaces: [{name: a, ports: [1-9, 20, 8-11]}]',
    ':1:31: interfaces[0].ports: port ranges 1-9 and 8-11 overlap; give each port once',
  ],
  'five port ranges': [
    'interfaces: [{name: a, ports: [1, 2, 3, 4, 5]}]',
    ':1:31: interfaces[0].ports: expected a list of 1 to 4 ranges, [LOW-HIGH], got a list',
  ],
  'a port too high': [
    'interfaces: [{name: a, ports: [65536]}]',
    ':1:32: interfaces[0].ports[0]: expected a port or LOW-HIGH, got 65536',
  ],
  'a duration without unit': ['gc: {minInterval: 5}', `:1:19: gc.minInterval: ${DURATION}, got 5`],
  'a duration with a blank': ['gc: {minInterval: 5 s}', `:1:19: gc.minInterval: ${DURATION}, got "5 s"`],
  'a negative duration': ['gc: {minInterval: -5s}', `:1:19: gc.minInterval: ${DURATION}, got "-5s"`],
  'a gc interval too short': [
    'gc: {minInterval: 1ms}',
    ':1:19: gc.minInterval: expected a duration from 10ms to 1h, got "1ms"',
  ],
  'gc intervals upside down': [
    'gc: {minInterval: 5m, maxInterval: 1m}',
    ':1:19: gc.minInterval: longer than maxInterval',
  ],
  'an unknown preset': [
    'timeouts: {preset: linux}',
    ':1:20: timeouts.preset: expected rfc, netfilter or cilium, got "linux"',
  ],
  'an unknown timeout': [
    'timeouts: {udp: {strem: 1s}}',
    ':1:18: timeouts.udp: unknown key "strem" (did you mean stream?); allowed: timeout, stream',
  ],
  'a timeout too long': [
    'timeouts: {tcp: {established: 400d}}',
    ':1:31: timeouts.tcp.established: expected a duration from 100ms to 365d, got "400d"',
  ],
  'a timeout too short': [
    'timeouts: {icmp: 10ms}',
    ':1:18: timeouts.icmp: expected a duration from 100ms to 365d, got "10ms"',
  ],
  'a short icmp timeout without unit': ['timeouts: {icmp: 60}', `:1:18: timeouts.icmp: ${DURATION}, got 60`],
  'tcp as one duration': [
    'timeouts: {tcp: 5m}',
    ':1:17: timeouts.tcp: expected keys with values: syn_sent, syn_recv, established, fin_wait, close_wait, last_ack, time_wait, close, syn_sent2, max_retrans, unacknowledged, got "5m"',
  ],
  'too few flows': [
    'tables: {flows: 15}',
    ':1:17: tables.flows: expected a whole number from 16 to 16777216, got 15',
  ],
  'too many flows': [
    'tables: {flows: 16777217}',
    ':1:17: tables.flows: expected a whole number from 16 to 16777216, got 16777217',
  ],
  'a fraction of a flow': [
    'tables: {flows: 1000.5}',
    ':1:17: tables.flows: expected a whole number from 16 to 16777216, got 1000.5',
  ],
  'the underscores of YAML 1.1': [
    'tables: {flows: 1_000}',
    ':1:17: tables.flows: expected a whole number from 16 to 16777216, got "1_000"',
  ],
  infinity: [
    'tables: {flows: .inf}',
    ':1:17: tables.flows: expected a whole number from 16 to 16777216, got Infinity',
  ],
  'a listener without port': [
    'metrics: {listen: 127.0.0.1}',
    ':1:19: metrics.listen: expected ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464, got "127.0.0.1"',
  ],
  'a listener with a host name': [
    'metrics: {listen: "example.com:80"}',
    ':1:19: metrics.listen: expected ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464, got "example.com:80"',
  ],
  'a listener at port 0': [
    'metrics: {listen: "127.0.0.1:0"}',
    ':1:19: metrics.listen: expected ADDRESS:PORT such as 127.0.0.1:9464 or [::1]:9464, got "127.0.0.1:0"',
  ],
  'a relative event file': [
    'events: [{file: e.jsonl}]',
    ':1:17: events[0].file: expected an absolute path or stdout, got "e.jsonl"',
  ],
  'an event file twice': [
    'events: [{file: /e}, {file: /e}]',
    ':1:29: events[1].file: "/e" is the file of events[0] already',
  ],
  'an unknown event type': [
    'events: [{file: /e, types: [nwe]}]',
    ':1:29: events[0].types[0]: expected new, update, destroy or drop, got "nwe"',
  ],
  'an event type twice': [
    'events: [{file: /e, types: [new, new]}]',
    ':1:28: events[0].types: expected a list of new, update, destroy, drop, each once, got a list',
  ],
  'PCP without endpoint-independent mappings': [
    'interfaces: [{name: a}, {name: b, masquerade: 4}]\npcp: {inside: [a]}',
    ':2:6: pcp: no outside interface has endpoint-independent mappings; give one mapping: eim (or { tcp: eim, udp: eim })',
  ],
  'PCP at an interface without them': [
    'interfaces: [{name: a}, {name: b, masquerade: 4}]\npcp: {inside: [a], outside: b}',
    ':2:29: pcp.outside: "b" has no endpoint-independent mappings of TCP or UDP, which PCP needs; give it mapping: eim',
  ],
  'PCP with two outsides': [
    'interfaces: [{name: a}, {name: b, mapping: eim}, {name: c, mapping: eim}]\npcp: {inside: [a]}',
    ':2:6: pcp: "b" and "c" have endpoint-independent mappings; say which is outside',
  ],
  'PCP on both sides': [
    'interfaces: [{name: a, mapping: eim}]\npcp: {inside: [a], outside: a}',
    ':2:29: pcp.outside: "a" is inside as well',
  ],
  'PCP at interfaces that are not there': [
    'interfaces: [{name: a, mapping: eim}]\npcp: {inside: [b]}',
    ':2:16: pcp.inside[0]: "b" is none of the interfaces; name it there, too',
  ],
  'PCP with a lifetime upside down': [
    'interfaces: [{name: a}, {name: b, mapping: eim}]\npcp: {inside: [a], lifetime: {min: 2h, max: 1h}}',
    ':2:36: pcp.lifetime.min: longer than max',
  ],
  'PCP for nobody': [
    'interfaces: [{name: a}, {name: b, mapping: eim}]\npcp: {inside: []}',
    ':2:15: pcp.inside: expected a list of interfaces, each once, got an empty list',
  ],
  'a prefix too long': [
    'exempt: [10.0.0.0/33]',
    ':1:10: exempt[0]: invalid prefix length in "10.0.0.0/33"; for ipv4 it is 0 to 32',
  ],
  'a number for a prefix': [
    'exempt: [10]',
    ':1:10: exempt[0]: expected an address or a prefix such as 10.0.0.0/8 or 2001:db8::/32, got 10',
  ],
  'a rule of no kind': [
    `${A}nat: [{}]`,
    ':2:7: nat[0]: expected one rule: { dnat: … }, { snat: … }, { redirect: … } or { netmap: … }, got a mapping',
  ],
  'a rule of an unknown kind': [
    `${A}nat: [{snt: {}}]`,
    ':2:8: nat[0]: unknown key "snt" (did you mean snat?); allowed: dnat, snat',
  ],
  'a forward without target': [
    `${A}nat: [{dnat: {in: a, proto: tcp, dport: 80}}]`,
    ':2:14: nat[0].dnat: key "to" is missing',
  ],
  'a rule at an interface that is not there': [
    `${A}nat: [{snat: {out: b, to: masquerade}}]`,
    ':2:20: nat[0].snat.out: "b" is not among the interfaces of this file; list it there',
  ],
  'a rule twice': [
    `${A}nat: [{snat: {out: a, to: masquerade}}, {snat: {to: masquerade, out: a}}]`,
    ':2:48: nat[1].snat: does the same as nat[0]',
  ],
  'ranges of different size': [
    `${A}nat: [{dnat: {in: a, proto: tcp, dport: 8000-8009, to: "10.0.0.2:80-88"}}]`,
    ':2:56: nat[0].dnat.to: port ranges differ in size: dport 8000-8009 has 10 ports, to 80-88 has 9; give as many, or one port',
  ],
  'a port range upside down': [
    `${A}nat: [{dnat: {in: a, proto: tcp, dport: 9-1, to: 10.0.0.2}}]`,
    ':2:41: nat[0].dnat.dport: port range "9-1" is upside down; give the lower port first',
  ],
  'a forward of a protocol without ports': [
    `${A}nat: [{dnat: {in: a, proto: icmp, dport: 1, to: 10.0.0.2}}]`,
    ':2:42: nat[0].dnat.dport: dport needs a protocol with ports: tcp, udp, sctp, udplite',
  ],
  'mixed families': [
    `${A}nat: [{snat: {out: a, src: "fd00::/8", to: 198.51.100.1}}]`,
    ':2:28: nat[0].snat.src: the rule mixes ipv4 and ipv6; all its addresses are of one family',
  ],
  'several errors': [
    'gc: {minInterval: 5}\ntables: {flows: 1}\ninterfaces: [{}]',
    `:1:19: gc.minInterval: ${DURATION}, got 5 (and 2 more errors)`,
  ],
  'a list that does not end': [
    'interfaces: [',
    ':1:14: not valid YAML: flow sequence in block collection must be sufficiently indented and end with a ]',
  ],
  'a quote that does not end': ['interfaces: "a', ':1:15: not valid YAML: missing closing "quote'],
  'a mapping on a line': [
    'a: b: c',
    ':1:4: not valid YAML: nested mappings are not allowed in compact mappings',
  ],
  'a tab that indents': ['interfaces:\n\t- name: a', ':2:1: a tab can not indent; use spaces'],
  'a key twice': ['gc: {}\ngc: {}', ':2:1: key "gc" is given twice'],
  'an anchor': [
    'interfaces: &x []',
    ':1:16: interfaces: anchors and aliases are not supported; write the value out',
  ],
  'an alias of nothing': [
    'interfaces: *x',
    ':1:13: interfaces: anchors and aliases are not supported; write the value out',
  ],
  'a merge key': [`<<: {gc: {}}`, `:1:1: unknown key "<<"; allowed: ${TOP}`],
  'a tag': ['gc: !!map {}', ':1:11: gc: tags are not supported'],
  'a tag of its own': ['gc: !js/function x', ':1:5: tags are not supported'],
  'a directive for YAML 1.1': ['%YAML 1.1\n---\ngc: {}', ':1:1: YAML 1.1 is not supported; leave out %YAML'],
  'two documents': [
    'gc: {}\n---\ngc: {}',
    ':2:1: a second document begins here; a configuration is one document',
  ],
  'a list as key': ['? [a]\n: b', ':1:3: a key must be a word'],
  'a prototype': ['__proto__: {gc: {}}', `:1:1: unknown key "__proto__"; allowed: ${TOP}`],
  'a constructor': ['constructor: 1', `:1:1: unknown key "constructor"; allowed: ${TOP}`],
};

for (const [name, [text, line]] of Object.entries(BAD)) {
  test(`bad: ${name}`, async (t) => {
    t.throws(() => read(text), { name: 'ConfigError', status: 1, message: `f.yaml${line}` });
  });
}

test('bombs end quickly in one line', async (t) => {
  const laughs = Array.from(
    { length: 9 },
    (_, i) => `l${i}: &l${i} [${`*l${Math.max(0, i - 1)},`.repeat(9)}]`,
  );
  for (const [name, text, message] of [
    ['a billion laughs', laughs.join('\n'), /^f\.yaml:1:\d+: .*anchors and aliases are not supported/],
    ['deep lists', '['.repeat(50_000), /^f\.yaml: nested too deeply/],
    ['deep mappings', '{a: '.repeat(50_000), /^f\.yaml: nested too deeply/],
    ['a long key', `a${'b'.repeat(900)}: 1`, /^f\.yaml:1:1: unknown key "ab{56}\.\.\."/],
    ['a longer key', `a${'b'.repeat(500_000)}: 1`, /^f\.yaml:1:1: not valid YAML: .*at most 1024 chars/],
    [
      'many interfaces',
      `interfaces: [${'{name: a},'.repeat(1100)}]`,
      /^f\.yaml:1:13: interfaces: expected a list/,
    ],
  ] as const) {
    t.throws(() => read(text), { name: 'ConfigError', message }, name);
  }
});

test('what can not be read as text says so', async (t) => {
  const folder = t.testdir({ 'list.yaml': CONTRACT });
  const file = (name: string, content: string | Buffer) => {
    const path = join(folder, name);
    writeFileSync(path, content);
    return path;
  };
  const nul = file('nul.yaml', 'gc: {}\nab\0c');
  const latin = file('latin.yaml', Buffer.from('# caf\xe9\n', 'latin1'));
  const huge = file('huge.yaml', `#${'x'.repeat(MAX_CONFIG_BYTES)}`);
  symlinkSync('loop.yaml', join(folder, 'loop.yaml'));

  t.equal((await loadConfig(join(folder, 'list.yaml'))).interfaces.length, 2);
  await t.rejects(loadConfig(nul), {
    message: `${nul}:2:3: control character 0x00; a configuration is plain text`,
  });
  await t.rejects(loadConfig(latin), { message: `${latin}: not UTF-8 text; save it as UTF-8` });
  await t.rejects(loadConfig(huge), {
    message: `${huge}: larger than ${MAX_CONFIG_BYTES} bytes: this is no configuration of ctnat`,
  });
  await t.rejects(loadConfig('/dev/zero'), { message: /^\/dev\/zero: larger than/ });
  await t.rejects(loadConfig(folder), { message: `can not read ${folder}: it is a folder (EISDIR)` });
  await t.rejects(loadConfig(`${folder}/none`), {
    message: `can not read ${folder}/none: no such file (ENOENT)`,
  });
  await t.rejects(loadConfig(join(folder, 'loop.yaml')), { message: /^can not read .*ELOOP/ });
});

test('the schema names the words that the program knows', async (t) => {
  const schema = JSON.parse(readFileSync(packageFile(SCHEMA_FILE), 'utf8'));
  const { mode, mapping } = schema.properties.interfaces.items.properties;
  const { preset, ...timeouts } = schema.properties.timeouts.properties;
  const keys = Object.entries<{ properties?: object; then?: { properties: object } }>(timeouts).flatMap(
    ([protocol, { properties, then }]) =>
      Object.keys(properties ?? then!.properties).map((key) => `${protocol}.${key}`),
  );

  t.same(mode.enum, ATTACH_MODES);
  t.same(mapping.else.enum, MAPPING_MODES);
  t.same(preset.enum, Object.keys(TIMEOUT_PRESETS));
  t.same(
    keys,
    TIMEOUT_NAMES.map((name) => TIMEOUT_KEYS[name].join('.')),
  );
});

test('reading a configuration does not write to the terminal', async (t) => {
  const file = join(t.testdir({ 'a.yaml': '%YAML 1.1\n---\na: !foo b' }), 'a.yaml');
  const module = new URL('../../src/config/load.js', import.meta.url).href;
  const script = `import(${JSON.stringify(module)}).then((m) => m.loadConfig(${JSON.stringify(file)})).catch(() => {})`;

  t.equal(
    execFileSync(
      process.execPath,
      ['-e', `process.stderr.write = process.stdout.write.bind(process.stdout); ${script}`],
      { encoding: 'utf8' },
    ),
    '',
  );
});
