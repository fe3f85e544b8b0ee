// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a tracker may do with a frame, by the RFCs' words and not by the datapath's code: for frames that a
// machine made up. Reads bytes, not layers: a made-up header does not always parse.

export interface Judgement {
  /** Whether a flow may begin with it; 'loose': if connections may be picked up in the middle. */
  begins: boolean | 'loose';
  /** Byte ranges that translating may change, by which side of the packet is translated. */
  source: Range[];
  destination: Range[];
}

type Range = readonly [from: number, to: number];

const TCP = 6;
const UDP = 17;
const GRE = 47;
const SCTP = 132;
const UDPLITE = 136;

/** Protocols whose fragments say only in the first one what flow they are of. */
const WITH_FIRST: ReadonlySet<number> = new Set([1, TCP, UDP, GRE, 58, SCTP, UDPLITE]);

/** SCTP: INIT, INIT ACK, HEARTBEAT, its ACK, SHUTDOWN, its ACK, ERROR, COOKIE ECHO (RFC 9260 section 8.4). */
const SCTP_BEGINNERS: readonly number[] = [1, 2, 4, 5, 7, 8, 9, 10];
const NOTHING: Judgement = { begins: false, source: [], destination: [] };

export function judge(frame: Buffer): Judgement {
  if (frame.length < 14) return NOTHING;
  const type = frame.readUInt16BE(12);
  if (type === 0x0800) return judge4(frame);
  if (type === 0x86dd) return judge6(frame);
  return NOTHING;
}

function judge4(frame: Buffer): Judgement {
  const ip = frame.subarray(14);
  if (ip.length < 20 || ip[0]! >> 4 !== 4) return NOTHING;
  const header = (ip[0]! & 15) * 4;
  const length = ip.readUInt16BE(2) || ip.length; // 0: longer than the field can say (BIG TCP)
  if (header < 20 || length < header || length > ip.length) return NOTHING;
  const [source, destination] = [ip.readUInt32BE(12), ip.readUInt32BE(16)];
  if (source === 0 || destination >>> 28 === 14 || destination === 0xffffffff) return NOTHING;
  const addresses = {
    source: [[24, 30]],
    destination: [
      [24, 26],
      [30, 34],
    ],
  } as const;
  const fragment = ip.readUInt16BE(6);
  if (fragment & 0x1fff)
    return {
      begins: !WITH_FIRST.has(ip[9]!),
      source: [...addresses.source],
      destination: [...addresses.destination],
    };
  const first = (fragment & 0x2000) !== 0;
  return judgeL4(frame.subarray(0, 14 + length), 14 + header, ip[9]!, 4, first, addresses);
}

function judge6(frame: Buffer): Judgement {
  const ip = frame.subarray(14);
  if (ip.length < 40 || ip[0]! >> 4 !== 6) return NOTHING;
  const length = (ip.readUInt16BE(4) || ip.length - 40) + 40;
  if (length > ip.length) return NOTHING;
  const linkLocal = (at: number): boolean => ip[at] === 0xfe && (ip[at + 1]! & 0xc0) === 0x80;
  if (ip[24] === 0xff || linkLocal(8) || linkLocal(24) || ip.subarray(8, 24).every((byte) => byte === 0))
    return NOTHING;
  const addresses = { source: [[22, 38]], destination: [[38, 54]] } as const;
  const end = 14 + length;
  let next = ip[6]!;
  let first = false;
  let at = 54;
  while (next === 0 || next === 43 || next === 44 || next === 60) {
    const size = next === 44 ? 8 : (frame[at + 1]! + 1) * 8;
    if (at + 8 > end || at + size > end) return NOTHING;
    if (next === 44) {
      const word = frame.readUInt16BE(at + 2);
      if (word & 0xfff8)
        return {
          begins: !WITH_FIRST.has(frame[at]!),
          source: [...addresses.source],
          destination: [...addresses.destination],
        };
      first ||= (word & 1) !== 0;
    }
    next = frame[at]!;
    at += size;
  }
  return judgeL4(frame.subarray(0, end), at, next, 6, first, addresses);
}

function judgeL4(
  frame: Buffer,
  at: number,
  protocol: number,
  version: 4 | 6,
  isFirstFragment: boolean,
  addresses: { source: readonly Range[]; destination: readonly Range[] },
): Judgement {
  const l4 = frame.subarray(at);
  const translated = (
    begins: Judgement['begins'],
    checksum: Range,
    source: Range,
    destination: Range,
  ): Judgement => ({
    begins,
    source: [...addresses.source, checksum, source],
    destination: [...addresses.destination, checksum, destination],
  });
  if (protocol === TCP) {
    if (l4.length < 20 || l4[12]! >> 4 < 5 || (l4[12]! >> 4) * 4 > l4.length) return NOTHING;
    const flags = l4[13]! & 0x17;
    const begins = flags === 0x02 || (flags === 0x10 && 'loose');
    return translated(begins, [at + 16, at + 18], [at, at + 2], [at + 2, at + 4]);
  }
  if (protocol === UDP) {
    const length = l4.length < 8 ? 0 : l4.readUInt16BE(4);
    if (length < 8 || (length > l4.length && !isFirstFragment)) return NOTHING;
    return translated(true, [at + 6, at + 8], [at, at + 2], [at + 2, at + 4]);
  }
  if (protocol === UDPLITE) {
    const coverage = l4.length < 8 ? 1 : l4.readUInt16BE(4) || 8;
    if (coverage < 8 || (coverage > l4.length && !isFirstFragment)) return NOTHING;
    return translated(true, [at + 6, at + 8], [at, at + 2], [at + 2, at + 4]);
  }
  const byAddress = (begins: boolean): Judgement => ({
    begins,
    source: [...addresses.source],
    destination: [...addresses.destination],
  });
  if (protocol === SCTP) {
    if (l4.length < 8) return NOTHING;
    return byAddress(l4.length >= 16 && SCTP_BEGINNERS.includes(l4[12]!));
  }
  if (protocol === GRE) {
    const hasKey = l4.length >= 4 && (l4[0]! & 0x20) !== 0 && (l4[1]! & 7) === 0;
    return l4.length < (hasKey ? ((l4[0]! & 0xc0) !== 0 ? 12 : 8) : 4) ? NOTHING : byAddress(true);
  }
  if (protocol === (version === 4 ? 58 : 1) || (version === 6 && protocol === 59)) return NOTHING;
  if (protocol !== 1 && protocol !== 58) return byAddress(true);
  if (l4.length < 8) return NOTHING;
  if ((version === 4 ? [3, 4, 5, 11, 12] : [1, 2, 3, 4, 137]).includes(l4[0]!)) {
    return translated(false, [at + 2, at + 4], [at + 8, frame.length], [at + 8, frame.length]); // the quote
  }
  const begins = (version === 4 ? [8, 13, 15, 17] : [128]).includes(l4[0]!);
  return translated(begins, [at + 2, at + 6], [at + 2, at + 6], [at + 2, at + 6]);
}
