// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Protocols other than TCP, UDP and ICMP through a masquerading router, and what its users are shown of them. UDP-Lite
// goes by sockets; of the others frames as their hosts would send them go in at one end, and what comes out at the other
// is looked at byte by byte.
import t, { type Test } from 'tap';
import { Capture } from '../helpers/capture.js';
import type { Ctnat } from '../helpers/ctnat.js';
import { CTNAT_ONLY } from '../helpers/nat.js';
import {
  dump,
  find,
  gre,
  type Layer,
  PROTOCOL,
  parse,
  raw,
  sctp,
  sctpChunk,
  verify,
} from '../helpers/packet.js';
import { type Scene, scene } from '../helpers/scene.js';
import { askUdplite, serveUdplite } from '../helpers/udplite.js';
import { Wire } from '../helpers/wire.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;
t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file

const text = (content: string): Layer => raw(Buffer.from(content, 'latin1'));

/** The payload that a frame ends in. */
function payload(frame: Buffer): string {
  const last = parse(frame).at(-1);
  return last?.layer === 'raw' ? Buffer.from(last.bytes).toString('latin1') : '';
}

/** What left is whole, and comes from the router. */
function leftAsTheRouter(t: Test, frames: readonly Buffer[], outside: string): void {
  for (const frame of frames) {
    t.strictSame(verify(frame), [], dump(frame));
    t.equal((find(parse(frame), 'ipv4') ?? find(parse(frame), 'ipv6'))?.src, outside);
  }
}

/** What came back to each client is whole, and says this. */
function cameBack(t: Test, frames: readonly Buffer[][], wanted: readonly string[][]): void {
  for (const frame of frames.flat()) t.strictSame(verify(frame), [], dump(frame));
  t.strictSame(
    frames.map((each) => each.map(payload)),
    wanted,
  );
}

/** Lines of `conntrack -L` about a protocol, in any order; `bpf ct list global` has as many flows. */
async function shown(t: Test, { nat }: Scene, protocol: string): Promise<string[]> {
  const { stdout } = await (nat as Ctnat).run(['conntrack', '-L', '-p', protocol]);
  const lines = stdout.trimEnd().split('\n');
  const flows = (await nat.flows()).filter(
    ({ proto, protonum }) => proto === protocol || `${protonum}` === protocol,
  );
  t.strictSame(
    flows.map(({ original, status }) => [original.src, status.includes('SRC_NAT')]).sort(),
    lines.map((line) => [/ src=(\S+)/.exec(line)?.[1], true]).sort(),
  );
  return lines;
}

/** Holds the lines to be these; `*` stands for anything without a blank. */
function says(t: Test, lines: readonly string[], wanted: readonly string[]): void {
  const pattern = (line: string): RegExp =>
    new RegExp(`^${line.replace(/[.()[\]{}|^$+?\\]/g, '\\$&').replaceAll('*', '\\S+')}$`);
  t.equal(lines.length, wanted.length, lines.join('\n'));
  for (const each of wanted)
    t.ok(
      lines.some((line) => pattern(each).test(line)),
      `${each}\n${lines.join('\n')}`,
    );
}

for (const family of [4, 6] as const) {
  t.test(
    `IPv${family}: UDP-Lite sockets of two clients with one port are answered, whole and half covered`,
    only,
    async (t) => {
      const scenery = await scene(t, { ipv6: true });
      const { clients, server } = scenery;
      const wire = await Wire.of(scenery, family);
      await serveUdplite(server.ns, wire.server, 99, 12);
      const capture = await Capture.start(server.ns, 'eth0', 'ip proto 136 or ip6 proto 136');
      const ask = (i: number, coverage: number) => {
        const { ns } = clients[i]!;
        const ends = { host: wire.client(i), port: PORT, to: wire.server, toPort: 99, coverage };
        return askUdplite(ns, ends, ['the first', 'the second']);
      };
      const first = await ask(0, 0);
      const second = await ask(1, 12);
      t.strictSame(
        first,
        [`${wire.outside} ${PORT} the first`, `${wire.outside} ${PORT} the second`],
        'keeps its port',
      );
      const other = second[0]!.split(' ')[1]!;
      t.strictSame(second, [`${wire.outside} ${other} the first`, `${wire.outside} ${other} the second`]);
      t.not(other, `${PORT}`, 'the port is taken: another one');

      const frames = (await capture.stop()).map(({ data }) => data);
      t.equal(frames.length, 8);
      for (const frame of frames) t.strictSame(verify(frame), [], dump(frame));
      t.strictSame(
        frames.map((frame) => find(parse(frame), 'udplite')!.coverage),
        [0, 12, 0, 12, 12, 12, 12, 12],
        'the sender says how much is covered',
      );
      // a stream after 2 s, on a machine that is as slow
      const conntrack = (await shown(t, scenery, 'udplite')).map((line) => line.replace('[ASSURED] ', ''));
      const line = (i: number, port: string) =>
        `udplite  136 * src=${wire.client(i)} dst=${wire.server} sport=${PORT} dport=99 packets=2 bytes=* ` +
        `src=${wire.server} dst=${wire.outside} sport=99 dport=${port} packets=2 bytes=* mark=0 use=1`;
      says(t, conntrack, [line(0, `${PORT}`), line(1, other)]);
    },
  );

  t.test(`IPv${family}: GRE without a key and with keys, each tunnel by itself`, only, async (t) => {
    const scenery = await scene(t, { ipv6: true });
    const wire = await Wire.of(scenery, family);
    const tunnel = (content: string, key?: number): Layer[] => [
      gre({ protocol: 0x88b6, ...(key !== undefined && { key }) }),
      text(content),
    ];
    const filter = 'ip proto 47 or ip6 proto 47';
    const out = await wire.out(filter, [
      wire.fromClient(0, tunnel('plain')),
      wire.fromClient(0, tunnel('seven', 7)),
      wire.fromClient(1, tunnel('eight', 8)),
      wire.fromClient(1, tunnel('seven of another host', 7)),
    ]);
    leftAsTheRouter(t, out, wire.outside);
    t.strictSame(out.map(payload), ['plain', 'seven', 'eight'], 'a key that is taken can not be changed');
    t.equal((await (scenery.nat as Ctnat).drops()).get('drop_port_fixed'), 1);

    const back = await wire.back(filter, [
      wire.fromServer(tunnel('to plain')),
      wire.fromServer(tunnel('to seven', 7)),
      wire.fromServer(tunnel('to eight', 8)),
    ]);
    cameBack(t, back, [['to plain', 'to seven'], ['to eight']]);
    const line = (i: number, key: string) =>
      `gre      47 * src=${wire.client(i)} dst=${wire.server} srckey=${key} dstkey=${key} packets=1 bytes=* ` +
      `src=${wire.server} dst=${wire.outside} srckey=${key} dstkey=${key} packets=1 bytes=* mark=0 use=1`;
    const conntrack = await shown(t, scenery, 'gre');
    says(t, conntrack, [line(0, '0x0'), line(0, '0x7'), line(1, '0x8')]);
  });

  for (const protocol of ['esp', 'ah'] as const) {
    const number = PROTOCOL[protocol];
    t.test(
      `IPv${family}: ${protocol.toUpperCase()} is a flow by its addresses, of one client for each server`,
      only,
      async (t) => {
        const scenery = await scene(t, { ipv6: true });
        const wire = await Wire.of(scenery, family);
        const shape = { protocol: number };
        const filter = `ip proto ${number} or ip6 proto ${number}`;
        const out = await wire.out(filter, [
          wire.fromClient(0, [text('sealed by the first')], shape),
          wire.fromClient(1, [text('sealed by the second')], shape),
          wire.fromClient(0, [text('sealed once more..')], shape),
        ]);
        leftAsTheRouter(t, out, wire.outside);
        t.match(out.map(bodyOf), [/sealed by the first$/, /sealed once more\.\.$/]);
        t.equal(out.length, 2);
        t.equal((await (scenery.nat as Ctnat).drops()).get('drop_port_fixed'), 1, 'the other one by name');

        const back = await wire.back(filter, [wire.fromServer([text('an answer.....')], shape)]);
        t.strictSame(
          back.map((frames) => frames.length),
          [1, 0],
        );
        t.match(back[0]!.map(bodyOf), [/an answer\.{5}$/]);
        const conntrack = await shown(t, scenery, `${number}`);
        says(t, conntrack, [
          `unknown  ${number} * src=${wire.client(0)} dst=${wire.server} packets=2 bytes=* ` +
            `src=${wire.server} dst=${wire.outside} packets=1 bytes=* mark=0 use=1`,
        ]);
      },
    );
  }

  t.test(`IPv${family}: two SCTP associations with one port, from INIT to ESTABLISHED`, only, async (t) => {
    const scenery = await scene(t, { ipv6: true });
    const wire = await Wire.of(scenery, family);
    const [toServer, toClient] = [0x5eed0001, 0xc11e0002];
    const chunk = (type: number, value: Buffer): Layer => raw(sctpChunk(type, 0, value));
    const begins = (tag: number): Buffer => {
      const value = Buffer.alloc(16);
      value.writeUInt32BE(tag >>> 0, 0);
      value.writeUInt32BE(65_536, 4);
      return value;
    };
    const cookie = Buffer.alloc(8, 0x42);
    const filter = 'ip proto 132 or ip6 proto 132';
    const sent = async (tag: number, layer: Layer): Promise<number[]> => {
      const packet = [sctp({ sport: PORT, dport: 80, tag }), layer];
      const out = await wire.out(filter, [wire.fromClient(0, packet), wire.fromClient(1, packet)]);
      leftAsTheRouter(t, out, wire.outside);
      return out.map((frame) => find(parse(frame), 'sctp')!.sport);
    };
    const answered = async (ports: readonly number[], layer: Layer): Promise<void> => {
      const packet = (dport: number) => wire.fromServer([sctp({ sport: 80, dport, tag: toClient }), layer]);
      const back = await wire.back(filter, ports.map(packet));
      for (const [i, frames] of back.entries()) {
        t.equal(frames.length, 1, `client ${i} has its own`);
        t.strictSame(verify(frames[0]!), [], dump(frames[0]!));
        t.equal(find(parse(frames[0]!), 'sctp')!.dport, PORT);
      }
    };

    const ports = await sent(0, chunk(1, begins(toClient)));
    t.equal(ports[0], PORT);
    t.equal(new Set(ports).size, 2, 'the second gets another port, and its CRC is still right');
    await answered(ports, chunk(2, begins(toServer)));
    t.strictSame(await sent(toServer, chunk(10, cookie)), ports);
    await answered(ports, chunk(11, Buffer.alloc(0)));

    const conntrack = await shown(t, scenery, 'sctp');
    const line = (i: number) =>
      `sctp     132 * ESTABLISHED src=${wire.client(i)} dst=${wire.server} sport=${PORT} dport=80 packets=2 bytes=* ` +
      `src=${wire.server} dst=${wire.outside} sport=80 dport=${ports[i]} packets=2 bytes=* [ASSURED] mark=0 use=1`;
    says(t, conntrack, [line(0), line(1)]);
  });
}

/** All behind the IP header, as text. */
function bodyOf(frame: Buffer): string {
  return frame.toString('latin1');
}
