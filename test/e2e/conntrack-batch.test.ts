// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What conntrack(8) takes from files, and what it shows only where the kernel is told to keep it: `-R`, labels,
// timestamps, counters of CPUs. The real one on Netfilter's table, ours on its own, side by side.
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import t, { type Test } from 'tap';
import { areNear, comparable } from '../helpers/conntrack/compare.js';
import { OurConntrack } from '../helpers/conntrack/ours.js';
import { hasOverlay, missingConntrack, type Outcome, RealConntrack } from '../helpers/conntrack/real.js';
import { Teardown } from '../helpers/teardown.js';
import { slowly } from '../helpers/wait.js';

const UDP = '-s 1.1.1.1 -d 2.2.2.2 -p udp --sport 5 --dport 6';
const flow = (sport: number, more = ''): string =>
  `-I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport ${sport} --dport 2 -t 100${more}`;

/** What a file of `-R` says, by what it is about. */
const FILES: Readonly<Record<string, string>> = {
  nothing: '',
  'blank lines': '\n\n  \n\t\n',
  'flows to make': `${flow(1)}\n${flow(2, ' -u ASSURED')}\n${flow(3, ' -n 7.7.7.7')}\n`,
  'no newline at the end': flow(1),
  'blanks around and between': `   ${flow(1).replaceAll(' ', '   ')}   \n\t${flow(2)}\n`,
  'quoted words': `-I "-s" 1.1.1.1 -d "2.2.2.2" -p udp --sport 1 --dport 2 -t 100\n`,
  'one that is there already': `${flow(1)}\n${flow(1)}\n${flow(2)}\n`,
  'the same, which -A takes': `${flow(1)}\n${flow(1).replace('-I', '-A')}\n${flow(2)}\n`,
  'a line that is wrong in the middle': `${flow(1)}\n-I --bogus\n${flow(2)}\n`,
  'a line without a command': `${flow(1)}\n-s 1.1.1.1\n${flow(2)}\n`,
  'a deletion of nothing': `-D -s 9.9.9.9\n${flow(2)}\n`,
  'a deletion, and a flow again': `${flow(1)}\n-D -s 1.1.1.1\n${flow(2)}\n`,
  'an update': `${flow(1)}\n-U -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 50\n`,
  'an update of nothing': `-U -s 9.9.9.9 -m 5\n${flow(2)}\n`,
  'everything away, and a flow': `${flow(1)}\n-F\n${flow(2)}\n`,
  'a command that only shows': `${flow(1)}\n-L\n`,
  'a command that counts': `-C\n`,
  'a file within': `-R /dev/null\n`,
  'what is missing in a line': `${flow(1)}\n-I -p udp -t 5\n`,
  'an address that is none': `-I -s 300.1.1.1 -d 2.2.2.2 -p udp --sport 1 --dport 2 -t 100\n`,
  'both families': `${flow(1)}\n-I -s ::1 -d ::2 -p udp --sport 1 --dport 2 -t 100\n`,
};

/** Commands on labels; connlabel.conf is LABELS. */
const LABELS = `# bits and names
0 zeroth
1 web
2 voice
1 twice
3 commented # out
5  spaced  \t
 6 indented
7\ttabbed
9 two words
0x0d hex
010 octal
127 last
128 beyond
300 far
11
12 #hash
-1 minus
x y
`;
const LABEL_LINES = [
  `-I ${UDP} -t 100 --label-add web`,
  '-L',
  ...['labels', 'labels,extended', 'labels,id', 'xml', 'xml,labels', 'id'].map((output) => `-L -o ${output}`),
  ...['zeroth', 'web', 'voice', 'twice', 'commented', 'spaced', 'indented', 'tabbed', 'two', 'hex'].map(
    (name) => `-L -l ${name}`,
  ),
  ...['octal', 'last', 'beyond', 'far', 'hash', '#hash', 'minus', 'y', 'bogus'].map(
    (name) => `-L -l ${name}`,
  ),
  ...['web,voice', 'web,', ',web', 'web,,voice', 'web,bogus'].map((names) => `-L -l ${names}`),
  '-L -l web -o xml',
  '-L -l web -o save',
  `-G ${UDP} -o labels`,
  `-G ${UDP} -l web`,
  `-G ${UDP} -l voice`,
  `-U ${UDP} --label-add voice,last -o labels`,
  '-L -l web,voice',
  '-L -l last -l voice',
  `-U ${UDP} --label-add voice`,
  `-U ${UDP} --label-add hex,octal,spaced,tabbed`,
  `-U ${UDP} --label-add beyond`,
  `-U ${UDP} --label-add far,web`,
  `-U ${UDP} --label-add bogus`,
  `-U ${UDP} --label-del web -o labels`,
  `-U ${UDP} --label-del web`,
  '-L -l web',
  `-U ${UDP} --label-add web --label-del web`,
  `-U ${UDP} --label-del --label-add web`,
  '-L --label-add web --label-del web',
  `-U ${UDP} -m 9 -o labels`,
  `-U ${UDP} -m 8`,
  '-L -o labels',
  `-U ${UDP} --label-del`,
  `-U ${UDP} --label-del`,
  `-U ${UDP} --label-del web`,
  '-L -o labels',
  `-U ${UDP} --label-add zeroth -o xml`,
  '-D -l web',
  '-D -l zeroth -o labels',
  '-C',
  `-I ${UDP} -t 100 --label-add beyond`,
  '-L -o labels',
  '-D -o xml,labels',
];

const TIME_LINES = [
  `-I ${UDP} -t 100 -u SEEN_REPLY`,
  '-L -o ktimestamp',
  '-L -o ktimestamp,id,extended',
  '-L -o xml,ktimestamp',
  `-G ${UDP} -o ktimestamp`,
  `-U ${UDP} -m 5 -o ktimestamp`,
  `-U ${UDP} -m 6 -o xml,ktimestamp`,
  '-D -o ktimestamp',
  `-I ${UDP} -t 100`,
  '-D -o xml,ktimestamp',
];

const skip = missingConntrack() ?? false;
t.setTimeout(slowly(200_000));

/** Holds what both have said to be the same, but for what differs from run to run. */
function same(t: Test, found: Outcome, wanted: Outcome, name: string): void {
  const { timeouts, ...rest } = comparable(found);
  const { timeouts: wantedTimeouts, ...wantedRest } = comparable(wanted);
  t.same(rest, wantedRest, name);
  t.ok(areNear(timeouts, wantedTimeouts, slowly(2)), `${name}: timeouts`);
}

t.test('-R does what a file says, and refuses what conntrack(8) refuses', { skip }, async (t) => {
  const teardown = Teardown.of(t);
  const real = await RealConntrack.create(teardown);
  const ours = await OurConntrack.create('files', teardown);
  const folder = mkdtempSync(join(tmpdir(), 'ctnat-files-'));
  teardown.defer(folder, () => rmSync(folder, { recursive: true, force: true }));
  const file = join(folder, 'flows');
  for (const [name, input] of Object.entries(FILES)) {
    real.run(['-F']);
    await ours.run(['-F']);
    writeFileSync(file, input);
    same(t, await ours.run(['-R', file]), real.run(['-R', file]), name);
    same(t, await ours.run(['-L']), real.run(['-L']), `${name}: what there is then`);
  }
  const absent = ['-R', '/nonexistent'];
  t.same(await ours.run(absent), real.run(absent), 'a file that is not there');
  t.match(
    await ours.run(['-R', '/']),
    { status: 2, stderr: /Failed to open file \/ for reading\n/ },
    'a folder is refused; the real one takes it for an empty file',
  );
});

t.test('labels are named, set, taken away and looked for as conntrack(8) does', { skip }, async (t) => {
  if (!hasOverlay()) return t.pass('no overlay file system: the real one can not be given names');
  const teardown = Teardown.of(t);
  const folder = mkdtempSync(join(tmpdir(), 'ctnat-labels-'));
  teardown.defer(folder, () => rmSync(folder, { recursive: true, force: true }));
  mkdirSync(join(folder, 'etc/xtables'), { recursive: true });
  const file = join(folder, 'etc/xtables/connlabel.conf');
  writeFileSync(file, LABELS);
  const real = await RealConntrack.create(teardown);
  await real.keepLabels();
  const ours = await OurConntrack.create('labels', teardown);
  for (const line of LABEL_LINES) {
    const words = line.split(' ');
    same(t, await ours.run(words, '', file), real.run(words, '', folder), line);
  }
});

t.test('the times of a flow are shown as conntrack(8) shows them', { skip }, async (t) => {
  const teardown = Teardown.of(t);
  const real = await RealConntrack.create(teardown);
  await real.sysctl({ 'net.netfilter.nf_conntrack_timestamp': 1 });
  const ours = await OurConntrack.create('times', teardown);
  for (const line of TIME_LINES) {
    const words = line.split(' ');
    same(t, await ours.run(words), real.run(words), line);
  }
});

t.test('-S has a line for each CPU, its counters named in order', { skip }, async (t) => {
  const teardown = Teardown.of(t);
  const real = await RealConntrack.create(teardown);
  const ours = await OurConntrack.create('statistics', teardown);
  const names = ({ status, stdout, stderr }: Outcome) => ({
    status,
    stdout: stdout.replace(/(?<=[a-z]=)\d+/g, (digits, at: number) =>
      stdout.slice(at - 4, at) === 'cpu=' ? digits : '0',
    ),
    stderr,
  });
  for (const line of ['-S', '-S expect', '-S conntrack']) {
    const words = line.split(' ');
    t.same(names(await ours.run(words)), names(real.run(words)), line);
  }
});
