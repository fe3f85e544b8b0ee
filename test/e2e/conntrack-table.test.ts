// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The same commands make, change, show and delete the same flows in ctnat's table and in Netfilter's: output,
// messages and exit statuses are the same after every one, but for the differences listed here one by one.
import { removePinDirectory } from 'libbpf-ts';
import t from 'tap';
import { Datapath } from '../../src/datapath.js';
import { KernelProduct } from '../../src/kernel-product.js';
import { ctnat } from '../helpers/command-line.js';
import { areNear, comparable } from '../helpers/conntrack/compare.js';
import { missingConntrack, RealConntrack } from '../helpers/conntrack/real.js';
import { Teardown } from '../helpers/teardown.js';
import { slowly } from '../helpers/wait.js';

const TCP = '-s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 2';
const UDP = '-s 1.1.1.1 -d 2.2.2.2 -p udp --sport 5 --dport 6';

/** Commands with one table's life between two headings. */
const STORIES: Readonly<Record<string, readonly string[]>> = {
  'one TCP flow': [
    `-I ${TCP} --state ESTABLISHED -t 100 -u SEEN_REPLY,ASSURED -m 0xff`,
    `-I ${TCP} --state ESTABLISHED -t 100`,
    `-A ${TCP} --state ESTABLISHED -t 100`,
    '-C',
    '-L',
    '-L -o extended',
    '-L -o id',
    '-L -o extended,id',
    '-L -o xml',
    '-L -z',
    `-G ${TCP}`,
    `-G ${TCP} -o xml`,
    `-G ${TCP} -o save`,
    `-G ${TCP} -o extended,id`,
    `-G ${TCP} --state CLOSE`,
    `-G ${TCP} -r 3.3.3.3`,
    `-G ${TCP} -i 5`,
    '-G -s 2.2.2.2 -d 1.1.1.1 -p tcp --sport 2 --dport 1',
    '-G -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 3',
    `-U ${TCP} -m 0x10/0xf0`,
    `-U ${TCP} -m 0x0f/0x0f`,
    `-U ${TCP} -m 0x0f/0x0f`,
    `-U ${TCP} -t 50`,
    `-U ${TCP} -t 60 -m 5`,
    `-U ${TCP} -u SEEN_REPLY`,
    `-U ${TCP} -u UNSET`,
    `-U ${TCP} --state CLOSE`,
    `-U ${TCP} -m 7 -o xml`,
    `-U ${TCP} -m 0 -o save`,
    `-U ${TCP}`,
    '-U -s 1.1.1.1 -m 8',
    '-U -s 1.0.0.0/8 -m 9',
    '-U -s 9.9.9.9 -m 9',
    '-U -d 2.2.2.2 -m 0',
    '-L -o save',
    `-U ${TCP} -u ASSURED,FIXED_TIMEOUT`,
    '-L -u FIXED_TIMEOUT',
    '-L -u ASSURED,FIXED_TIMEOUT',
    '-L -o save',
    `-D ${TCP} --state SYN_SENT`,
    `-D ${TCP} --state CLOSE`,
    `-D ${TCP}`,
    '-C',
  ],
  'states of TCP': [
    ...['NONE', 'SYN_SENT', 'SYN_RECV', 'ESTABLISHED', 'FIN_WAIT', 'CLOSE_WAIT', 'LAST_ACK', 'TIME_WAIT'],
    ...['CLOSE', 'LISTEN', 'SYN_SENT2'],
  ].flatMap((state, i) => [
    `-I -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport ${i} --dport 2 --state ${state} -t 100`,
    `-L -p tcp --state ${state}`,
    `-L -p tcp --sport ${i} -o save`,
  ]),
  'status bits': [
    'ASSURED',
    'SEEN_REPLY',
    'SEEN_REPLY,ASSURED',
    'UNSET',
    'FIXED_TIMEOUT',
    'OFFLOAD',
    'EXPECTED',
  ]
    .flatMap((status, i) => [
      `-I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport ${i} --dport 2 -t 100 -u ${status}`,
      `-L -p udp --sport ${i}`,
      `-L -p udp --sport ${i} -o save`,
      `-L -p udp --sport ${i} -o xml`,
    ])
    .concat([
      '-L -u SEEN_REPLY',
      '-L -u ASSURED',
      '-L -u SEEN_REPLY,ASSURED',
      '-L -u EXPECTED',
      '-D -u UNSET',
    ]),
  protocols: [
    `-I ${UDP} -t 100`,
    '-I -s 1.1.1.1 -d 2.2.2.2 -p UDP --sport 9 --dport 10 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p 17 --orig-port-src 11 --orig-port-dst 12 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 13 --icmp-code 0 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 3 --icmp-code 0 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 5 -t 1',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 0 --icmp-code 0 -t 1',
    '-D -p icmp --icmp-code 5',
    '-D -p icmp --icmp-type 0',
    '-I -s fe80::1 -d 2001:db8::1 -p icmpv6 --icmpv6-type 128 --icmpv6-code 0 --icmpv6-id 9 -t 100',
    '-I -s fe80::1 -d 2001:db8::1 -p tcp --sport 1 --dport 2 -t 100 --state ESTABLISHED -u SEEN_REPLY,ASSURED',
    '-I -s ::1 -d 2001:db8:0:0:1::1 -p udp --sport 1 --dport 2 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p udplite --sport 3 --dport 2 -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p igmp -t 100',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p 200 -t 100',
    '-L',
    '-L -o extended',
    '-L -o save',
    '-L -f ipv6',
    '-L -f ipv4',
    '-L -f ipv6 -o extended',
    '-L -p udp',
    '-L -p icmp',
    '-L -p icmp --icmp-type 8',
    '-L -p icmp --icmp-id 77',
    '-L -p icmp --icmp-code 0',
    '-L -p icmp --icmp-code 1',
    '-L -p icmpv6 --icmpv6-id 9',
    '-L -p 2',
    '-L -p udp --sport 9 --dport 10',
    '-L -p udp --reply-port-src 10',
    '-L -p udp --reply-port-dst 11',
    '-L -s fe80::/16',
    '-L -d 2001:db8::/32',
    '-G -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 77',
    '-G -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 78',
    '-G -s fe80::1 -d 2001:db8::1 -p tcp --sport 1 --dport 2',
    '-G -s 1.1.1.1 -d 2.2.2.2 -p 200',
    '-D -p icmp',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 5 -t 100 -n 3.3.3.3',
    '-L -p icmp -o save',
    '-D -p icmp',
    '-D -f ipv6 -o save',
    '-D -p udp -o xml',
    '-F',
    '-C',
  ],
  'associations and tunnels': [
    '-I -s 1.1.1.1 -d 2.2.2.2 -p sctp --sport 1 --dport 2 -t 100 --state ESTABLISHED --orig-vtag 7 --reply-vtag 4294967294',
    '-L -p sctp --state ESTABLISHED',
    '-L -p sctp --state CLOSED',
    '-L -p sctp -o save',
    '-U -s 1.1.1.1 -d 2.2.2.2 -p sctp --sport 1 --dport 2 -m 5',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p dccp --sport 3 --dport 2 -t 100 --state OPEN --role client',
    '-I -s 1.1.1.1 -d 2.2.2.2 -p gre --srckey 0x10 --dstkey 16 -t 100',
    '-I -s 1.1.1.3 -d 2.2.2.2 -p gre --srckey 1 --dstkey 2 -t 1',
    '-L -p gre',
    '-L -p gre -o xml',
    '-L -p gre -o save',
    '-L -p dccp',
    '-L -p dccp -o xml',
    '-L -p dccp -o save',
    '-G -s 1.1.1.1 -d 2.2.2.2 -p gre --srckey 16 --dstkey 16',
    '-D -p sctp',
    '-D -s 1.1.1.1 -p gre --srckey 16',
    '-D -p dccp',
  ],
  addresses: [
    ...['10.0.0.1', '10.0.0.2', '10.0.1.1', '10.1.0.1', '11.0.0.1'].map(
      (src, i) => `-I -s ${src} -d 2.2.2.${i} -p udp --sport 1 --dport 2 -t 100`,
    ),
    ...['10.0.0.1', '10.0.0.0/24', '10.0.0.77/24', '10.0.0.0/8', '0.0.0.0/0', '12.0.0.1'].map(
      (src) => `-L -s ${src}`,
    ),
    '-L -s 10.9.9.9 --mask-src 255.0.0.0',
    '-L -s 0.0.0.1 --mask-src 0.0.0.255',
    '-L -d 2.2.2.1 --mask-dst 0.0.0.1',
    '-L -d 2.2.2.3',
    '-L -r 2.2.2.3',
    '-L -q 10.0.0.2',
    '-L -s 10.0.0.1 -d 2.2.2.0',
    '-L -s 10.0.0.1 -d 2.2.2.1',
    '-D -s 10.0.0.0/24',
    '-D -s 10.0.0.0/24',
    '-D -r 2.2.2.3',
    '-D',
    '-D',
  ],
  marks: [
    ...[0, 1, 2, 0xff, 0xffffffff].map(
      (mark, i) => `-I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport ${i} --dport 2 -t 100 -m ${mark}`,
    ),
    ...['0', '1', '0xff', '0377', '4294967295', '1/1', '0/1', '0x0f/0x0f', '0x1f/0x0f', '0/0'].map(
      (mark) => `-L -m ${mark}`,
    ),
    '-U -p udp --sport 0 --dport 2 -s 1.1.1.1 -d 2.2.2.2 -m 3/0xff',
    '-U -p udp --sport 3 --dport 2 -s 1.1.1.1 -d 2.2.2.2 -m 0x0f/0xf0',
    '-D -m 1/1',
    '-L',
  ],
  zones: [
    `-I ${UDP} -t 100 -w 5`,
    `-I ${UDP} -t 100 -w 6`,
    `-I ${UDP} -t 100 -w 6`,
    `-I ${UDP} -t 100`,
    '-L',
    '-L -o xml',
    '-L -o save',
    '-L -w 0',
    '-L -w 5',
    '-L -w 7',
    '-L --orig-zone 5',
    `-G ${UDP}`,
    '-D -w 0',
    `-G ${UDP}`,
    '-D -w 5',
    '-D -s 1.1.1.1',
  ],
  'zones of one direction': [
    `-I ${UDP} -t 100 -w 7`,
    `-I ${UDP} -t 100 --orig-zone 8`,
    `-I ${UDP} -t 100 --orig-zone 8`,
    '-I -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 7 --dport 6 -t 100 --reply-zone 9',
    `-I ${UDP} -t 100 --orig-zone 10 --reply-zone 11`,
    `-A ${UDP} -t 100 --orig-zone 12 --reply-zone 12`,
    `-I ${UDP} -t 100 -w 13 --orig-zone 0`,
    `-I ${UDP} -t 100 -w 0 --orig-zone 14`,
    `-I ${UDP} -t 100`,
    '-L',
    '-L -o xml',
    '-L -o save',
    '-L -w 7',
    '-L -w 8',
    '-L -w 0',
    '-L --orig-zone 8',
    '-L --orig-zone 0',
    '-L --reply-zone 9',
    '-L --reply-zone 8',
    `-G ${UDP}`,
    '-G -s 1.1.1.1 -d 2.2.2.2 -p udp --sport 7 --dport 6',
    '-G -s 2.2.2.2 -d 1.1.1.1 -p udp --sport 6 --dport 5',
    '-D --orig-zone 8',
    '-D -w 9',
    '-D -w 0',
    '-L',
  ],
  'address translation': [
    `-I ${UDP} -t 100 -n 7.7.7.7`,
    '-I -s 1.1.1.3 -d 2.2.2.2 -p udp --sport 5 --dport 6 -t 100 -g 8.8.8.8:99',
    '-I -s 1.1.1.4 -d 2.2.2.2 -p udp --sport 5 --dport 6 -t 100',
    '-I -s 1.1.1.5 -d 2.2.2.2 -p udp --sport 5 --dport 6 -t 100 -n 7.7.7.7:77 -g 8.8.8.8',
    '-I -s 1.1.1.6 -d 2.2.2.2 -p udp --sport 5 --dport 6 -t 100 -n 1.1.1.6:88',
    '-I -s 1.1.1.7 -d 2.2.2.2 -p udp --sport 5 --dport 6 -t 100 -n -g',
    '-I -s 1.1.1.8 -d 2.2.2.2 -p icmp --icmp-type 8 --icmp-code 0 --icmp-id 4 -t 100 -n 7.7.7.7',
    '-I -s 2001:db8::1 -d 2001:db8::2 -p udp --sport 5 --dport 6 -t 100 -n [2001:db8::3]:50',
    '-I -s 2001:db8::4 -d 2001:db8::2 -p udp --sport 5 --dport 6 -t 100 -g 2001:db8::5',
    '-L',
    '-L -o save',
    '-L -n',
    '-L -g',
    '-L -j',
    '-L -n -g',
    ...['7.7.7.7', '7.7.7.7:77', '7.7.7.7:5', '7.7.7.7:6', '8.8.8.8', '1.1.1.6', '1.1.1.6:88'].flatMap(
      (to) => [`-L -n ${to}`, `-L -g ${to}`, `-L -j ${to}`],
    ),
    '-L -g 8.8.8.8:99',
    '-L -n 7.7.7.7 -g 8.8.8.8',
    '-L -n [2001:db8::3]:50',
    '-U -n 7.7.7.7 -t 500',
    '-D -n 7.7.7.7 -o save',
    '-D -g',
    '-L',
  ],
  'by the reply': [
    '-I -r 2.2.2.2 -q 1.1.1.1 -p tcp --reply-port-src 11 --reply-port-dst 21 --state LISTEN -u SEEN_REPLY -t 50',
    '-L',
    `-I ${UDP} -t 100 -r 3.3.3.3`,
    `-A ${UDP} -t 100 -r 3.3.3.3`,
    `-I ${UDP} -t 100 -r 2.2.2.2 -q 1.1.1.1`,
    `-I ${UDP} -t 100 --reply-port-src 9`,
    '-I -s 1.1.1.9 -d 2.2.2.2 -r 2.2.2.2 -q 1.1.1.9 -p 200 -t 100',
    '-L',
    '-I -r 2.2.2.2 -q 1.1.1.1 -p udp --sport 1 --dport 5 -t 50',
    '-L -p udp',
  ],
  timeouts: [
    `-I ${UDP} -t 86400`,
    `-U ${UDP} -u FIXED_TIMEOUT`,
    '-L',
    `-U ${UDP} -t 500`,
    '-F',
    `-I ${UDP} -t 100`,
    '-D -t 5',
    `-I ${UDP} -t 1`,
    `-U ${UDP} -t 0`,
    '-C',
    `-I ${UDP} -t 86401`,
  ],
};

/** Commands whose outcome is another one here, and why. What ctnat says instead is in the second list. */
const DIFFERENCES: readonly { story: string; line: RegExp; why: string; ours: object }[] = [
  {
    story: 'one TCP flow',
    line: /^-G .* -o save$/,
    why: 'a saved flow keeps its mark',
    ours: {
      status: 0,
      lines: [
        /^-A -t TIMEOUT -u SEEN_REPLY,ASSURED -m 255 -s 1.1.1.1 -d 2.2.2.2 -r 2.2.2.2 -q 1.1.1.1 -p tcp /,
      ],
    },
  },
  {
    story: 'address translation',
    line: /^-L -g$/,
    why: "an ICMP flow's translated identifier is of its source alone",
    ours: { status: 0, stderr: / 3 flow entries have been shown/ },
  },
  {
    story: 'address translation',
    line: /^-L -n -g$/,
    why: "an ICMP flow's translated identifier is of its source alone",
    ours: { status: 0, stderr: / 1 flow entries have been shown/ },
  },
  {
    story: 'address translation',
    line: /^-U -n 7.7.7.7 -t 500$/,
    why: 'translated flows can be changed',
    ours: { status: 0, stderr: / 3 flow entries have been updated/ },
  },
  {
    story: 'address translation',
    line: /^-D -n 7.7.7.7 -o save$/,
    why: 'they have been changed',
    ours: { status: 0, stderr: / 3 flow entries have been deleted/ },
  },
  {
    story: 'by the reply',
    line: /^-I -r 2.2.2.2 -q 1.1.1.1 -p udp --sport 1 --dport 5 -t 50$/,
    why: "the original's ports go with the reply's addresses; conntrack(8) makes a flow of protocol 0 of this",
    ours: { status: 0, stderr: / 1 flow entries have been created/ },
  },
  {
    story: 'by the reply',
    line: /^-L -p udp$/,
    why: 'it is of UDP',
    ours: {
      status: 0,
      lines: [/^udp .* src=1.1.1.1 dst=2.2.2.2 sport=1 dport=5 .* src=2.2.2.2 dst=1.1.1.1 sport=5 dport=1 /],
    },
  },
  {
    story: 'protocols',
    line: /^-D -p icmp --icmp-/,
    why: 'so there is none to delete',
    ours: { status: 1 },
  },
  {
    story: 'protocols',
    line: /--icmp-type (8 --icmp-code 5|0 )/,
    why: 'no flow begins with an answer, or with a code that is no query',
    ours: { status: 1, stderr: /: Operation failed: invalid parameters\n$/ },
  },
  {
    story: 'associations and tunnels',
    line: / 1.1.1.3 .* -p gre /,
    why: 'a tunnel has one key for both directions',
    ours: { status: 1, stderr: /: Operation failed: invalid parameters\n$/ },
  },
  {
    story: 'associations and tunnels',
    line: /^-L -p gre/,
    why: 'so the real one has one more',
    ours: { status: 0, stderr: / 1 flow entries have been shown/ },
  },
  {
    story: 'status bits',
    line: /^-L -u UNSET$/,
    why: 'all flows match, as with -D',
    ours: { status: 0, stderr: / 7 flow entries have been shown/ },
  },
  {
    story: 'timeouts',
    line: /^-U .* -t 500$/,
    why: 'a command may change a timeout that packets may not',
    ours: { status: 0, lines: [/^udp {6}17 TIMEOUT /], stderr: /: 1 flow entries have been updated\.\n$/ },
  },
  {
    story: 'timeouts',
    line: /^-C$/,
    why: 'what has expired does not count',
    ours: { status: 0, lines: ['0'] },
  },
  {
    story: 'timeouts',
    line: /^-I .* -t 86401$/,
    why: 'nor does it keep its tuple',
    ours: { status: 0, stderr: / 1 flow entries have been created/ },
  },
];

const skip = missingConntrack() ?? false;

t.setTimeout(slowly(200_000));

t.test('conntrack(8) and ctnat conntrack make the same of the same commands', { skip }, async (t) => {
  const teardown = Teardown.of(t);
  const real = await RealConntrack.create(teardown);
  const pinPath = `/sys/fs/bpf/ctn${process.pid}-table`;
  teardown.defer(pinPath, () => removePinDirectory(pinPath));
  (await Datapath.load(pinPath, { flows4: 1024, flows6: 1024 })).close();
  const ours = (words: readonly string[]) =>
    ctnat(['conntrack', ...words], { host: { openProduct: async () => new KernelProduct(pinPath) } });

  for (const [story, lines] of Object.entries(STORIES)) {
    await t.test(story, async (t) => {
      real.run(['-F']);
      await ours(['-F']);
      for (const line of lines) {
        const words = line.split(' ');
        const wanted = comparable(real.run(words));
        const found = comparable(await ours(words));
        const different = DIFFERENCES.find((each) => each.story === story && each.line.test(line));
        const { timeouts, ...rest } = found;
        if (different) {
          t.match(rest, different.ours, `${line}: ${different.why}`);
          continue;
        }
        const { timeouts: wantedTimeouts, ...wantedRest } = wanted;
        t.same(rest, wantedRest, line);
        t.ok(areNear(timeouts, wantedTimeouts, slowly(2)), `${line}: timeouts`);
      }
    });
  }
});
