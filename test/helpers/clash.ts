// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Many first packets of one UDP socket at the same instant: processes that share the socket wait on a pipe, and its
// end wakes them all. Node sends from one thread; perl-base, which every Debian has, can fork.

import type { Namespace } from './netns.js';
import { slowly } from './wait.js';

// AF_INET 2, AF_INET6 10, SOCK_DGRAM 2
const CLASH = `
  use strict; use Socket qw(:DEFAULT inet_pton pack_sockaddr_in6 unpack_sockaddr_in6);
  my ($from, $port, $to, $service, $count, $limit) = @ARGV;
  my $six = $from =~ /:/;
  my $address = sub { my ($host, $p) = @_;
    return $six ? pack_sockaddr_in6($p, inet_pton(10, $host)) : pack_sockaddr_in($p, inet_aton($host)) };
  socket(my $sock, $six ? 10 : 2, 2, 0) or die "socket: $!\\n";
  setsockopt($sock, SOL_SOCKET, SO_RCVBUF, 4 << 20);
  bind($sock, $address->($from, $port)) or die "bind: $!\\n";
  my $target = $address->($to, $service);
  pipe(my $ready, my $am_ready); pipe(my $go, my $hold);
  for my $i (1 .. $count) {
    next if fork;
    close $hold;
    syswrite $am_ready, "r";
    sysread $go, my $nothing, 1;
    send($sock, "packet $i", 0, $target) or exit 1;
    exit 0;
  }
  for (my $seen = 0; $seen < $count; ) { $seen += sysread $ready, my $byte, 256; }
  close $hold;
  my $end = time + $limit;
  for (my $got = 0; $got < $count && time < $end; ) {
    my $bits = ''; vec($bits, fileno $sock, 1) = 1;
    next unless select $bits, undef, undef, 1;
    my $who = recv($sock, my $answer, 2048, 0);
    my ($p, $host) = $six ? unpack_sockaddr_in6($who) : unpack_sockaddr_in($who);
    $answer =~ s/\\n.*//s;
    print Socket::inet_ntop($six ? 10 : 2, $host), " $p $answer\\n";
    $got++;
  }
  1 while wait != -1;
`;

export interface ClashEnds {
  from: string;
  port: number;
  to: string;
  service: number;
}

/** Sends `count` datagrams to an echo server. Returns the answers: from whom, and whom the server saw. */
export async function clash(
  ns: Namespace,
  ends: ClashEnds,
  count: number,
): Promise<{ from: string; seen: string }[]> {
  const limit = String(Math.ceil(slowly(3_000) / 1000));
  const { from, port, to, service } = ends;
  const argv = ['perl', '-e', CLASH, from, String(port), to, String(service), String(count), limit];
  const { stdout } = await ns.run(argv);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => {
      const [host, service, address, port] = line.split(' ');
      return { from: `${host} ${service}`, seen: `${address} ${port}` };
    });
}
