// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Command lines on a product in memory: what they do, print and exit with.
import { EventEmitter, once } from 'node:events';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'tap';
import { CtnatError } from '../../src/errors.js';
import { statusNames } from '../../src/flow.js';
import type { AgentOptions } from '../../src/product.js';
import { ctnat } from '../helpers/command-line.js';
import { exampleFlow, exampleMapping, FakeProduct, pingFlow } from '../helpers/fake-product.js';

/** A product with two flows of TCP and UDP and a ping, and a mapping. */
function gateway(): FakeProduct {
  const product = new FakeProduct();
  const dns = exampleFlow({ proto: 'udp', protonum: 17, status: statusNames(2) });
  delete dns.state;
  product.table = [exampleFlow(), dns, pingFlow()];
  product.nat = [exampleMapping()];
  return product;
}

test('attach hands on its options and says what is attached', async (t) => {
  for (const [line, options] of [
    ['attach eth0', { masquerade: false, mode: 'auto' }],
    ['attach eth0 --masquerade', { masquerade: 4 }],
    ['attach --masquerade eth0', { masquerade: 4 }],
    ['attach --masquerade=6 eth0', { masquerade: 6 }],
    ['attach --masquerade 6 eth0', { masquerade: 6 }],
    ['attach eth0 --masquerade=all', { masquerade: 'all' }],
    ['attach eth0 --mode xdp', { mode: 'xdp' }],
    ['attach eth0 --mapping eim', { mapping: { udp: 'eim', tcp: 'eim', icmp: 'eim' } }],
    ['attach eth0 --ports 1024-2047', { ports: [{ min: 1024, max: 2047 }] }],
    [
      'attach eth0 --ports 1024-9999,20000-29999',
      {
        ports: [
          { min: 1024, max: 9999 },
          { min: 20000, max: 29999 },
        ],
      },
    ],
    ['attach eth0 --mss pmtu', { mss: 'pmtu' }],
    ['attach eth0 --mss 1452', { mss: 1452 }],
    ['attach eth0 --redirect', { redirect: true }],
    ['attach eth0 --zone 65535', { zone: 65_535 }],
    ['attach eth0 --limit-ports 2000', { limits: { ports: 2000 } }],
    ['attach eth0 --limit-rate 50/s', { limits: { rate: 50 } }],
    [
      'attach eth0 --limit-ports 1 --limit-rate 50/s,200 --limit-prefix 56',
      { limits: { ports: 1, rate: 50, burst: 200, prefix: 56 } },
    ],
  ] as const) {
    const product = new FakeProduct();
    const { status, stderr } = await ctnat(line, { product });
    t.equal(status, 0, line);
    t.equal(stderr, '');
    t.same([...product.interfaces.keys()], ['eth0']);
    t.match(product.interfaces.get('eth0'), options, line);
    t.equal(product.closed, 1, 'the product is closed');
  }
  const { stdout } = await ctnat('attach lan0 eth0 lan0 --masquerade');
  t.equal(
    stdout,
    'lan0: attached by tc (tcx/ingress, tcx/egress), masquerade ipv4, mapping apdm\n' +
      'eth0: attached by tc (tcx/ingress, tcx/egress), masquerade ipv4, mapping apdm\n',
  );
});

test('attach says where programs are interpreted', async (t) => {
  const product = new FakeProduct();
  const jit = { name: 'jit', needs: 'CONFIG_BPF_JIT', why: 'it interprets', instead: 'slow' };
  product.lacking = [{ ...jit, name: 'tcx' }];
  t.equal((await ctnat('attach eth0', { product })).stderr, '', 'nothing of what costs nothing');
  product.lacking.push(jit);
  t.match(await ctnat('attach eth0', { product }), {
    status: 0,
    stderr: 'ctnat: this kernel does not compile BPF programs (CONFIG_BPF_JIT): slow\n',
  });
});

test('status names what the kernel lacks, what that needs and what is done instead', async (t) => {
  const product = new FakeProduct();
  t.notMatch((await ctnat('status', { product })).stdout, /NOT HERE/);
  product.lacking = [{ name: 'tcx', needs: 'Linux 6.6', why: 'EINVAL', instead: 'filters' }];
  const { stdout } = await ctnat('status', { product });
  t.match(stdout, /^NOT HERE +NEEDS +INSTEAD *\ntcx +Linux 6\.6 +filters$/m);
  const { missing } = JSON.parse((await ctnat('status -o json', { product })).stdout);
  t.same(missing, product.lacking);
});

test('detach notes what was not attached and exits 0', async (t) => {
  const product = new FakeProduct();
  await ctnat('attach eth0 lan0', { product });

  t.match(await ctnat('detach lan0 lan9', { product }), {
    status: 0,
    stdout: 'lan0: detached\n',
    stderr: 'ctnat: lan9 was not attached\n',
  });
  t.match(await ctnat('detach --all --purge -o json', { product }), {
    status: 0,
    stdout: '{\n  "detached": [\n    "eth0"\n  ]\n}\n',
    stderr: '',
  });
  t.match(await ctnat('detach --all --purge', { product }), {
    status: 0,
    stdout: '',
    stderr: 'ctnat: nothing was attached\n',
  });
  t.same(product.purges, [false, true, true]);
});

test('rules are added, listed and deleted', async (t) => {
  const product = new FakeProduct();
  const run = (line: string) => ctnat(line, { product });

  t.match(await run('nat add snat -o eth0 -s 10.1.2.3/16 --to 198.51.100.4-198.51.100.7:20000-29999'), {
    status: 0,
    stdout: 'rule 1: snat -o eth0 -s 10.1.0.0/16 --to 198.51.100.4-198.51.100.7:20000-29999\n',
  });
  const added = await run('nat add dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80 --output jsonl');
  t.equal(
    added.stdout,
    '{"id":2,"kind":"dnat","iface":"eth0","family":"ipv4","proto":"tcp","dport":8080,"to":"10.0.0.2:80"}\n',
  );
  t.match(
    await run('-o json nat add dnat -i eth0 -p tcp --dport 8080 --to 10.0.0.2:80'),
    { status: 0, stdout: /"id": 2,/ },
    'again',
  );
  t.equal(
    (await run('nat list')).stdout,
    'ID  KIND  IFACE  FAMILY  PROTO  SRC          DST  DPORT  TO\n' +
      ' 1  snat  eth0   ipv4    any    10.1.0.0/16  any  any    198.51.100.4-198.51.100.7:20000-29999\n' +
      ' 2  dnat  eth0   ipv4    tcp    any          any  8080   10.0.0.2:80\n',
  );
  t.same(JSON.parse((await run('nat list -o json')).stdout), [
    {
      id: 1,
      kind: 'snat',
      iface: 'eth0',
      family: 'ipv4',
      src: '10.1.0.0/16',
      to: '198.51.100.4-198.51.100.7:20000-29999',
    },
    { id: 2, kind: 'dnat', iface: 'eth0', family: 'ipv4', proto: 'tcp', dport: 8080, to: '10.0.0.2:80' },
  ]);
  t.match(await run('nat delete 1'), { status: 0, stdout: 'rule 1: deleted\n', stderr: '' });
  t.match(await run('nat delete 1'), { status: 0, stdout: '', stderr: 'ctnat: there is no rule 1\n' });
  t.match(await run('nat flush'), { status: 0, stdout: '1 rule deleted\n' });
  t.match(await run('nat list'), { status: 0, stdout: '' });
  t.match(await run('nat list -o json'), { status: 0, stdout: '[]\n' });
});

test('flows are listed in three forms', async (t) => {
  const product = gateway();
  const list = async (line: string) => (await ctnat(`bpf ct list ${line}`, { product })).stdout;
  const text = await list('global');

  t.match(text, /^TCP OUT 10\.0\.0\.2:40000 -> 192\.0\.2\.9:80 expires=7439 State=ESTABLISHED /);
  t.equal(text.split('\n').length, 4);
  const array = await list('global -o json');
  t.same(
    JSON.parse(array).map((flow: { proto: string }) => flow.proto),
    ['tcp', 'udp', 'icmp'],
  );
  const lines = await list('global -o jsonl');
  t.equal(
    lines,
    array
      .replace(/^\[\n/, '')
      .replace(/\n\]\n$/, '\n')
      .replaceAll(',\n', '\n'),
  );
  t.equal(await list('-p tcp -o jsonl'), `${lines.split('\n')[0]}\n`);
  t.equal(
    await list('global -f ipv4 -p tcp --state ESTABLISHED -s 10.0.0.0/8 --dport 80'),
    `${text.split('\n')[0]}\n`,
  );
  t.equal(await list('global -f ipv6'), '');
  t.equal(await list('global -f ipv6 -o json'), '[]\n');
  t.equal(await list('global -f ipv6 -o jsonl'), '');
});

test('flows are got, counted, deleted and flushed', async (t) => {
  const product = gateway();
  const run = (line: string) => ctnat(`bpf ct ${line}`, { product });

  t.match(await run('get -p icmp --sport 77'), { status: 0, stdout: /^ICMP OUT [^\n]+\n$/ });
  t.match(await run('get -p gre'), { status: 0, stdout: '', stderr: '' });
  t.match(await run('count'), { status: 0, stdout: '3\n' });
  t.match(await run('count global -p udp -o jsonl'), { status: 0, stdout: '{"count":1}\n' });
  t.match(await run('delete -p udp'), { status: 0, stdout: '1 flow deleted\n' });
  t.match(await run('delete -p udp'), { status: 0, stdout: '0 flows deleted\n' });
  t.match(await run('flush global -p icmp'), { status: 0, stdout: '1 flow deleted\n' });
  t.match(await run('flush global -o json'), { status: 0, stdout: '{\n  "deleted": 1\n}\n' });
  t.match(await run('count'), { status: 0, stdout: '0\n' });
});

test('mappings are listed and flushed, retries and metrics shown', async (t) => {
  const product = gateway();
  const run = (line: string) => ctnat(`bpf ${line}`, { product });
  product.histogram = { retries: [5, 1], refused: 2 };
  product.counters = [
    { reason: 'forwarded', direction: 'ingress', packets: 10, bytes: 1000 },
    { reason: 'drop_invalid', direction: 'egress', packets: 0, bytes: 0 },
  ];

  t.match(await run('nat list'), {
    status: 0,
    stdout: /^TCP OUT .* XLATE_SRC 198\.51\.100\.1:40000 Created=12sec ago/,
  });
  t.match(await run('nat list -s 10.0.0.9 -o json'), { status: 0, stdout: '[]\n' });
  t.match(await run('nat flush -p udp'), { status: 0, stdout: '0 mappings deleted\n' });
  t.match(await run('nat flush global'), { status: 0, stdout: '1 mapping deleted\n' });
  t.equal((await run('nat retries list')).stdout, '0:\t5\n1:\t1\nrefused:\t2\n');
  t.equal((await run('nat retries list -o jsonl')).stdout, '{"retries":[5,1],"refused":2}\n');
  t.equal(
    (await run('metrics list')).stdout,
    'REASON     DIRECTION  PACKETS  BYTES\nforwarded  ingress         10   1000\n',
  );
  t.same(JSON.parse((await run('metrics list -o json')).stdout), product.counters);
});

test('gc tells what it found by map', async (t) => {
  t.equal((await ctnat('gc')).stdout, 'MAP     LOOKED  LIVE  DELETED\nflows4    4096   500       12\n');
  t.same(JSON.parse((await ctnat('gc -o json')).stdout), {
    maps: [{ name: 'flows4', looked: 4096, live: 500, deleted: 12 }],
    durationMs: 1.5,
  });
});

test('status has the fields of the contract', async (t) => {
  const product = new FakeProduct();
  await ctnat('attach eth0 --masquerade=6', { product });
  const status = JSON.parse((await ctnat('status -o json', { product })).stdout);

  t.same(Object.keys(status), [
    'version',
    'kernel',
    'pinPath',
    'interfaces',
    'maps',
    'refusals',
    'limited',
    'timeouts',
    'features',
    'missing',
    'agent',
    'readers',
    'tableFullDrops',
    'classes',
  ]);
  t.same(Object.keys(status.interfaces[0]), [
    'name',
    'ifindex',
    'mode',
    'hooks',
    'masquerade',
    'mapping',
    'filtering',
    'mss',
    'redirect',
    'zone',
    'limits',
  ]);
  t.same(Object.keys(status.maps[0]), ['name', 'type', 'entries', 'maxEntries', 'bytes']);
  t.same(status.timeouts.tcp.established, 7440, 'seconds');
  t.same(status.timeouts.udp, { timeout: 120, stream: 300 });
  t.same(status.agent, { running: true, pid: 4711 });
  const { stdout } = await ctnat('status', { product });
  t.match(stdout, /^ctnat 1\.2\.3, kernel 6\.1\.0, pins \/sys\/fs\/bpf\/ctnat\nagent: running, pid 4711\n/);
  t.match(stdout, /^eth0 +2 +tc +tcx\/ingress,tcx\/egress +ipv6 +apdm +apdf +- +0 +-$/m);
  t.match(stdout, /^flows4 +array +512 +4096 +12\.5% +1048576$/m);
  t.match(stdout, /^tcp\.established +7440s$/m);
  t.match(stdout, /^batch +no$/m);
  t.notMatch(stdout, /^(events|table full):/m);
  product.readers = [{ pid: 99, types: ['new', 'drop'] }];
  product.tableFullDrops = 1;
  product.classes = [
    { class: 'NEW', direction: 'ingress', packets: 1, bytes: 60 },
    { class: 'NEW', direction: 'egress', packets: 2, bytes: 120 },
  ];
  const busy = (await ctnat('status', { product })).stdout;
  t.match(busy, /^events: new, drop to pid 99\n/m);
  t.match(busy, /^table full: 1 packet of new flows dropped; give tables\.flows more room\n/m);
  t.match(busy, /^NEW +1 +60 +2 +120$/m);
});

test('apply checks, applies, and says what it changed', async (t) => {
  const folder = t.testdir({
    'good.yaml': 'interfaces: [{name: eth0}]\n',
    'bad.yaml': 'interfaces: [{name: eth0, mod: tc}]\n',
  });
  const product = new FakeProduct();
  const run = (line: string) => ctnat(line, { product });
  const good = join(folder, 'good.yaml');
  const bad = join(folder, 'bad.yaml');
  const complaint = `ctnat: ${bad}:1:27: interfaces[0]: unknown key "mod" (did you mean mode?); allowed: name, masquerade, mode, mapping, filtering, ports, mss, redirect, zone, limits\n`;

  t.match(await run(`apply --check ${good}`), { status: 0, stdout: `${good}: right\n`, opened: [] });
  t.match(await run(`apply ${bad}`), { status: 1, stdout: '', stderr: complaint, opened: [] });
  t.match(await run(`apply ${good} --check -o jsonl`), {
    status: 0,
    stdout: `{"file":"${good}","valid":true}\n`,
  });
  t.equal(product.applied.length, 0);
  t.match(await run(`apply ${good}`), {
    status: 0,
    stdout: '',
    stderr: `ctnat: ${good}: nothing to change\n`,
  });
  product.changes = ['eth0 attached'];
  t.match(await run(`apply ${good}`), { status: 0, stdout: 'eth0 attached\n', stderr: '' });
  t.equal(product.applied.at(-1)?.interfaces[0]?.name, 'eth0');
});

test('run gives the agent its signals and its configuration', async (t) => {
  const file = join(t.testdir({ 'a.yaml': 'tables: {flows: 100}\n' }), 'a.yaml');
  const product = new FakeProduct();
  const signals = new EventEmitter();
  const seen: number[] = [];
  product.agent = async ({ readConfig, stop, onReload }: AgentOptions) => {
    const read = async () => seen.push((await readConfig!()).tables.flows4 ?? 0);
    await read();
    const reloaded = new Promise<void>((resolve) => onReload(() => resolve(read().then(() => {}))));
    writeFileSync(file, 'tables: {flows: 200}\n');
    signals.emit('SIGHUP');
    await reloaded;
    const stopped = once(stop, 'abort');
    signals.emit('SIGTERM');
    await stopped;
  };

  t.match(await ctnat(['run', '-c', file], { product, signals }), { status: 0, stdout: '', stderr: '' });
  t.same(seen, [100, 200]);
  t.equal(
    signals.listenerCount('SIGTERM') + signals.listenerCount('SIGHUP') + signals.listenerCount('SIGINT'),
    0,
  );
});

test('run without a file has no configuration, with a wrong one it does not begin', async (t) => {
  const file = join(t.testdir({ 'a.yaml': 'gc: 1' }), 'a.yaml');
  const product = new FakeProduct();
  let options: AgentOptions | undefined;
  product.agent = async (given) => {
    options = given;
  };

  t.match(await ctnat(['run', '-c', file], { product }), {
    status: 1,
    opened: [],
    stderr: /^ctnat: .*a\.yaml:1:5: gc: expected keys/,
  });
  t.match(await ctnat('run', { product }), { status: 0 });
  t.equal(options?.readConfig, undefined);
});

test('global options stand before or behind the command, the environment behind both', async (t) => {
  const opened = async (line: string, env: Record<string, string> = {}) =>
    (await ctnat(line, { env })).opened;

  t.same(await opened('gc'), [{ pinPath: '/sys/fs/bpf/ctnat' }]);
  t.same(await opened('--netns blue gc --pin-path /a'), [{ netns: 'blue', pinPath: '/a' }]);
  t.same(await opened('bpf --netns /run/netns/x ct count'), [
    { netns: '/run/netns/x', pinPath: '/sys/fs/bpf/ctnat' },
  ]);
  t.same(await opened('--pin-path /a gc --pin-path /b'), [{ pinPath: '/b' }], 'the nearest counts');
  t.same(await opened('gc', { CTNAT_PIN_PATH: '/e' }), [{ pinPath: '/e' }]);
  t.same(await opened('gc --pin-path /b', { CTNAT_PIN_PATH: '/e' }), [{ pinPath: '/b' }]);
  t.same(await opened('gc', { CTNAT_PIN_PATH: '' }), [{ pinPath: '/sys/fs/bpf/ctnat' }]);
});

test('rules for tracking are added, listed and deleted', async (t) => {
  const product = new FakeProduct();
  const run = (line: string) => ctnat(line, { product });
  const added: [string, string][] = [
    ['notrack -i lan0 -p udp --dport 53', 'notrack -i lan0 -p udp --dport 53'],
    ['set -s 10.1.2.3/16 --to 1/255', 'set -s 10.1.0.0/16 --to 0x1/0xff'],
    ['save -o wan0 --mark 0x10/0xf0', 'save -o wan0 --mark 0x10/0xf0'],
    ['restore -i wan0 -f ipv6 -p tcp --sport 1-1023', 'restore -i wan0 -f ipv6 -p tcp --sport 1-1023'],
  ];
  for (const [i, [given, text]] of added.entries()) {
    t.match(await run(`track add ${given}`), { status: 0, stdout: `rule ${i + 1}: ${text}\n` });
  }
  t.equal(
    (await run('track list')).stdout,
    'ID  ACTION             IN    OUT   FAMILY  PROTO  SRC          DST  SPORT   DPORT  MARK\n' +
      ' 1  notrack            lan0  any   any     udp    any          any  any     53     any\n' +
      ' 2  mark set 0x1/0xff  any   any   ipv4    any    10.1.0.0/16  any  any     any    any\n' +
      ' 3  mark save          any   wan0  any     any    any          any  any     any    0x10/0xf0\n' +
      ' 4  mark restore       wan0  any   ipv6    tcp    any          any  1-1023  any    any\n',
  );
  t.same(JSON.parse((await run('track list -o json')).stdout)[0], {
    id: 1,
    action: 'notrack',
    in: 'lan0',
    proto: 'udp',
    dport: '53',
  });
  t.match(await run('track delete 2'), { status: 0, stdout: 'rule 2: deleted\n' });
  t.match(await run('track delete 2'), { status: 0, stderr: /there is no rule 2/ });
  t.match(await run('track flush'), { status: 0, stdout: '3 rules deleted\n' });
});

const WRONG: Record<string, string> = {
  'track add': 'ctnat track add needs a command: notrack, set, save, restore',
  'track add set --to 0x10/0x1':
    '--to: mark "0x10/0x1" matches nothing: the value has bits that its mask has not',
  'track add notrack --dport 53': '--dport: dport needs a protocol with ports: tcp, udp, sctp, udplite',
  'track add save -s 10.0.0.0/8 -d fd00::/8':
    '--dst: the rule mixes ipv4 and ipv6; all its addresses are of one family',
  'track delete x': 'invalid rule id "x"; `ctnat track list` shows the ids',
  foo: "unknown command 'foo'; see ctnat --help",
  statsu: "unknown command 'statsu' (Did you mean status?); see ctnat --help",
  'bpf ct lst': "unknown command 'lst' (Did you mean one of list, ls?); see ctnat bpf ct --help",
  bpf: 'ctnat bpf needs a command: ct, nat, metrics',
  'nat add': 'ctnat nat add needs a command: snat, dnat, redirect, netmap',
  attach: "missing required argument 'iface'; see ctnat attach --help",
  'attach a/b': 'invalid interface name "a/b"; it has 1 to 15 bytes, no white space, no slash and no colon',
  'attach eth0 --mod tc': "unknown option '--mod' (Did you mean --mode?); see ctnat attach --help",
  'attach eth0 --mode nft':
    "option '--mode <mode>' argument 'nft' is invalid. Allowed choices are auto, tc, xdp; see ctnat attach --help",
  'attach eth0 --masquerade=5':
    "option '--masquerade [family]' argument '5' is invalid. Allowed choices are 4, 6, all; see ctnat attach --help",
  'attach eth0 --ports 1,2,3,4,5': '--ports: 5 port ranges are too many; give at most 4',
  'attach eth0 --ports 9-1': '--ports: port range "9-1" is upside down; give the lower port first',
  detach: 'which interfaces? give their names, or --all',
  'detach eth0 --all': 'give interfaces or --all, not both',
  'nat delete x': 'invalid rule id "x"; `ctnat nat list` shows the ids',
  'nat delete 0': 'invalid rule id "0"; `ctnat nat list` shows the ids',
  'nat add snat --to masquerade':
    "required option '-o, --out <iface>' not specified; see ctnat nat add snat --help",
  'nat add snat -o eth0 --to 300.1.1.1':
    '--to: invalid address "300.1.1.1"; give IPv4 as 192.0.2.1 or IPv6 as 2001:db8::1',
  'nat add snat -o a/b --to masquerade':
    '--out: invalid interface name "a/b"; it has 1 to 15 bytes, no white space, no slash and no colon',
  'attach eth0 --zone 65536': '--zone: invalid zone "65536"; give 0 to 65535',
  'attach eth0 --limit-ports 0': '--limit-ports: invalid limit of ports "0"; give 1 to 1000000',
  'attach eth0 --limit-rate 50': '--limit-rate: invalid limit of new flows "50"; give N/s or N/s,BURST',
  'attach eth0 --limit-rate 0/s': '--limit-rate: invalid rate "0"; give 1 to 65535',
  'attach eth0 --limit-ports 1 --limit-prefix 65':
    '--limit-prefix: invalid prefix length "65"; give 35 to 64, or 128',
  'attach eth0 --limit-prefix 56':
    '--limit-prefix says whose limits they are; give --limit-ports or --limit-rate, too',
  'attach eth0 --mss 40': '--mss: invalid MSS "40"; give pmtu, or 88 to 65495 bytes',
  'nat add dnat -i eth0 -p icmp --dport 1 --to 10.0.0.2':
    '--dport: dport needs a protocol with ports: tcp, udp, sctp, udplite',
  'bpf ct list globl':
    "command-argument value 'globl' is invalid for argument 'scope'. Allowed choices are global; see ctnat bpf ct list --help",
  'bpf ct list -s 10.0.0': '--src: invalid address "10.0.0"; give IPv4 as 192.0.2.1 or IPv6 as 2001:db8::1',
  'bpf ct list -o yaml':
    "option '-o, --output <format>' argument 'yaml' is invalid. Allowed choices are text, json, jsonl; see ctnat bpf ct list --help",
  'bpf ct get': 'which flows? give a filter such as -s ADDRESS, or use `ctnat bpf ct list global`',
  'bpf ct delete': 'which flows? give a filter such as -s ADDRESS, or use `ctnat bpf ct flush global`',
  'bpf ct flush': "missing required argument 'scope'; see ctnat bpf ct flush --help",
  'gc now': "too many arguments for 'gc'. Expected 0 arguments but got 1; see ctnat gc --help",
  '-o json run': 'run prints no state: it has no --output',
  'gc --netns': "option '--netns <name>' argument missing; see ctnat gc --help",
  'gc --pin-path pins': '--pin-path: expected an absolute path, got "pins"',
  'completion fish':
    "command-argument value 'fish' is invalid for argument 'shell'. Allowed choices are bash, zsh; see ctnat completion --help",
};

for (const [line, message] of Object.entries(WRONG)) {
  test(`wrong usage: ctnat ${line}`, async (t) => {
    t.same(await ctnat(line), { status: 2, stdout: '', stderr: `ctnat: ${message}\n`, opened: [] });
  });
}

test('wrong usage: a relative CTNAT_PIN_PATH', async (t) => {
  t.match(await ctnat('gc', { env: { CTNAT_PIN_PATH: 'x' } }), {
    status: 2,
    stderr: 'ctnat: CTNAT_PIN_PATH: expected an absolute path, got "x"\n',
  });
});

test('what could not be done is one line and exit 1', async (t) => {
  const openProduct = async () => {
    throw new CtnatError('can not load ctnat: it needs CAP_BPF\nrun it as root\u001b[31m');
  };
  t.match(await ctnat('gc', { host: { openProduct } }), {
    status: 1,
    stdout: '',
    stderr: 'ctnat: can not load ctnat: it needs CAP_BPF run it as root\\u001b[31m\n',
  });
});

test('a failure inside the command closes the product and keeps its message', async (t) => {
  const product = new FakeProduct();
  product.sweep = () => {
    throw Object.assign(new Error('map is gone (ENOENT)'), { code: 'ENOENT' });
  };
  t.match(await ctnat('gc', { product }), { status: 1, stderr: 'ctnat: map is gone (ENOENT)\n' });
  t.equal(product.closed, 1);
});

test('a fault of ours is told as one, with its stack only for CTNAT_DEBUG', async (t) => {
  const product = new FakeProduct();
  product.sweep = () => {
    throw new TypeError('x is undefined');
  };
  t.match(await ctnat('gc', { product }), {
    status: 1,
    stderr: /^ctnat: internal error: TypeError: x is undefined\n$/,
  });
  t.match(await ctnat('gc', { product, env: { CTNAT_DEBUG: '1' } }), { stderr: /\n {4}at .*sweep/ });
});

test('timeouts set: a preset, then single ones; what holds is printed', async (t) => {
  const product = new FakeProduct();
  const run = (line: string) => ctnat(line, { product });
  t.match(await run('timeouts set tcp.established 1h icmp 1500ms'), {
    status: 0,
    stdout: /^tcp\.established +3600s$[\s\S]*^icmp +1\.5s$/m,
  });
  t.equal(product.held.udp, 120_000, 'the others stay');
  const netfilter = JSON.parse((await run('timeouts set --preset netfilter sctp.closed 20s -o json')).stdout);
  t.match(netfilter, {
    tcp: { established: 432_000 },
    udp: { timeout: 30 },
    sctp: { closed: 20, established: 210 },
  });
  t.same(JSON.parse((await run('timeouts list -o json')).stdout), netfilter);
});

for (const [line, message] of Object.entries({
  'timeouts set': 'which timeout? give a name and a duration such as tcp.established 1h, or --preset',
  'timeouts set tcp.establishd 1h': 'unknown timeout "tcp.establishd" (did you mean tcp.established?)',
  'timeouts set tcp.established': 'tcp.established: which value? give a duration such as 30s, 5m or 2h',
  'timeouts set icmp 5': 'icmp: expected a duration from 100ms to 365d, got "5"',
  'timeouts set udp.stream 1ms': 'udp.stream: expected a duration from 100ms to 365d, got "1ms"',
})) {
  test(`refuses: ${line}`, async (t) => {
    const product = new FakeProduct();
    const { status, stderr } = await ctnat(line, { product });
    t.equal(status, 2);
    t.ok(stderr.includes(message), stderr);
    t.equal(product.held.icmp, 60_000);
  });
}
