// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packets that no sender makes: good ones with bytes changed, cut or grown at random. Whatever comes, a hook
// passes or drops it; a malformed one begins no flow; one that passes is changed nowhere but in its
// addresses, ports and checksums; and right checksums stay right. FUZZ_SEED repeats a run, FUZZ_PACKETS
// makes it longer.
import type { Test } from 'tap';
import { Counter } from '../../src/generated/layouts.gen.js';
import { walk, withDatapath } from '../helpers/datapath/table.js';
import type { Datapath } from '../helpers/datapath-fixture.js';
import { judge } from '../helpers/packet/oracle.js';
import {
  bytes,
  CLIENT,
  dump,
  extension,
  fragments,
  frame,
  frame6,
  frameWith,
  HOP,
  icmp,
  icmp6,
  idAndSequence,
  PROTOCOL,
  quote,
  ROUTER_WAN,
  SERVER,
  synOptions,
  tcp,
  udp,
  verify,
  vlan,
} from '../helpers/packet.js';
import { random } from '../helpers/random.js';
import { SLOW } from '../helpers/wait.js';

const PACKETS = Number(process.env.FUZZ_PACKETS ?? Math.ceil(200_000 / SLOW));
const SEED = Number(process.env.FUZZ_SEED ?? Date.now() % 1e9);
const HEADERS_END = 14 + 60 + 60;

const query = frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(20));
const translated = frame(ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), bytes(20));
const query6 = frame6(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(20));

/** What is mutated; the first few make flows that later ones then belong to. */
const SEEDS: Buffer[] = [
  query,
  query6,
  frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, flags: 'S', options: synOptions() })),
  frame(CLIENT, SERVER, icmp({ type: 8, code: 0, rest: idAndSequence(7, 1) }), bytes(16)),
  frame(SERVER, ROUTER_WAN, udp({ sport: 53, dport: 40000 }), bytes(31)),
  frame(SERVER, ROUTER_WAN, tcp({ sport: 80, dport: 40000, flags: 'SA', ack: 1, options: synOptions() })),
  frame(CLIENT, SERVER, tcp({ sport: 40000, dport: 80, seq: 1, ack: 1, flags: 'PA' }), bytes(9)),
  frame(HOP, ROUTER_WAN, icmp({ type: 3, code: 4, rest: 1400 }), quote(translated, 8)),
  frame(HOP, ROUTER_WAN, icmp({ type: 11, code: 0, rest: 0 }), quote(translated)),
  frame6(HOP, ROUTER_WAN, icmp6({ type: 2, code: 0, rest: 1280 }), quote(query6)),
  frameWith(
    { ip: { options: Buffer.alloc(12, 1) } },
    CLIENT,
    SERVER,
    udp({ sport: 5, dport: 6, checksum: 0 }),
    bytes(3),
  ),
  frame6(
    CLIENT,
    SERVER,
    extension({ kind: PROTOCOL.hopByHop, body: Buffer.alloc(6) }),
    tcp({ sport: 1, dport: 2, flags: 'S' }),
  ),
  ...fragments(frame(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(200)), 80, 3),
  ...fragments(frame6(CLIENT, SERVER, udp({ sport: 40000, dport: 53 }), bytes(200)), 80, 3),
  frameWith({ vlans: [vlan({ id: 3 })] }, CLIENT, SERVER, udp({ sport: 1, dport: 2 })),
];

interface Attempt {
  packet: Buffer;
  /** Cut inside the kernel: a test run begins with whole IP headers only. */
  length: number;
}

function mutate(rng: () => number): Attempt {
  const below = (limit: number): number => Math.floor(rng() * limit);
  const packet = Buffer.from(SEEDS[below(SEEDS.length)]!);
  for (let changes = below(4); changes > 0; changes--) {
    const at = 12 + below(Math.min(packet.length, HEADERS_END) - 12);
    const kind = below(4);
    if (kind === 0) packet[at] = below(256);
    else if (kind === 1) packet[at]! ^= 1 << below(8);
    else if (kind === 2) packet[at] = [0, 1, 0x7f, 0x80, 0xff][below(5)]!;
    else if (at + 1 < packet.length)
      packet.writeUInt16BE([0, 1, 7, 8, 20, 28, 0x7fff, 0xffff][below(8)]!, at);
  }
  return { packet, length: below(4) === 0 ? 14 + below(packet.length - 13) : 0 };
}

/** What is wrong with what a hook made of a frame; undefined: nothing. */
function fault(
  datapath: Datapath,
  hook: 'ingress' | 'egress',
  attempt: Attempt,
  created: number,
): string | undefined {
  const { packet, length } = attempt;
  if (!datapath.showsAsGiven(packet)) return undefined;
  const given = length ? packet.subarray(0, length) : packet;
  const side = hook === 'egress' ? 'source' : 'destination';
  const at = hook === 'egress' ? ({ at: 'wan0', from: 'lan0' } as const) : ({ at: 'wan0' } as const);
  const result = datapath.step({ hook, ...at, packet, length });
  const judgement = judge(given);

  if (datapath.counter(Counter.CREATED) !== created && judgement.begins === false) return 'it began a flow';
  if (result.verdict === 'drop') return undefined;
  if (result.verdict !== 'pass') return `its verdict is ${result.verdict}`;
  if (result.packet.length !== given.length) return `its length is ${result.packet.length}`;
  const changed = given.findIndex((byte, i) => {
    return byte !== result.packet[i] && !judgement[side].some(([from, to]) => i >= from && i < to);
  });
  if (changed >= 0) return `byte ${changed} was changed`;
  if (!given.equals(result.packet) && verify(given).length === 0 && verify(result.packet).length > 0) {
    return `its checksums are wrong now: ${verify(result.packet)}`;
  }
  return undefined;
}

function fuzz(t: Test, datapath: Datapath): void {
  const rng = random(SEED);
  let created = 0;
  for (let i = 0; i < PACKETS; i++) {
    if (i % 20_000 === 0) {
      datapath.configure();
      for (const packet of SEEDS.slice(0, 4)) walk(datapath, 'out', packet);
      created = datapath.counter(Counter.CREATED);
    }
    const attempt = mutate(rng);
    const hook = rng() < 0.6 ? 'egress' : 'ingress';
    const wrong = readable(() => fault(datapath, hook, attempt, created));
    if (wrong) {
      const cut = attempt.length ? `, cut to ${attempt.length} bytes` : '';
      t.fail(
        `${hook}: ${dump(attempt.packet)}${cut}: ${wrong} (packet ${i}, FUZZ_SEED=${SEED}): ${attempt.packet.toString('hex')}`,
      );
      return;
    }
    created = datapath.counter(Counter.CREATED);
  }
}

/** A kernel that refuses a test run with this frame has not run the hook: nothing to judge. */
function readable(judgeIt: () => string | undefined): string | undefined {
  try {
    return judgeIt();
  } catch (error) {
    if ((error as { errnoName?: string }).errnoName === 'EINVAL') return undefined;
    throw error;
  }
}

withDatapath(async (t, datapath) => {
  await t.test(`${PACKETS} packets, seed ${SEED}`, async (t) => {
    fuzz(t, datapath);
    const reasons = Object.keys(datapath.reasons()).join(' ');
    t.notMatch(reasons, /INTERNAL|REWRITE|RACE/);
    t.match(reasons, /FORWARDED egress.*/);
    t.match(reasons, /DROP_TRUNCATED egress/);
    t.equal(datapath.flows().length > 3, true);
  });
});
