// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Sends frames as they are out of an interface. Node has no packet sockets; perl-base, which every Debian
// has, does: a dozen lines of it are the whole tool.

import type { Namespace } from './netns.js';

// AF_PACKET 17, SOCK_RAW 3, SIOCGIFINDEX 0x8933; struct sockaddr_ll: family, protocol, ifindex, hatype, pkttype, halen, addr
// SOL_PACKET 263, PACKET_VNET_HDR 15; struct virtio_net_hdr: flags (NEEDS_CSUM 1), gso_type, hdr_len, gso_size, csum_start, csum_offset
const SEND = `
  use Socket;
  my ($name, $start, $offset) = @ARGV;
  socket(my $sock, 17, 3, 0) or die "packet socket: $!\\n";
  my $request = pack("a16 x24", $name);
  ioctl($sock, 0x8933, $request) or die "$name: $!\\n";
  my $to = pack("S n i S C C a8", 17, 0, unpack("x16 i", $request), 0, 0, 6, "");
  my $header = "";
  if (defined $start) {
    setsockopt($sock, 263, 15, pack("i", 1)) or die "PACKET_VNET_HDR: $!\\n";
    $header = pack("C C S S S S", 1, 0, 0, 0, $start, $offset);
  }
  while (my $line = <STDIN>) {
    chomp $line;
    defined(send($sock, $header . pack("H*", $line), 0, $to)) or die "send: $!\\n";
  }
`;

/** Where a frame's sum begins that the device is to fill in (CHECKSUM_PARTIAL), and where behind that it goes. */
export interface LeftToDevice {
  start: number;
  offset: number;
}

/** Sends whole Ethernet frames out of `iface`, in order. */
export async function inject(
  ns: Namespace,
  iface: string,
  frames: readonly Buffer[],
  left?: LeftToDevice,
): Promise<void> {
  const sum = left ? [String(left.start), String(left.offset)] : [];
  await ns.run(['perl', '-e', SEND, iface, ...sum], {
    input: frames.map((each) => `${each.toString('hex')}\n`).join(''),
  });
}
