// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `ctnat conntrack` without a kernel and without the real tool: how its words are read, and what it prints.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'tap';
import { ConntrackUsageError } from '../../src/conntrack/failure.js';
import { getopt } from '../../src/conntrack/getopt.js';
import { LabelNames } from '../../src/conntrack/labels.js';
import { wordsOf } from '../../src/conntrack/load-file.js';
import { OPTIONS } from '../../src/conntrack/option-table.js';
import { parse } from '../../src/conntrack/parse.js';
import { protocolByName } from '../../src/conntrack/protocol-names.js';
import { flowId } from '../../src/conntrack/shown.js';
import { type Flow, statusNames } from '../../src/flow.js';
import { PrivilegeError } from '../../src/privileges.js';
import { ctnat, type Outcome } from '../helpers/command-line.js';
import { exampleFlow, FakeProduct, pingFlow } from '../helpers/fake-product.js';

const SUMMARY = 'conntrack v1.4.7 (conntrack-tools): ';

function product(...flows: Flow[]): FakeProduct {
  const made = new FakeProduct();
  made.table = flows;
  return made;
}

function conntrack(line: string, on = product(exampleFlow()), stdin = ''): Promise<Outcome> {
  return ctnat(`conntrack ${line}`, { product: on, stdin });
}

/** What getopt makes of a line: each option's key, and its value. */
function read(line: string): string[] {
  return [...getopt(line.split(' '), OPTIONS)].map(({ option, value }) =>
    value === undefined ? option.key : `${option.key}=${value}`,
  );
}

test('options are taken apart as getopt_long does', (t) => {
  t.same(read('-s 1 --dst 2 --reply-src=3'), ['src=1', 'dst=2', 'reply-src=3']);
  t.same(read('-s1 -pudp'), ['src=1', 'protonum=udp'], 'the value in the same word');
  t.same(read('--fam ipv4 --out id'), ['family=ipv4', 'output=id'], 'an unambiguous beginning');
  t.same(read('-zs 1'), ['zero', 'src=1'], 'two options in one word');
  t.same(read('foo -z bar -- -s 1'), ['zero'], 'plain words are passed over, behind -- all');
  t.same(read('-n -g 1.1.1.1'), ['src-nat', 'dst-nat=1.1.1.1'], 'an optional value may be the next word');
  t.same(read('--orig-src 1 --orig-d 2'), ['src=1', 'dst=2'], 'several spellings of one option');
  for (const line of ['-Q', '--bogus', '--s 1', '--mask 1', '--zero=5'])
    t.throws(() => read(line), ConntrackUsageError, line);
  t.throws(() => read('-s'), { message: "option `-s' requires an argument" });
  t.throws(() => read('--src'), { message: "option `--src' requires an argument" });
  t.end();
});

test('the options of a protocol may stand before it', (t) => {
  t.match(parse(['-L', '--sport', '5', '-p', 'udp']).flow, { proto: 17, original: { sport: 5 } });
  t.match(parse(['--state', 'CLOSE', '-Lp', '-ptcp']).flow, { proto: 6, state: 'CLOSE' });

  t.throws(() => parse(['-L', '--sport', '5']), { message: "unknown option `--sport'" });
  t.throws(() => parse(['-L', '-p', 'udp', '--state', 'CLOSE']), { message: "unknown option `--state'" });
  t.end();
});

test('options of ctnat stand behind the command too, in full', async (t) => {
  const { opened } = await conntrack('-L --pin-path /sys/fs/bpf/other --netns blue');
  t.same(opened, [{ pinPath: '/sys/fs/bpf/other', netns: 'blue' }]);
  t.match(await conntrack('-L --pin /x'), { status: 2, stderr: /unknown option `--pin'/ });
  t.match((await ctnat('--netns red conntrack -C')).opened, [{ netns: 'red' }]);
});

test('flows are shown in every form', async (t) => {
  const plain =
    'tcp      6 7439 ESTABLISHED src=10.0.0.2 dst=192.0.2.9 sport=40000 dport=80 packets=12 bytes=3400 ' +
    'src=192.0.2.9 dst=198.51.100.1 sport=80 dport=40000 packets=10 bytes=9000 [ASSURED] mark=0 use=1';
  t.same(await conntrack('-L'), {
    status: 0,
    stdout: `${plain}\n`,
    stderr: `${SUMMARY}1 flow entries have been shown.\n`,
    opened: [{ pinPath: '/sys/fs/bpf/ctnat' }],
  });
  t.equal((await conntrack('-L -o extended')).stdout, `ipv4     2 ${plain}\n`);
  const id = flowId(exampleFlow(), 4096);
  t.equal((await conntrack('-L -o id')).stdout, `${plain} id=${id}\n`);
  t.match(
    (await conntrack('-L -o ktimestamp')).stdout,
    / mark=0 delta-time=12 \[start=\w{3} \w{3} .* \d{4}\] use=1\n$/,
  );
  t.equal(
    (await conntrack('-L -o save')).stdout,
    '-A -t 7439 -u SEEN_REPLY,ASSURED -s 10.0.0.2 -d 192.0.2.9 -r 192.0.2.9 -n 198.51.100.1 -p tcp --sport 40000 ' +
      '--dport 80 --reply-port-src 80 --reply-port-dst 40000 --state ESTABLISHED\n',
  );
  t.match(JSON.parse((await conntrack('-L -o json')).stdout), [{ proto: 'tcp', timeout: 7439 }]);
  t.same(JSON.parse((await conntrack('-L -o json -s 9.9.9.9')).stdout), []);
  t.equal(
    (await conntrack('-L -o jsonl')).stdout,
    (await ctnat('-o jsonl conntrack -L', { product: product(exampleFlow()) })).stdout,
  );
});

test('other protocols, zones and marks stand where conntrack has them', async (t) => {
  const { state: _, ...bare } = exampleFlow();
  const esp = {
    ...bare,
    proto: 'esp',
    protonum: 50,
    original: { src: '10.0.0.2', dst: '192.0.2.9', packets: 1, bytes: 2 },
    reply: { src: '192.0.2.9', dst: '10.0.0.2', packets: 0, bytes: 0 },
    status: statusNames(0),
    zone: 5,
    mark: 7,
  };
  const { stdout } = await conntrack('-L', product(pingFlow(), esp));

  t.equal(
    stdout,
    'icmp     1 59 src=10.0.0.3 dst=192.0.2.9 type=8 code=0 id=77 packets=1 bytes=84 [UNREPLIED] ' +
      'src=192.0.2.9 dst=198.51.100.1 type=0 code=0 id=78 packets=0 bytes=0 mark=0 use=1\n' +
      'unknown  50 7439 src=10.0.0.2 dst=192.0.2.9 packets=1 bytes=2 [UNREPLIED] ' +
      'src=192.0.2.9 dst=10.0.0.2 packets=0 bytes=0 mark=7 zone=5 use=1\n',
  );
  const saved = (await conntrack('-L -o save', product(pingFlow(), esp))).stdout.split('\n');
  t.match(saved[0], / -n 198.51.100.1:78 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77$/);
  t.equal(saved[1], '-A -t 7439 -u UNSET -m 7 -w 5 -s 10.0.0.2 -d 192.0.2.9 -r 192.0.2.9 -q 10.0.0.2 -p 50');
});

test('what is saved is loaded as it was: translated identifiers, verification tags', async (t) => {
  const ping6: Flow = {
    ...pingFlow(),
    family: 'ipv6',
    proto: 'icmpv6',
    protonum: 58,
    original: { src: 'fd00::2', dst: '2001:db8::9', type: 128, code: 0, id: 77, packets: 1, bytes: 84 },
    reply: { src: '2001:db8::9', dst: '2001:db8::1', type: 129, code: 0, id: 78, packets: 0, bytes: 0 },
  };
  const sctp: Flow = { ...exampleFlow(), proto: 'sctp', protonum: 132, vtags: [7, 0xffff_fffe] };
  const saved = (await conntrack('-L -o save', product(pingFlow(), ping6, sctp))).stdout;
  t.match(saved, / -n \[2001:db8::1\]:78 -p icmpv6 /);
  t.match(saved, / --state ESTABLISHED --orig-vtag 7 --reply-vtag 4294967294\n$/);

  const loaded = product();
  t.match(await conntrack('-R -', loaded, saved), { status: 0, stderr: '' });
  t.match(loaded.table, [
    { original: { sport: 77 }, reply: { dst: '198.51.100.1', sport: 78, dport: 78 } },
    { original: { sport: 77 }, reply: { dst: '2001:db8::1', sport: 78, dport: 78 } },
    { state: 'ESTABLISHED', vtags: [7, 0xffff_fffe], reply: { dst: '198.51.100.1', dport: 40_000 } },
  ]);
});

test('XML has its frame only around flows, and the fields of ICMP', async (t) => {
  t.equal((await conntrack('-L -o xml', product())).stdout, '');
  const { stdout } = await conntrack('-L -o xml', product(pingFlow()));
  t.match(
    stdout,
    /^<\?xml version="1.0" encoding="utf-8"\?>\n<conntrack>\n<flow><meta direction="original">/,
  );
  t.match(
    stdout,
    /<layer4 protonum="1" protoname="icmp"><type>8<\/type><code>0<\/code><id>77<\/id><\/layer4>/,
  );
  t.match(
    stdout,
    /<timeout>59<\/timeout><mark>0<\/mark><use>1<\/use><id>\d+<\/id><unreplied\/><\/meta><\/flow>\n<\/conntrack>\n$/,
  );
});

test('flows are made, changed, found and deleted, in the words and statuses of conntrack', async (t) => {
  const on = product();
  const udp = '-s 1.1.1.1 -d 2.2.2.2 -p udp --sport 5 --dport 6';
  t.match(await conntrack(`-I ${udp} -t 100`, on), {
    status: 0,
    stdout: '',
    stderr: `${SUMMARY}1 flow entries have been created.\n`,
  });
  t.match(await conntrack(`-I ${udp} -t 100`, on), {
    status: 1,
    stderr: `${SUMMARY}Operation failed: Such conntrack exists, try -U to update\n`,
  });
  t.match(await conntrack(`-A ${udp} -t 100`, on), {
    status: 0,
    stderr: `${SUMMARY}0 flow entries have been added.\n`,
  });
  t.match(await conntrack(`-U ${udp} -m 5 -t 7`, on), {
    status: 0,
    stdout: /^udp {6}17 7 .* mark=5 use=2\n$/,
  });
  t.match(await conntrack(`-U ${udp} -m 5`, on), {
    status: 1,
    stdout: '',
    stderr: `${SUMMARY}0 flow entries have been updated.\n`,
  });
  t.match(await conntrack(`-G ${udp}`, on), { status: 0, stdout: / mark=5 use=2\n$/ });
  t.match(await conntrack('-C', on), { status: 0, stdout: '1\n', stderr: '' });
  t.match(await conntrack(`-D ${udp}`, on), { status: 0, stdout: / use=1\n$/ });
  t.match(await conntrack(`-D ${udp}`, on), {
    status: 1,
    stdout: '',
    stderr: `${SUMMARY}0 flow entries have been deleted.\n`,
  });
  t.match(await conntrack(`-G ${udp}`, on), {
    status: 1,
    stderr: `${SUMMARY}Operation failed: such conntrack doesn't exist\n`,
  });
  t.match(await conntrack('-F', on), {
    status: 0,
    stderr: `${SUMMARY}connection tracking table has been emptied.\n`,
  });
});

test('the lines of a file are all read before the first is done', async (t) => {
  const line = (port: number): string => `-A -t 100 -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 5 --dport ${port}`;
  const on = product();
  t.match(
    await conntrack(
      '-R -',
      on,
      `${line(1)}\n\n \t\n"-A" -t 100 -s "1.1.1.1" -d 2.2.2.2 -p udp --sport 5 --dport 2\nno command\n`,
    ),
    {
      status: 0,
      stdout: '',
      stderr: '',
    },
  );
  t.equal(on.table.length, 2);
  t.match(await conntrack('-R -', on, `${line(3)}\n-L\n`), {
    status: 2,
    stderr: /: Cannot use command `-L' with --load-file\n/,
  });
  t.match(await conntrack('-R -', on, `${line(4)}\n-A -p udp\n`), { status: 2, stderr: /`--timeout'/ });
  t.equal(on.table.length, 2, 'nothing was made of either');
  t.match(
    await conntrack('-R -', on, '-D -s 9.9.9.9\n'),
    { status: 0 },
    'to delete nothing is no error there',
  );
  t.match(await conntrack('-R /nonexistent', on), {
    status: 2,
    stderr: /: Failed to open file \/nonexistent for reading\n/,
  });
  t.same(wordsOf('a "b c" d\t e'), ['a', 'b c', 'd', 'e']);
});

test('statistics have a line for each CPU', async (t) => {
  const { stdout } = await conntrack('-S');
  t.equal(
    stdout.split('\n')[1],
    'cpu=1   \tfound=0 invalid=3 insert=4 insert_failed=5 drop=6 early_drop=7 error=0 search_restart=0 clash_resolve=8 chaintoolong=0 ',
  );
  t.match(
    (await conntrack('-S expect')).stdout,
    /^cpu=0 {3}\texpect_new=0 expect_create=0 expect_delete=0 \n/,
  );
});

test('without the privileges the words of conntrack come first, and then which capability is missing', async (t) => {
  const openProduct = () => Promise.reject(new PrivilegeError('can not use it: CAP_BPF is missing'));
  t.match(await ctnat('conntrack -L', { host: { openProduct } }), {
    status: 1,
    stderr:
      `${SUMMARY}Operation failed: sorry, you must be root or get CAP_NET_ADMIN capability to do this\n` +
      'ctnat: can not use it: CAP_BPF is missing\n',
  });
});

test('labels are named by the file', (t) => {
  const names = new LabelNames(
    '0 web\n1\tdns\n# 2 no\n3 no # comment\n127 last\n128 beyond\n1 again\nweb 3\n',
  );
  t.equal(names.bitsOf('web,last'), (1n << 127n) | 1n);
  t.same(names.namesOf((1n << 127n) | 0b110n), ['dns', 'last'], 'one without a name is left out');
  t.throws(() => names.bitsOf('web,nope'), { message: "unknown label 'nope'" });
  const told: string[] = [];
  LabelNames.load('/nonexistent', (line) => told.push(line));
  t.same(told, ['nfct_labelmap_new: No such file or directory\n']);

  const folder = mkdtempSync(join(tmpdir(), 'ctnat-labels-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const labelFile = join(folder, 'connlabel.conf');
  writeFileSync(labelFile, '4 mail\n5 news\n');
  const labels = (...words: string[]) => parse(['-U', '-l', 'mail', ...words], { labelFile }).flow.labels;
  t.same(labels('--label-add', 'news'), { wanted: 16n, add: 32n });
  t.same(labels('--label-del'), { wanted: 16n, remove: (1n << 128n) - 1n });
  t.throws(() => labels('--label-add', 'news', '--label-del'), { message: /at the same time/ });
  t.end();
});

test("protocols have the host's names, too", (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'ctnat-protocols-'));
  t.teardown(() => rmSync(folder, { recursive: true }));
  const file = join(folder, 'protocols');
  writeFileSync(
    file,
    '# names\nhopopt\t0\tHOPOPT  # with a comment\n\nesp 50 IPSEC-ESP sealed\nlarge 256\nbare\nodd 5x\nsecond 50 esp hopopt\n',
  );
  const wanted: [string, number | undefined][] = [
    ['hopopt', 0],
    ['HOPOPT', 0],
    ['Hopopt', undefined],
    ['IPSEC-ESP', 50],
    ['sealed', 50],
    ['second', 50],
    ...['large', 'bare', 'odd', '#', 'with', ''].map((name): [string, undefined] => [name, undefined]),
  ];
  for (const [name, number] of wanted) t.equal(protocolByName(name, file), number, name);
  t.equal(protocolByName('esp', join(folder, 'nothing')), undefined, 'without the file there are none');
  t.end();
});

test('ids are of 32 bits and differ among live flows', (t) => {
  const ids = new Set<number>();
  for (const family of ['ipv4', 'ipv6'] as const)
    for (let slot = 0; slot < 1000; slot++) ids.add(flowId({ family, slot, gen: slot * 7 }, 1000));
  t.equal(ids.size, 2000);
  t.ok([...ids].every((id) => Number.isInteger(id) && id >= 0 && id < 2 ** 32));
  t.not(flowId({ family: 'ipv4', slot: 1, gen: 1 }, 1000), flowId({ family: 'ipv4', slot: 1, gen: 2 }, 1000));
  t.end();
});
