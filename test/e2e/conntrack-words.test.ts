// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The command lines of `ctnat conntrack` and of the real conntrack(8), side by side on empty tables: messages and
// exit statuses are the same, but for the differences that are listed here one by one.
import t from 'tap';
import { ctnat } from '../helpers/command-line.js';
import { missingConntrack, RealConntrack } from '../helpers/conntrack/real.js';
import { FakeProduct } from '../helpers/fake-product.js';
import { Teardown } from '../helpers/teardown.js';
import { slowly } from '../helpers/wait.js';

const COMMANDS = [
  ...['-L', '-I', '-A', '-U', '-D', '-G', '-F', '-C', '-S', '-V', '-h'],
  ...['L', 'I', 'D', 'G', 'F', 'C', 'U', 'A', 'S'].map((letter) => `-${letter} expect`),
  ...['L', 'F', 'C', 'D', 'E'].map((letter) => `-${letter} dying`),
  ...['-L unconfirmed', '-E bogus', ''],
];

const OPTIONS = [
  ...['', '-s 1.1.1.1', '-d 1.1.1.1', '-r 1.1.1.1', '-q 1.1.1.1', '-p tcp', '-t 5', '-u ASSURED', '-f ipv4'],
  ...['-n 1.1.1.1', '-g 1.1.1.1', '-j 1.1.1.1', '-n', '-g', '-j', '-m 1', '-e NEW', '-z', '-o id', '-i 5'],
  ...['-w 1', '--orig-zone 1', '--reply-zone 1', '-c 1', '-b 1000', '-a 1.1.1.1'],
  ...['--mask-src 255.0.0.0', '--mask-dst 255.0.0.0', '--tuple-src 1.1.1.1', '--tuple-dst 1.1.1.1'],
  ...['-l web', '--label-add web', '--label-del web', '--label-del'],
];

/** Command lines by what they are about. */
const LINES = `
  # commands
  -L -C
  -L -L
  -I -I
  -D -V
  -S -V
  -L foo
  -L bar conntrack
  -L conntrack foo
  -L -- foo
  -L dying -L
  foo
  conntrack -L
  -h foo
  -z foo -L
  -S foo
  -V expect
  -L -V foo
  # getopt_long's rules
  -L -Q
  -L --bogus
  -L --bogus=5
  -L --zero=5
  -L --s 1.1.1.1
  -L --sr 1.1.1.1
  -L --stat SEEN_REPLY
  -L --src=1.1.1.1
  -L --orig-s 1.1.1.1
  -L --reply-s 1.1.1.1
  -L --out id
  -L -s=1.1.1.1
  -L -s1.1.1.1 -pudp
  -Ludp
  -LC
  -Lz
  -zL
  --dump
  --dum
  --d
  --count
  --counter
  --delete -s 9.9.9.9
  --flush
  --get
  --event-mask
  -L -t
  -L -f
  -L -p
  -L -o
  -L -s
  -L --src
  -L -p udp --sport
  -L --src-nat=1.1.1.1
  -L -n1.1.1.1
  -L -a
  # addresses
  -L -s 300.1.1.1
  -L -s foo
  -L -s 1.1.1.1/33
  -L -s 1.1.1.1/
  -L -s 1.1.1.1/-1
  -L -s 1.1.1.1/8x
  -L -s 1.1.1.1/255.0.0.0
  -L -s /8
  -L -s ::1/129
  -L -s ::1/64 -d 1::/1000
  -L -s 1.1.1.1/8 --mask-src 255.0.0.0
  -L -s 1.1.1.1 --mask-src ffff::
  -L -s 1.1.1.1 --mask-src 24
  -L -s 1.1.1.1 --mask-src foo
  -L -r 1.1.1.1/8
  -L -q 2.2.0.0/16
  -L -f ipv6 -s 1.1.1.1
  -L -s ::1 -f ipv4
  -D -s ::1 -d 1.1.1.1
  -L -n ::1 -s 1.1.1.1
  -L -f foo
  # translations
  -L -n foo
  -L -n 1.1.1.1:99999
  -L -n 1.1.1.1:abc
  -L -n 1.1.1.1:
  -L -n :5
  -L -n [::1]:5
  -L -n ::1
  -L -n [::1]
  -L -n [::1
  -L -n [::1]:
  -L -n [::1]5
  -L -n [1.1.1.1]:5
  -L -j 7.7.7.7 -n 7.7.7.7
  -L -j -g
  # protocols
  -L --sport 5
  -L --state CLOSE
  -L -p udp --state ESTABLISHED
  -L -p icmpv6 --icmp-type 8
  -L -p bogus
  -L -p 300
  -L -p 0x11
  -L -p icmp6
  -L -p esp
  -L -p ah
  -L -p hopopt
  -L -p ipencap
  -L -p IPSEC-ESP
  -L -p ipv6-icmp
  -L -p IPv6-ICMP
  -L -p Hopopt
  -L -p tcp6
  -L -p 6x
  -L -p 255
  -L -p 256
  -L -p -1
  -L -p tcp --state FOO
  -L -p tcp --state established
  -L -p dccp --state FOO
  -L -p dccp --role foo
  -L -p udp --spo 9
  -L -p udp --s 9
  -L -p udp --mask-port-src 5
  -L -p gre --tuple-key-src 5
  -p tcp
  -L --sport 5 -p udp
  -L --sport 5 -p tcp
  -L -p udp --sport 99999
  -L -p udp --sport abc
  -L -p icmp --icmp-type 300
  -L -m abc
  -L -m 5/abc
  -L -w 65536
  -L -w 5x
  -L -o json
  -L -o jsonl
  # words with commas between them
  -L -u FOO
  -L -u ASSURED,FOO
  -L -u ,ASSURED
  -L -u ASSURED,
  -L -u assured
  -L -u ASS
  -L -u DYING
  -L -o foo
  -L -o id,,id
  -L -o id,
  -L -o XML
  -L -o id,save
  -L -o extended -o save
  -L -o save -o save
  -E -e FOO
  -E -e NEW,FOO
  -E -o foo
  # what a flow needs
  -I -p tcp -t 5
  -I -p udp -t 5 -s 1.1.1.1
  -I -p udp -t 5 -d 1.1.1.1
  -I -p udp -t 5 -r 1.1.1.1
  -I -p udp -t 5 -s 1.1.1.1 -r 2.2.2.2
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --reply-port-src 1
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --reply-port-src 1
  -I -p tcp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2
  -I -p tcp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1
  -I -p icmp -t 5 -s 1.1.1.1 -d 2.2.2.2
  -I -p icmp -t 5 -s 1.1.1.1 -d 2.2.2.2 --icmp-type 8
  -I -p icmp -t 5 -s 1.1.1.1 -d 2.2.2.2 --icmp-code 0
  -I -p sctp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1
  -I -p sctp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --state CLOSED
  -I -p sctp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --state CLOSED --orig-vtag 5
  -I -p sctp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --state CLOSED --orig-vtag 5 --reply-vtag 5
  -I -p dccp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1
  -I -p dccp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --state OPEN
  -I -p gre -t 5 -s 1.1.1.1 -d 2.2.2.2
  -I -p gre -t 5 -s 1.1.1.1 -d 2.2.2.2 --srckey 5
  -I -p gre -t 5 -s 1.1.1.1 -d 2.2.2.2 --reply-key-src 5
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2 -z
  -I -p udp -t 5 -s 1.1.1.1 -d ::1 --sport 1 --dport 2
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2 -f ipv4
  -I -p udp -t 5 -s 1.1.1.1/24 -d 2.2.2.2 --sport 1 --dport 2
  -I -p udp -t 5 -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2 --tuple-port-src 5
  -G -p tcp -s 1.1.1.1 -d 2.2.2.2
  -G -p tcp -s 1.1.1.1 -d 2.2.2.2 --sport 1
  -G -p tcp -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2
  -G -p tcp -s 1.1.1.1 -d 2.2.2.2 --sport 1 --dport 2 -w 5
  -G -p icmp -s 1.1.1.1 -d 2.2.2.2
  -G -p icmp -s 1.1.1.1 -d 2.2.2.2 --icmp-type 8 --icmp-code 0
  -G -p gre -s 1.1.1.1 -d 2.2.2.2
  -G -p sctp -s 1.1.1.1 -d 2.2.2.2 --sport 5 --dport 6
  -G -p 50 -s 1.1.1.1 -d 2.2.2.2
  -G -p udp -s 1.1.1.1
  # what does not go together
  -L -s 1.1.1.1 --mask-dst 255.0.0.0
  -L --mask-src 255.0.0.0 -t 5
  -L -z -f ipv4
  -L -z -o id
  -L -z -n
  -L -z -w 5
  -L -z -m 5
  -L -z -p tcp
  -L -z -u ASSURED
  -L -z -c 5
  -L -z -s 1.1.1.1
  -F -z -t 5
  -F -o id -w 5 -m 1
  # expectations
  -I expect -s 1.1.1.1 -d 2.2.2.2 -p tcp -t 5
  -I expect -s 1.1.1.1 -d 2.2.2.2 -p tcp -t 5 --tuple-src 1.1.1.1 --tuple-dst 1.1.1.1
  -I expect -s 1.1.1.1 -d 2.2.2.2 -p 50 -t 5 --tuple-src 1.1.1.1 --tuple-dst 1.1.1.1 --mask-src 255.0.0.0 --mask-dst 255.0.0.0
  -I expect -s 1.1.1.1 -d 2.2.2.2 -p tcp -t 5 --tuple-src 1.1.1.1 --tuple-dst 1.1.1.1 --mask-src 255.0.0.0 --mask-dst 255.0.0.0
  -D expect -s 1.1.1.1 -d 2.2.2.2
  -D expect -s 1.1.1.1 -d 2.2.2.2 -p tcp --sport 1 --dport 2
  -D expect -s 1.1.1.1 -d 2.2.2.2 -p icmp --icmp-type 8
  -D expect -s 1.1.1.1 -d 2.2.2.2 -p gre
  -G expect -s 1.1.1.1 -d 2.2.2.2 -p 50
  -L expect -o xml
  # files
  -R /nonexistent
  -R
  -R /dev/null
  -R /dev/null -L
  -L -R /dev/null
  --load-file /dev/null
`;

/** Lines whose outcome is another one here, why, and what it is. */
const DIFFERENCES: readonly { line: RegExp; why: string; ours: object }[] = [
  {
    line: /^-h -p tcp$|^--reply-zone 1$/,
    why: 'an option that means nothing to the help is refused, as others are there',
    ours: { status: 2, stderr: /: Illegal option `--(protonum|reply-zone)' with this command\n/ },
  },
  {
    line: /^-L -p icmp6$/,
    why: 'it is one more name of icmpv6',
    ours: { status: 0, stderr: / 0 flow entries have been shown/ },
  },
  {
    line: /^-L --sport 5 -p (udp|tcp)$/,
    why: "a protocol's options may stand before it",
    ours: { status: 0, stderr: / 0 flow entries have been shown/ },
  },
  {
    line: /^-L -o jsonl?$/,
    why: 'there is JSON',
    ours: { status: 0, stderr: / 0 flow entries have been shown/ },
  },
  {
    line: /^-L (-m abc|-w 65536|-w 5x|-m 5\/abc|-p udp --sport (99999|abc)|-p icmp --icmp-type 300)$/,
    why: 'what is no number, or too large, is refused and not taken for another one',
    ours: { status: 2, stderr: /: Bad parameter `[^']+'\nTry / },
  },
];

const lines = [
  ...COMMANDS.flatMap((command) => OPTIONS.map((option) => `${command} ${option}`.trim())),
  ...LINES.split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#')),
];

const why = missingConntrack();
t.setTimeout(slowly(200_000));
t.test(
  'command lines are understood, and refused, as conntrack(8) does',
  { skip: why ?? false },
  async (t) => {
    const real = await RealConntrack.create(Teardown.of(t));
    for (const line of lines) {
      const words = line.split(' ').filter((word) => word !== '');
      const theirs = real.run(words);
      const ours = await ctnat(['conntrack', ...words], { product: new FakeProduct() });
      const different = DIFFERENCES.find((each) => each.line.test(line));
      if (different) {
        t.match(ours, different.ours, `${line}: ${different.why}`);
        t.notSame(
          { status: ours.status, stderr: ours.stderr },
          { status: theirs.status, stderr: theirs.stderr },
          `${line}: still differs`,
        );
        continue;
      }
      t.same(
        { status: ours.status, stderr: ours.stderr },
        { status: theirs.status, stderr: theirs.stderr },
        line,
      );
    }
  },
);
