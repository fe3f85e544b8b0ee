// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// One router, the same packets, both tables: Netfilter and ctnat track beside each other, nothing is translated, and
// conntrack(8) and `ctnat conntrack` say the same of every flow and of every event, in every form.
import t, { type Test } from 'tap';
import { areNear, type Comparable, comparable } from '../helpers/conntrack/compare.js';
import { missingConntrack, type Outcome, RealConntrack } from '../helpers/conntrack/real.js';
import type { Ctnat } from '../helpers/ctnat.js';
import { inject } from '../helpers/inject.js';
import { CTNAT_ONLY, ctnatFor } from '../helpers/nat.js';
import {
  build,
  ethernet,
  gre,
  icmp,
  ipv4,
  ipv6,
  type Layer,
  PROTOCOL,
  raw,
  sctp,
  sctpChunk,
  tcp,
} from '../helpers/packet.js';
import { Daemon } from '../helpers/process.js';
import { Resident } from '../helpers/resident.js';
import { network, TCP_PORT, UDP_PORT } from '../helpers/scene.js';
import { askUdplite, serveUdplite } from '../helpers/udplite.js';
import { slowly, until } from '../helpers/wait.js';

const SEARCHES = [
  ...[
    '',
    '-o extended',
    '-o xml',
    '-o save',
    '-f ipv4',
    '-f ipv6',
    '-f ipv6 -o extended',
    '-p tcp',
    '-p udp',
  ],
  ...['-p tcp --state ESTABLISHED', '-p tcp --state TIME_WAIT', '-p tcp --state SYN_SENT -o save'],
  ...['-p tcp --sport 40000', '-p tcp --dport 81', '-p tcp --reply-port-src 7000', '-p udp --dport 5353'],
  ...[
    '-p icmp',
    '-p icmp --icmp-type 8',
    '-p icmpv6 --icmpv6-code 0',
    '-p udplite',
    '-p gre',
    '-p 50',
    '-p esp',
  ],
  ...[
    '-p sctp',
    '-p sctp --state CLOSED',
    '-p sctp -o save',
    '-u ASSURED',
    '-u SEEN_REPLY',
    '-u SEEN_REPLY,ASSURED',
  ],
  ...[
    '-s 10.0.0.2',
    '-s 10.0.0.0/24',
    '-d 198.51.100.9',
    '-r 198.51.100.9',
    '-q 10.0.0.2',
    '-s fd00:10::/32',
  ],
  ...['-m 0', '-m 1', '-w 0', '-w 1', '-n', '-g', '-j', '-u FIXED_TIMEOUT', '-l nothing'],
].map((options) => `-L ${options}`.trim());

/** At the end: what is found, and what goes. The real one can not change flows that packets have made. */
const STORY = [
  '-C',
  '-G -p tcp -s 10.0.0.2 -d 198.51.100.9 --sport 40000 --dport 7000',
  '-G -p tcp -s 198.51.100.9 -d 10.0.0.2 --sport 7000 --dport 40000 -o extended',
  '-G -p udp -s 10.0.0.2 -d 198.51.100.9 --sport 41000 --dport 5353 -o xml',
  '-G -p 50 -s 10.0.0.2 -d 198.51.100.9',
  '-D -p tcp --state SYN_SENT',
  '-D -p tcp --state SYN_SENT',
  '-D -p icmp -o extended',
  '-D -f ipv6 -p udp -o save',
  '-D -p sctp -o xml',
  '-C',
  '-L -z',
  '-L',
  '-F',
  '-C',
  '-L',
];

/** Sysctls behind `net.netfilter.nf_conntrack_`, and ctnat's names: all as long, so that nothing ends meanwhile. */
const TIMEOUTS: Readonly<Record<string, string>> = {
  udp_timeout: 'udp.timeout',
  udp_timeout_stream: 'udp.stream',
  icmp_timeout: 'icmp.timeout',
  icmpv6_timeout: 'icmpv6.timeout',
  gre_timeout: 'gre.timeout',
  gre_timeout_stream: 'gre.stream',
  sctp_timeout_closed: 'sctp.closed',
  sctp_timeout_cookie_wait: 'sctp.cookie_wait',
  tcp_timeout_syn_sent: 'tcp.syn_sent',
  tcp_timeout_time_wait: 'tcp.time_wait',
};
const SECONDS = 3600;

/** Netfilter tracks what somebody asks it about. */
const TRACK = `table inet track { chain pre { type filter hook prerouting priority 0; ct state new counter; }; }`;

const skip = CTNAT_ONLY || (missingConntrack() ?? false);
t.setTimeout(slowly(240_000));

/** What is different on purpose, taken out of what both say. */
function withoutDifferences({ status, stdout, stderr }: Outcome): Outcome {
  const text = stdout
    .replace(/<type>\d+<\/type><code>\d+<\/code><id>\d+<\/id>/g, '') // the real one's XML has nothing of ICMP
    .replace(/(?<=protoname="sctp".*)<state>(SYN_SENT|CLOSED|SYN_RECV|COOKIE_WAIT)</g, '<state><'); // and names SCTP's states as TCP's
  return { status, stdout: text, stderr };
}

const said = (outcome: Outcome): Comparable => comparable(withoutDifferences(outcome));

const words = (line: string): string[] => line.split(' ');

async function ours(ctnat: Ctnat, line: string): Promise<Outcome> {
  const { status, stdout, stderr } = await ctnat.run(['conntrack', ...words(line)], { mayFail: true });
  return { status, stdout, stderr };
}

function differs(a: Comparable, b: Comparable): boolean {
  const { timeouts, ...rest } = a;
  const { timeouts: others, ...more } = b;
  return JSON.stringify(rest) !== JSON.stringify(more) || !areNear(timeouts, others, slowly(2));
}

function same(t: Test, found: Comparable, wanted: Comparable, name: string): void {
  const { timeouts, ...rest } = found;
  const { timeouts: wantedTimeouts, ...wantedRest } = wanted;
  t.same(rest, wantedRest, name);
  t.ok(areNear(timeouts, wantedTimeouts, slowly(2)), `${name}: timeouts ${timeouts}, ${wantedTimeouts}`);
}

/** What has been said of events, but for who made a change, which only the kernel knows. */
function told(text: string): Comparable {
  return comparable({ status: 0, stdout: text.replace(/ \[USERSPACE\].*/g, ''), stderr: '' });
}

t.test('the same packets are the same flows and events, letter by letter', { skip }, async (t) => {
  const base = await network(t);
  t.setTimeout(slowly(240_000));
  const { router, server, clients } = base;
  const client = clients[0]!;
  const ctnat = ctnatFor(base.topology);
  await server.ns.ip('route', 'add', '10.0.0.0/24', 'via', router.ipv4);
  await server.ns.ip('-6', 'route', 'add', 'fd00:10::/32', 'via', router.ipv6);
  await server.ns.run([
    'nft',
    'table inet deaf { chain in { type filter hook input priority 0; tcp dport 81 drop; }; }',
  ]);
  await server.peer.serve(server.ipv6, { udp: UDP_PORT, tcp: TCP_PORT });
  await serveUdplite(server.ns, server.ipv4, 99, 0);
  await router.ns.run(['nft', TRACK]);
  const real = await RealConntrack.in(router.ns);
  await ctnat.run(['attach', ...router.lan, router.wan, '--mode', 'tc']);
  await ctnat.run(['timeouts', 'set', '--preset', 'netfilter']);
  const longer = Object.values(TIMEOUTS).flatMap((name) => [name, `${SECONDS}s`]);
  await ctnat.run(['timeouts', 'set', ...longer]);
  const theirs = Object.keys(TIMEOUTS).map((name) => [`net.netfilter.nf_conntrack_${name}`, SECONDS]);
  // while it looks at checksums Netfilter makes no entry of UDP-Lite datagrams that are covered whole
  await real.sysctl({ 'net.netfilter.nf_conntrack_checksum': 0, ...Object.fromEntries(theirs) });
  ctnat.resident = Resident.start(router.ns.teardown);
  real.run(['-F']);
  await ctnat.run(['bpf', 'ct', 'flush', 'global']);

  const theirEvents = real.start(['-E']);
  t.teardown(() => theirEvents.stop());
  const ourEvents = Daemon.start(ctnat.argv(['conntrack', '-E']));
  t.teardown(() => ourEvents.stop('SIGKILL'));
  await until('both to listen', async () => {
    const { readers } = await ctnat.json<{ readers: unknown[] }>(['status']);
    return real.isListening() && readers.length > 0;
  });

  // connections: one stays, one ends, one is refused, one is never answered
  for (const host of [server.ipv4, server.ipv6]) {
    const stays = await client.peer.tcp({ host, port: TCP_PORT, localPort: 40_000 });
    t.equal(await stays.echo('hello'), 'hello');
    const ends = await client.peer.tcp({ host, port: TCP_PORT, localPort: 40_001 });
    await ends.close();
    await t.rejects(client.peer.tcp({ host, port: 9, localPort: 40_002 }));
  }
  for (const [near, far] of [
    [client.ipv4, server.ipv4],
    [client.ipv6, server.ipv6],
  ] as const) {
    const socket = await client.peer.udp(near, 41_000);
    t.ok(await socket.ask(far, UDP_PORT));
    const silent = await server.peer.udp(far, 9_999);
    await (await client.peer.udp(near, 41_001)).send('no answer', far, silent.port);
    t.ok(await silent.receive());
    await client.ns.run(['ping', '-c', '2', '-i', '0.2', far]);
  }
  const lite = { host: client.ipv4, port: 42_000, to: server.ipv4, toPort: 99, coverage: 0 };
  t.equal((await askUdplite(client.ns, lite, ['one', 'two'])).length, 2);

  // and what no socket sends here
  const link = ethernet({ src: await client.ns.mac('eth0'), dst: await router.ns.mac('lan0') });
  const over4 = (protocol: number | undefined, ...layers: Layer[]): Buffer => {
    const ends = { src: client.ipv4, dst: server.ipv4, ...(protocol !== undefined && { protocol }) };
    return build(link, ipv4(ends), ...layers);
  };
  const over6 = (...layers: Layer[]): Buffer =>
    build(link, ipv6({ src: client.ipv6, dst: server.ipv6 }), ...layers);
  const init = Buffer.alloc(16);
  init.writeUInt32BE(0xabcd, 0);
  const syn: Layer = tcp({ sport: 43_000, dport: 81, seq: 1, ack: 0, flags: 'S' });
  await inject(client.ns, 'eth0', [
    over4(undefined, syn),
    over6(syn),
    over4(undefined, icmp({ type: 13, code: 0, rest: 0x00070001 }), raw(Buffer.alloc(12))),
    over4(undefined, gre({ protocol: 0x88b6 }), raw(Buffer.from('a tunnel'))),
    over4(PROTOCOL.esp, raw(Buffer.from('sealed'))),
    over4(undefined, sctp({ sport: 44_000, dport: 80, tag: 0 }), raw(sctpChunk(1, 0, init))),
    over4(undefined, sctp({ sport: 44_001, dport: 80, tag: 0 }), raw(sctpChunk(1, 0, init))),
  ]);
  const answer = build(
    ethernet({ src: await server.ns.mac('eth0'), dst: await router.ns.mac(router.wan) }),
    ipv4({ src: server.ipv4, dst: client.ipv4 }),
    sctp({ sport: 80, dport: 44_001, tag: 0xabcd }),
    raw(sctpChunk(2, 0, Buffer.from(init).fill(0xfe, 0, 4))),
  );
  await inject(server.ns, 'eth0', [answer]);

  for (const line of SEARCHES) {
    let [found, wanted] = [said(await ours(ctnat, line)), said(real.run(words(line)))];
    // the last packets may still be on their way
    await until(
      'both to agree',
      async () => {
        if (!differs(found, wanted)) return true;
        [found, wanted] = [said(await ours(ctnat, line)), said(real.run(words(line)))];
        return !differs(found, wanted);
      },
      3_000,
    ).catch(() => {});
    same(t, found, wanted, line);
  }
  for (const line of STORY) {
    const wanted = said(real.run(words(line)));
    same(t, said(await ours(ctnat, line)), wanted, line);
  }

  await until(
    'the same number of events',
    () => {
      const lines = (text: string): number => text.split('\n').filter((line) => /^ *\[/.test(line)).length;
      return lines(theirEvents.stdout) === lines(ourEvents.output);
    },
    3_000,
  ).catch(() => {});
  const wanted = told(theirEvents.stdout);
  t.ok(wanted.lines.length > 30, `there were ${wanted.lines.length} events`);
  const found = told(ourEvents.output);
  t.same(found.lines, wanted.lines);
  // of the refused connections ctnat tells the end, 0 s, and Netfilter what they had left
  const kept = ({ lines, timeouts }: Comparable): number[] =>
    timeouts.filter((_, i) => !/^\[DESTROY\] tcp .* CLOSE /.test(lines[i]!));
  t.ok(areNear(kept(found), kept(wanted), slowly(2)), `${kept(found)}; ${kept(wanted)}`);
});
