// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Sends frames as they are out of an interface. Node has no packet sockets; perl-base, which every Debian
// has, does: a dozen lines of it are the whole tool.

import type { Namespace } from './netns.js';

// AF_PACKET 17, SOCK_RAW 3, SIOCGIFINDEX 0x8933; struct sockaddr_ll: family, protocol, ifindex, hatype, pkttype, halen, addr
const SEND = `
  use Socket;
  my $name = shift;
  socket(my $sock, 17, 3, 0) or die "packet socket: $!\\n";
  my $request = pack("a16 x24", $name);
  ioctl($sock, 0x8933, $request) or die "$name: $!\\n";
  my $to = pack("S n i S C C a8", 17, 0, unpack("x16 i", $request), 0, 0, 6, "");
  while (my $line = <STDIN>) {
    chomp $line;
    defined(send($sock, pack("H*", $line), 0, $to)) or die "send: $!\\n";
  }
`;

/** Sends whole Ethernet frames out of `iface`, in order. */
export async function inject(ns: Namespace, iface: string, frames: readonly Buffer[]): Promise<void> {
  await ns.run(['perl', '-e', SEND, iface], {
    input: frames.map((each) => `${each.toString('hex')}\n`).join(''),
  });
}
