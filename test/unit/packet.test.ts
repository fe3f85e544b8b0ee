// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The packet builder and judge that the datapath's tests rely on, held against bytes that the kernel sent
// (fixtures/kernel-traffic.txt) and against vectors of the RFCs.
import { readFileSync } from 'node:fs';
import t from 'tap';
import {
  build,
  bytes,
  CLIENT,
  crc32c,
  dump,
  ETHERTYPE,
  ethernet,
  extension,
  find,
  fragment6,
  fragments,
  frame,
  frame6,
  frame6With,
  frameWith,
  gre,
  HOP,
  icmp,
  icmp6,
  idAndSequence,
  internetChecksum,
  ip4Bytes,
  ip6Bytes,
  ip6Text,
  ipv4,
  type Layer,
  PROTOCOL,
  parse,
  parseIp,
  quote,
  quoted,
  ROUTER_WAN,
  raw,
  SERVER,
  sctp,
  sctpChunk,
  synOptions,
  tcp,
  text,
  udp,
  underived,
  verify,
  vlan,
} from '../helpers/packet.js';

interface Captured {
  line: string;
  frame: Buffer;
}

/** The frames of a tcpdump -xx listing, with the line that tcpdump printed about each. */
function captured(): Captured[] {
  const path = new URL('../../../test/unit/fixtures/kernel-traffic.txt', import.meta.url);
  const found: { line: string; hex: string }[] = [];
  for (const line of readFileSync(path, 'utf8').split('\n')) {
    const bytesOfLine = /^\s+0x[0-9a-f]{4}:\s+(.*)$/.exec(line);
    if (bytesOfLine) found.at(-1)!.hex += bytesOfLine[1]!.replaceAll(' ', '');
    else if (/^IP6? /.test(line)) found.push({ line, hex: '' });
  }
  return found.map(({ line, hex }) => ({ line, frame: Buffer.from(hex, 'hex') }));
}

const traffic = captured();
const layersOf = (frame: Uint8Array): string =>
  parse(frame)
    .map((layer) => layer.layer)
    .join(' ');

t.test('the capture holds every kind of packet', async (t) => {
  const kinds = new Set(traffic.map(({ frame }) => layersOf(frame)));

  t.equal(traffic.length, 59, 'frames');
  for (const kind of [
    'ethernet ipv4 icmp raw',
    'ethernet ipv4 raw',
    'ethernet ipv4 tcp',
    'ethernet ipv4 tcp raw',
    'ethernet ipv4 udp raw',
    'ethernet ipv6 tcp raw',
    'ethernet ipv6 udp raw',
    'ethernet ipv6 icmp6 raw',
    'ethernet ipv6 fragment6 icmp6 raw',
    'ethernet ipv6 fragment6 raw',
    'ethernet ipv6 extension extension udp raw',
  ]) {
    t.ok(kinds.has(kind), kind);
  }
});

t.test(
  'building what was parsed gives the bytes that the kernel sent, checksums and lengths computed anew',
  async (t) => {
    for (const { line, frame } of traffic) {
      const layers = parse(frame);
      // What follows a quote's end is not there, so a fragment's L4 checksum can't be computed from it.
      const partial = layers.some(
        (layer) => (layer.layer === 'ipv4' && layer.mf) || layer.layer === 'fragment6',
      );

      const again = build(...(partial ? layers : underived(layers)));

      t.equal(dump(again), dump(frame), line);
      t.equal(again.toString('hex'), frame.toString('hex'), line);
    }
  },
);

t.test('the kernel sends nothing that the judge objects to', async (t) => {
  for (const { line, frame } of traffic) t.strictSame(verify(frame), [], line);
});

t.test('the judge sees one flipped bit in whatever a checksum covers', async (t) => {
  for (const { line, frame } of traffic) {
    const layers = parse(frame);
    const v4 = find(layers, 'ipv4');
    const isFragment = v4?.mf || v4?.offset || find(layers, 'fragment6');
    const uncovered = find(layers, 'udp')?.checksum === 0;
    if (isFragment || uncovered) continue;
    const last = Buffer.from(frame);
    const end = 14 + (v4?.length ?? 40 + find(layers, 'ipv6')!.length!) - 1;
    last[end]! ^= 1;
    t.not(verify(last).length, 0, `last byte: ${line}`);

    const address = Buffer.from(frame);
    address[v4 ? 29 : 37]! ^= 4;
    t.not(verify(address).length, 0, `source address: ${line}`);
  }
});

t.test('layers written by hand build the packets that were captured', async (t) => {
  const written: [string, Buffer][] = [
    [
      '10.0.0.2.40000 > 192.0.2.9.53',
      build(
        ethernet({ src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' }),
        ipv4({ src: '10.0.0.2', dst: '192.0.2.9', id: 63179, df: true }),
        udp({ sport: 40000, dport: 53 }),
        text('odd'),
      ),
    ],
    [
      'fd00:10::2.40000 > 2001:db8:2::9.53',
      build(
        ethernet({ src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' }),
        { layer: 'ipv6', src: 'fd00:10::2', dst: '2001:db8:2::9', flowLabel: 0x4c1fc },
        udp({ sport: 40000, dport: 53 }),
        text('odd'),
      ),
    ],
    [
      '10.0.0.2.41062 > 192.0.2.9.80: Flags [S]',
      build(
        ethernet({ src: '02:00:00:00:00:0a', dst: '02:00:00:00:00:0b' }),
        ipv4({ src: '10.0.0.2', dst: '192.0.2.9', id: 904, df: true }),
        tcp({
          sport: 41062,
          dport: 80,
          seq: 3216816644,
          flags: 'S',
          window: 65280,
          options: Buffer.from('020405500402080a6147da67000000000103030a', 'hex'),
        }),
      ),
    ],
  ];
  for (const [start, frame] of written) {
    const found = traffic.find(({ line }) => line.includes(start));
    t.equal(dump(frame), dump(found!.frame), start);
  }
});

t.test('an ICMP error quotes what it is about', async (t) => {
  const errors = traffic.map(({ frame }) => parse(frame)).filter((layers) => quoted(layers) !== undefined);
  t.ok(errors.length >= 7, 'captured errors');

  const sent = frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S' }), text('early data'));
  const short = frame(HOP, CLIENT, icmp({ type: 11, code: 0, rest: 0 }), quote(sent, 8));
  const whole = frame(HOP, CLIENT, icmp({ type: 11, code: 0, rest: 0 }), quote(sent));

  t.equal(short.length, 14 + 20 + 8 + 28);
  t.strictSame(verify(short), []);
  t.equal(find(quoted(parse(short))!, 'ipv4')?.dst, SERVER.ip4);
  t.equal(find(quoted(parse(whole))!, 'tcp')?.dport, 80);
  t.strictSame(verify(whole), []);
  const inner = Buffer.from(whole);
  inner[14 + 20 + 8 + 12]! ^= 1;
  t.strictSame(verify(inner).length, 3, 'outer ICMP, quoted IPv4, quoted TCP');
});

t.test('fragments put together again are the packet', async (t) => {
  const whole4 = frame(CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(3001));
  const whole6 = frame6(CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(3001));

  const pieces4 = fragments(whole4, 1480, 7).map((piece) => parse(piece));
  const pieces6 = fragments(whole6, 1448, 7).map((piece) => parse(piece));

  const payload = (pieces: Layer[][], from: number): Buffer =>
    Buffer.concat(pieces.map((layers) => build(...layers).subarray(from)));
  t.strictSame(payload(pieces4, 34), whole4.subarray(34));
  t.strictSame(payload(pieces6, 62), whole6.subarray(54));
  t.strictSame(
    pieces4.map((layers) => find(layers, 'ipv4')).map((ip) => [ip!.offset, ip!.mf]),
    [
      [0, true],
      [1480, true],
      [2960, false],
    ],
  );
  t.ok(
    [...fragments(whole4, 1480, 7), ...fragments(whole6, 1448, 7)].every(
      (piece) => verify(piece).length === 0,
    ),
  );
});

t.test('checksums agree with the examples of the RFCs', async (t) => {
  // RFC 1071 section 3
  t.equal(internetChecksum(Buffer.from('0001f203f4f5f6f7', 'hex')), ~0xddf2 & 0xffff);
  // RFC 3720 appendix B.4, bytes in the order of transmission
  const transmitted = (data: Uint8Array): string => {
    const crc = Buffer.alloc(4);
    crc.writeUInt32LE(crc32c(data));
    return crc.toString('hex');
  };
  t.equal(transmitted(Buffer.alloc(32)), 'aa36918a');
  t.equal(transmitted(Buffer.alloc(32, 0xff)), '43aba862');
  t.equal(transmitted(Buffer.from(Array.from({ length: 32 }, (_, i) => i))), '4e79dd46');
  t.equal(transmitted(Buffer.from(Array.from({ length: 32 }, (_, i) => 31 - i))), '5cdb3f11');
});

t.test('a UDP checksum that would be zero is sent as ffff, and a given zero stays', async (t) => {
  const zero = find(parse(frame(CLIENT, SERVER, udp({ sport: 0, dport: 0 }), raw(Buffer.alloc(2)))), 'udp')!
    .checksum!;
  const filled = Buffer.alloc(2);
  filled.writeUInt16BE(zero); // adding the checksum to the payload makes the sum ffff and the checksum 0

  const sent = frame(CLIENT, SERVER, udp({ sport: 0, dport: 0 }), raw(filled));
  const without = frame(CLIENT, SERVER, udp({ sport: 0, dport: 0, checksum: 0 }), raw(filled));

  t.equal(find(parse(sent), 'udp')?.checksum, 0xffff);
  t.strictSame(verify(sent), []);
  t.equal(find(parse(without), 'udp')?.checksum, 0);
  t.strictSame(verify(without), []);
  t.not(
    verify(frame6(CLIENT, SERVER, udp({ sport: 0, dport: 0, checksum: 0 }))).length,
    0,
    'IPv6 has no such thing',
  );
});

t.test('VLAN tags, GRE and SCTP survive building, parsing and judging', async (t) => {
  const frames = [
    frameWith({ vlans: [vlan({ id: 100 })] }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
    frameWith(
      { vlans: [vlan({ id: 7, tpid: ETHERTYPE.qinq }), vlan({ id: 100, priority: 5, dei: true })] },
      CLIENT,
      SERVER,
    ),
    frame(
      CLIENT,
      SERVER,
      gre({ protocol: ETHERTYPE.ipv4, key: 5, sequence: 9, checksum: true }),
      text('payload'),
    ),
    frame(CLIENT, SERVER, sctp({ sport: 1, dport: 2, tag: 0 }), raw(sctpChunk(1, 0, Buffer.alloc(16, 1)))),
    frame6(
      CLIENT,
      SERVER,
      extension({ kind: PROTOCOL.hopByHop, body: Buffer.from('010400000000', 'hex') }),
      icmp6({ type: 128, code: 0, rest: 1 }),
    ),
    frame6With(
      { ip6: { hopLimit: 1 } },
      CLIENT,
      SERVER,
      fragment6({ offset: 0, more: false, id: 1 }),
      tcp({ sport: 1, dport: 2 }),
    ),
    frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S', options: synOptions() })),
  ];
  for (const packet of frames) {
    t.equal(build(...underived(parse(packet))).toString('hex'), packet.toString('hex'), dump(packet));
    t.strictSame(verify(packet), []);
  }
  t.equal(frames[0]!.toString('hex', 12, 18), '810000640800'.slice(0, 12));
  t.equal(frames[1]!.toString('hex', 12, 22), '88a80007' + '8100' + 'b064' + '0800');
  const broken = Buffer.from(frames[3]!);
  broken[50]! ^= 1;
  t.match(verify(broken), [/SCTP/]);
});

t.test('headers lie as they are told', async (t) => {
  const lying = frameWith(
    { ip: { words: 4, length: 9999 } },
    CLIENT,
    SERVER,
    udp({ sport: 1, dport: 2, length: 3 }),
  );

  t.equal(lying[14], 0x44);
  t.equal(lying.readUInt16BE(16), 9999);
  t.equal(lying.readUInt16BE(38), 3);
});

t.test('a truncated packet parses as far as it goes', async (t) => {
  const whole = frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, options: synOptions() }), text('x'));
  for (let length = 0; length < whole.length; length++) {
    t.equal(build(...parse(whole.subarray(0, length))).length, length, `${length} bytes`);
  }
});

t.test('addresses survive text and bytes', async (t) => {
  for (const address of ['::', '::1', 'fd00:10::2', '2001:db8::1:0:0:1', 'ff02::fb', '1:2:3:4:5:6:7:8']) {
    t.equal(ip6Text(ip6Bytes(address)), address);
  }
  for (const wrong of ['1.2.3', '1.2.3.256', '1.2.3.4.5', 'a.b.c.d', ''])
    t.throws(() => ip4Bytes(wrong), TypeError, wrong);
  for (const wrong of ['1:2', ':::', '1::2::3', '12345::', '1:2:3:4:5:6:7:8:9'])
    t.throws(() => ip6Bytes(wrong), TypeError, wrong);
});

t.test('a dump names hosts, quotes and what is wrong', async (t) => {
  const sent = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), text('hi'));
  const error = frame(HOP, ROUTER_WAN, icmp({ type: 3, code: 3, rest: idAndSequence(0, 0) }), quote(sent, 8));

  t.match(dump(sent), /CLIENT > SERVER ttl 64 .* udp 40000 > 53 len 10 .*\| 2 bytes 6869$/);
  t.match(dump(error), /HOP > ROUTER_WAN .* icmp 3\/3 .* \{CLIENT > SERVER .*\}$/);
  const broken = Buffer.from(sent);
  broken[43]! ^= 1;
  t.match(dump(broken), /!! UDP checksum 0x[0-9a-f]{4} is wrong$/);
  t.equal(parseIp(sent.subarray(14)).length, 3);
});
