// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What `conntrack -L -o save` prints `-R` gives back: after a flush each flow's next packet goes on where its last one
// ended, as a packet of class ESTABLISHED. TCP's with sockets: conntrack-traffic.test.ts; ICMP's identifiers:
// test/unit/conntrack.test.ts.
import t from 'tap';
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
import { scene } from '../helpers/scene.js';
import { Wire } from '../helpers/wire.js';

const only = { skip: CTNAT_ONLY };
const PORT = 40_000;
const [TO_SERVER, TO_CLIENT] = [0x5eed0001, 0xc11e0002];
t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file

/** An INIT's or INIT ACK's chunk, with the tag that its sender wants to read. */
function init(type: 1 | 2, tag: number): Layer {
  const value = Buffer.alloc(16);
  value.writeUInt32BE(tag, 0);
  value.writeUInt32BE(65_536, 4);
  return raw(sctpChunk(type, 0, value));
}

const chunk = (type: number, bytes: number): Layer => raw(sctpChunk(type, 0, Buffer.alloc(bytes, 0x42)));

/** What a flow's packets are, out by the inside port or identifier and back by the outside one. */
interface Talk {
  /** Those that begin it, in turn. */
  begins: readonly [out: Layer[], back: (outside: number) => Layer[]][];
  /** The first ones after it was loaded. */
  goesOn: readonly [out: Layer[], back: (outside: number) => Layer[]];
}

const word = (text: string): Layer => raw(Buffer.from(text));
const tunnel = [gre({ protocol: 0x88b6, key: 7 }), word('a tunnel')];
const sealed = [word('sealed by somebody')];
const chunks = (tag: number, layer: Layer): Layer[] => [sctp({ sport: PORT, dport: 80, tag }), layer];
const chunksBack =
  (layer: Layer) =>
  (dport: number): Layer[] => [sctp({ sport: 80, dport, tag: TO_CLIENT }), layer];

const TALKS: Readonly<Record<'sctp' | 'gre' | 'esp', Talk>> = {
  sctp: {
    begins: [
      [chunks(0, init(1, TO_CLIENT)), chunksBack(init(2, TO_SERVER))],
      [chunks(TO_SERVER, chunk(10, 8)), chunksBack(chunk(11, 0))],
    ],
    goesOn: [chunks(TO_SERVER, chunk(0, 61)), chunksBack(chunk(0, 61))],
  },
  gre: { begins: [[tunnel, () => tunnel]], goesOn: [tunnel, () => tunnel] },
  esp: { begins: [[sealed, () => sealed]], goesOn: [sealed, () => sealed] },
};

for (const family of [4, 6] as const) {
  for (const name of ['sctp', 'gre', 'esp'] as const) {
    t.test(`IPv${family}: ${name} goes on after save, flush and load`, only, async (t) => {
      const talk = TALKS[name];
      const number = PROTOCOL[name];
      const scenery = await scene(t, { ipv6: true });
      const nat = scenery.nat as Ctnat;
      const wire = await Wire.of(scenery, family);
      const shape = name === 'esp' ? { protocol: number } : {};
      const filter = `ip proto ${number} or ip6 proto ${number}`;
      // the second client's port is another one outside
      const clients = name === 'sctp' ? [0, 1] : [0];
      const exchange = async ([out, back]: Talk['goesOn']): Promise<number[]> => {
        const left = await wire.out(
          filter,
          clients.map((i) => wire.fromClient(i, out, shape)),
        );
        t.equal(left.length, clients.length, 'what is sent leaves');
        for (const frame of left) t.strictSame(verify(frame), [], dump(frame));
        const ports = left.map((frame) => find(parse(frame), 'sctp')?.sport ?? 0);
        const came = await wire.back(
          filter,
          ports.map((port) => wire.fromServer(back(port), shape)),
        );
        t.strictSame(
          came.map((frames) => frames.length),
          [1, clients.length - 1],
          'each client is answered',
        );
        return ports;
      };
      const saved = async (): Promise<string[]> => {
        const { stdout } = await nat.run(['conntrack', '-L', '-p', `${number}`, '-o', 'save']);
        return stdout
          .trimEnd()
          .split('\n')
          .map((line) => line.replace(/-t \d+/, '-t 600'))
          .sort();
      };
      const state = async (): Promise<unknown[]> =>
        (await nat.flows())
          .filter(({ protonum }) => protonum === number)
          .map(({ original, state }) => [original.src, state])
          .sort();

      let ports: number[] = [];
      for (const step of talk.begins) ports = await exchange(step);
      t.equal(new Set(ports).size, clients.length);
      const before = await saved();
      const was = await state();
      await nat.run(['conntrack', '-F']);
      t.strictSame(await state(), []);
      await nat.run(['conntrack', '-R', '-'], { input: `${before.join('\n')}\n` });

      t.strictSame(await saved(), before, 'is what it was');
      t.strictSame(await exchange(talk.goesOn), ports, 'has the port that it had');
      t.strictSame(await state(), was);
      const flows = (await nat.flows()).filter(({ protonum }) => protonum === number);
      for (const { original, reply } of flows) t.strictSame([original.packets, reply.packets], [1, 1]);
      t.equal(flows.length, clients.length);
      t.equal((await nat.drops()).get('drop_invalid') ?? 0, 0);
      if (name !== 'sctp') return;

      const strange = [sctp({ sport: PORT, dport: 80, tag: 0xbad }), chunk(0, 8)];
      t.strictSame(await wire.out(filter, [wire.fromClient(0, strange)]), [], 'of another association');
      t.equal((await nat.drops()).get('drop_invalid'), 1);
    });
  }
}
