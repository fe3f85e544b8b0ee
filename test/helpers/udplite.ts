// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// UDP-Lite sockets (RFC 3828). Node has none; perl-base has them, and the kernel checks what they receive.
import type { Namespace } from './netns.js';
import { slowly } from './wait.js';

// IPPROTO_UDPLITE 136; options 10 and 11: how many bytes the checksum covers of what is sent, and has to of what is taken
const SOCKET = `
  use Socket qw(:all);
  sub name { my ($e, $host, $port) = getnameinfo($_[0], NI_NUMERICHOST | NI_NUMERICSERV); return ($host, $port) }
  sub at {
    my ($host, $port) = @_;
    my ($e, $first) = getaddrinfo($host, $port, { flags => AI_NUMERICHOST | AI_NUMERICSERV });
    die "$host: $e\\n" if $e;
    return ($first->{family}, $first->{addr});
  }
  sub lite {
    my ($host, $port, $coverage) = @_;
    my ($family, $address) = at($host, $port);
    socket(my $sock, $family, SOCK_DGRAM, 136) or die "UDP-Lite: $!\\n";
    setsockopt($sock, 136, 10, pack("i", $coverage)) or die "coverage: $!\\n";
    setsockopt($sock, 136, 11, pack("i", 8)) or die "coverage: $!\\n";
    bind($sock, $address) or die "bind $host $port: $!\\n";
    return $sock;
  }
  $| = 1;
`;
const SERVE = `${SOCKET}
  my ($host, $port, $coverage) = @ARGV;
  my $sock = lite($host, $port, $coverage);
  print "ready\\n";
  while (my $from = recv($sock, my $data, 65535, 0)) {
    send($sock, join(" ", name($from), $data), 0, $from) or die "send: $!\\n";
  }
`;
const ASK = `${SOCKET}
  my ($host, $port, $to, $toPort, $coverage, $seconds, @words) = @ARGV;
  my $sock = lite($host, $port, $coverage);
  my ($family, $address) = at($to, $toPort);
  $SIG{ALRM} = sub { die "no answer\\n" };
  alarm $seconds;
  for my $word (@words) {
    send($sock, $word, 0, $address) or die "send: $!\\n";
    recv($sock, my $data, 65535, 0) or die "recv: $!\\n";
    print "$data\\n";
  }
`;

/** Serves on an address until the test ends: each datagram goes back behind the address and port that it came from. */
export async function serveUdplite(
  ns: Namespace,
  host: string,
  port: number,
  coverage: number,
): Promise<void> {
  const daemon = ns.start(['perl', '-e', SERVE, host, String(port), String(coverage)]);
  await daemon.printed(/ready/);
}

export interface LiteEnds {
  host: string;
  port: number;
  to: string;
  toPort: number;
  /** Bytes of each datagram, its header included, that the checksum covers; 0: all. */
  coverage: number;
}

/** Sends each word, waits for its answer, and returns the answers; throws if one does not come. */
export async function askUdplite(ns: Namespace, ends: LiteEnds, words: readonly string[]): Promise<string[]> {
  const { host, port, to, toPort, coverage } = ends;
  const numbers = [port, to, toPort, coverage, Math.ceil(slowly(5_000) / 1000)].map(String);
  const { stdout } = await ns.run(['perl', '-e', ASK, host, ...numbers, ...words]);
  return stdout.trimEnd().split('\n');
}
