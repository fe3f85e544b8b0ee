// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Reads the pcap files that tcpdump writes (https://www.tcpdump.org/manpages/pcap-savefile.5.html).

import { type Frame, readFrame } from './packet.js';

const MAGIC_MICROSECONDS = 0xa1b2c3d4;
const LINKTYPE_ETHERNET = 1;

/** The frames of a pcap file with microsecond stamps in this machine's byte order; a last, half-written one is left out. */
export function readPcap(file: Buffer): Frame[] {
  if (file.length < 24) return [];
  if (file.readUInt32LE(0) !== MAGIC_MICROSECONDS || file.readUInt32LE(20) !== LINKTYPE_ETHERNET) {
    throw new Error('Cannot read the capture: not a little-endian microsecond pcap of Ethernet frames');
  }
  const frames: Frame[] = [];
  for (let at = 24; at + 16 <= file.length; ) {
    const captured = file.readUInt32LE(at + 8);
    const from = at + 16;
    if (from + captured > file.length) break;
    const timeUs = file.readUInt32LE(at) * 1_000_000 + file.readUInt32LE(at + 4);
    frames.push(readFrame(file.subarray(from, from + captured), timeUs));
    at = from + captured;
  }
  return frames;
}
