// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// `conntrack -E` beside the real one: both listen while the same commands make, change and delete the same flows.
import { EventEmitter } from 'node:events';
import { removePinDirectory } from 'libbpf-ts';
import t from 'tap';
import { Datapath } from '../../src/datapath.js';
import { KernelProduct } from '../../src/kernel-product.js';
import { Collected, ctnat, type Outcome } from '../helpers/command-line.js';
import { areNear, comparable } from '../helpers/conntrack/compare.js';
import { missingConntrack, RealConntrack } from '../helpers/conntrack/real.js';
import { Teardown } from '../helpers/teardown.js';
import { slowly } from '../helpers/wait.js';

const TCP = '-s 1.1.1.1 -d 2.2.2.2 -p tcp --dport 2';
const UDP = '-s 1.1.1.1 -d 2.2.2.2 -p udp --sport 5 --dport 6';

/** What happens while they listen. Marks of 0 are shown by the real one where a command has given them. */
const STORY = [
  `-I ${UDP} -t 100 -m 3`,
  `-U ${UDP} -u SEEN_REPLY,ASSURED`,
  `-U ${UDP} -m 4`,
  `-I ${TCP} --sport 1 --state SYN_SENT -t 100 -m 5`,
  `-I ${TCP} --sport 2 --state SYN_SENT -t 100 -m 5 -w 7`,
  `-I ${TCP} --sport 3 --state SYN_SENT -t 100 -m 6 -n 7.7.7.7:99`,
  `-U ${TCP} --sport 1 --state CLOSE`,
  `-D ${UDP}`,
  '-F',
];

/** Options, and how many events they let through. */
const LISTENERS: readonly (readonly [options: string, events: number])[] = [
  ['', 11],
  ['-o extended', 11],
  ['-o xml', 11],
  ['-e NEW', 4],
  ['-e UPDATES,DESTROY', 7],
  ['-p tcp', 7],
  ['-m 4', 2],
  ['-w 7', 2],
  ['-s 1.1.0.0/16 -p udp', 4],
  ['-n', 2],
  ['-o id', 11],
  ['-o timestamp', 11],
  ['-o timestamp,extended,id', 11],
  ['-o xml,timestamp', 11],
  ['-o save', 11],
  ['-e ALL', 11],
  ['-f ipv4 -e DESTROY', 4],
  ['-p udp --dport 6 -e UPDATES', 2],
  ['-p tcp --state CLOSE', 2],
];

/** Ours comes in one piece, the other's lines are counted as they come: an event has one in each form. */
function eventLines(text: string): string[] {
  return text.split('\n').filter((line) => /^<flow|^ *\[|^-[AUD] /.test(line));
}

/** What has been said, but for who made a change, which only the kernel knows. */
function said({ status, stdout, stderr }: Outcome): ReturnType<typeof comparable> {
  // the real one saves no mark
  const text = stdout.replace(/ \[USERSPACE\].*/g, '').replace(/^(-[AUD] .*) -m \d+/gm, '$1');
  return comparable({ status, stdout: text, stderr });
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  for (const end = Date.now() + slowly(20_000); !isSo(); ) {
    if (Date.now() > end) throw new Error(`still waiting for ${what}`);
    await new Promise((resolve) => setImmediate(resolve));
  }
}

t.setTimeout(slowly(300_000));

t.test('events are told as conntrack(8) tells them', { skip: missingConntrack() ?? false }, async (t) => {
  const teardown = Teardown.of(t);
  const real = await RealConntrack.create(teardown);
  const pinPath = `/sys/fs/bpf/ctn${process.pid}-events`;
  teardown.defer(pinPath, () => removePinDirectory(pinPath));
  const datapath = await Datapath.load(pinPath, { flows4: 1024, flows6: 1024 });
  teardown.defer('the handles', () => datapath.close());
  const host = { openProduct: async () => new KernelProduct(pinPath) };

  async function theirs(options: string, events: number): Promise<Outcome> {
    const daemon = real.start(['-E', ...options.split(' ').filter(Boolean)]);
    teardown.defer('conntrack -E', () => daemon.stop());
    await until('the real one to listen', () => real.isListening());
    for (const line of STORY) real.run(line.split(' '));
    await until(`${events} events of the real one`, () => eventLines(daemon.stdout).length >= events);
    const status = await daemon.stop('SIGINT');
    return { status, stdout: daemon.stdout, stderr: daemon.stderr, opened: [] };
  }

  async function ours(options: string, events: number): Promise<Outcome> {
    const signals = new EventEmitter();
    const stdout = new Collected();
    const words = ['conntrack', '-E', ...options.split(' ').filter(Boolean)];
    const listening = ctnat(words, { signals, host: { ...host, stdout } });
    await until('ctnat to listen', () => datapath.settings.events.some((readers) => readers !== 0));
    for (const line of STORY) await ctnat(['conntrack', ...line.split(' ')], { host });
    await until(`${events} events of ctnat: ${stdout.text}`, () => eventLines(stdout.text).length >= events);
    signals.emit('SIGINT');
    return { ...(await listening), stdout: stdout.text };
  }

  for (const [options, events] of LISTENERS) {
    const wanted = said(await theirs(options, events));
    const found = said(await ours(options, events));
    const { timeouts, ...rest } = found;
    const { timeouts: wantedTimeouts, ...wantedRest } = wanted;
    t.same(rest, wantedRest, `-E ${options}`);
    t.ok(areNear(timeouts, wantedTimeouts, slowly(2)), `-E ${options}: timeouts`);
  }
});

t.test('-E ends by a signal, in each form of its own', async (t) => {
  const teardown = Teardown.of(t);
  const pinPath = `/sys/fs/bpf/ctn${process.pid}-forms`;
  teardown.defer(pinPath, () => removePinDirectory(pinPath));
  const datapath = await Datapath.load(pinPath, { flows4: 64, flows6: 64 });
  teardown.defer('the handles', () => datapath.close());
  const host = { openProduct: async () => new KernelProduct(pinPath) };
  async function listen(options: string): Promise<Outcome> {
    const signals = new EventEmitter();
    const stdout = new Collected();
    const listening = ctnat(['conntrack', '-E', ...options.split(' ')], {
      signals,
      host: { ...host, stdout },
    });
    await until('ctnat to listen', () => datapath.settings.events.some((readers) => readers !== 0));
    await ctnat(['conntrack', ...`-I ${UDP} -t 100 -m 3`.split(' ')], { host });
    await ctnat(['conntrack', '-F'], { host });
    await until('two events', () => (stdout.text.match(/1\.1\.1\.1.*1\.1\.1\.1/g) ?? []).length >= 2);
    signals.emit('SIGINT');
    return { ...(await listening), stdout: stdout.text };
  }

  const json = await listen('-o json');
  t.match(JSON.parse(json.stdout), [{ type: 'new' }, { type: 'destroy', cause: 'flushed' }]);
  t.match(json, { status: 0, stderr: /: 2 flow events have been shown\.\n$/ });
  const lines = (await listen('-o jsonl')).stdout.trimEnd().split('\n');
  t.match(
    lines.map((line) => JSON.parse(line) as object),
    [{ type: 'new' }, { type: 'destroy' }],
  );

  const save = (await listen('-o save')).stdout.split('\n');
  t.match(
    save[0],
    /^-A -t 100 -u UNSET -m 3 -s 1.1.1.1 -d 2.2.2.2 -r 2.2.2.2 -q 1.1.1.1 -p udp .* \[USERSPACE\]$/,
  );
  t.match(save[1], /^-D -t \d+ -u UNSET -m 3 -s 1.1.1.1 /);

  const timed = (await listen('-o timestamp,ktimestamp')).stdout.split('\n');
  t.match(
    timed[0],
    /^\[\d{10}\.\d{6}\]\t {4}\[NEW\] udp {6}17 100 src=1.1.1.1 .* mark=3 delta-time=0 \[start=\w{3} \w{3} [ \d]\d \d\d:\d\d:\d\d \d{4}\]/,
  );
  t.match(timed[1], /^\[\d{10}\.\d{6}\]\t\[DESTROY\] udp .* \[start=.*\] \[stop=.*\]/);

  const xml = (await listen('-o xml,timestamp')).stdout;
  t.match(
    xml,
    /^<\?xml .*\n<conntrack>\n<flow type="new">.*<when><hour>\d+<\/hour>.*<\/when><\/flow> \[USERSPACE\]\n<flow type="destroy">.*\n<\/conntrack>\n$/,
  );
});
