// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// The short way (bpf/fast.h) and the long one agree: the same packets through a datapath as it is and through
// one whose hooks always go the long way end in the same verdicts, bytes, tags, flows and counters. The packets
// are connections that go on as usual, with everything in them that the short way has to recognize now and then
// wrong. FAST_SEED repeats a run, FAST_PACKETS makes it longer.
import t, { type Test } from 'tap';
import { maps } from '../../src/generated/layouts.gen.js';
import { flavours, isCompiledWith } from '../helpers/datapath/load.js';
import { enterRouter } from '../helpers/datapath/network.js';
import { type Path, samePacket, walk } from '../helpers/datapath/table.js';
import { Datapath, type Setup, type StepOptions } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  dump,
  frame,
  frame6,
  type Host,
  ROUTER_WAN,
  SERVER,
  tcp,
  udp,
} from '../helpers/packet.js';
import { Random } from '../helpers/tcp/random.js';

const PACKETS = Number(process.env.FAST_PACKETS ?? 1000);
const SEED = Number(process.env.FAST_SEED ?? Date.now() % 1e9);
const TIMESTAMP = Buffer.from('0101080a0000000100000002', 'hex');
const SACK = Buffer.from('0101050a0000000000000001', 'hex');

interface Ways {
  any: Datapath;
  long: Datapath;
}

/** How frames of a family are made, and where its IP header's addresses and the ports behind it are. */
const FAMILIES = {
  4: { frame, addresses: 26, l4: 34 },
  6: { frame: frame6, addresses: 22, l4: 54 },
} as const;
type Family = keyof typeof FAMILIES;

const SETUPS: { name: string; setup: Setup; outside: Host; port: (port: number) => number }[] = [
  { name: 'masqueraded, port kept', setup: {}, outside: ROUTER_WAN, port: (port) => port },
  {
    name: 'another port',
    setup: {
      rules: [
        { kind: 'snat', to: [ROUTER_WAN.ip4, ROUTER_WAN.ip4], ports: [20000, 20000] },
        { kind: 'snat', to: [ROUTER_WAN.ip6, ROUTER_WAN.ip6], ports: [20000, 20000] },
      ],
    },
    outside: ROUTER_WAN,
    port: () => 20000,
  },
  {
    name: 'not translated',
    setup: {
      interfaces: {
        lan0: { ip4: '10.0.0.1', ip6: 'fd00:10::1' },
        wan0: { ip4: ROUTER_WAN.ip4, ip6: ROUTER_WAN.ip6 },
      },
    },
    outside: CLIENT,
    port: (port) => port,
  },
];

/** One connection or exchange of datagrams, and where its sequence numbers are. */
class Talk {
  readonly #random: Random;
  readonly #family: Family;
  readonly #outside: Host;
  readonly #ports: { client: number; outside: number };
  #client: number;
  #server: number;

  constructor(random: Random, family: Family, outside: Host, port: (port: number) => number) {
    this.#random = random;
    this.#family = family;
    this.#outside = outside;
    this.#ports = { client: 40000, outside: port(40000) };
    [this.#client, this.#server] = [random.next(), random.next()];
  }

  /** The handshake. */
  begin(): { path: Path; packet: Buffer }[] {
    const steps = [
      { path: 'out' as const, flags: 'S', seq: this.#client, ack: 0 },
      { path: 'back' as const, flags: 'SA', seq: this.#server, ack: this.#client + 1 },
      { path: 'out' as const, flags: 'A', seq: this.#client + 1, ack: this.#server + 1 },
    ];
    this.#client += 1;
    this.#server += 1;
    return steps.map(({ path, ...header }) => ({
      path,
      packet: this.#frame(path, tcp(this.#header(path, header))),
    }));
  }

  segment(): { path: Path; packet: Buffer } {
    const random = this.#random;
    const path = random.pick(['out', 'back'] as const);
    const own = path === 'out' ? this.#client : this.#server;
    const peer = path === 'out' ? this.#server : this.#client;
    const size = random.pick([0, 0, 1, 32, 100, 1000]);
    const odd = random.chance(0.3);
    const seq = own + (odd ? random.pick([-1, -1000, 1, 5000, 70_000, 2 ** 31]) : 0);
    const flags = odd && random.chance(0.2) ? random.pick(['PAU', 'AEW', 'P', 'SA', 'R', 'RA']) : 'PA';
    const options = random.weighted({ none: 5, timestamp: 5, sack: 1 });
    const segment = tcp({
      ...this.#header(path, { flags, seq, ack: peer + (odd ? random.pick([0, -100, 1, -80_000]) : 0) }),
      window: random.pick([0, 1, 500, 64_240, 65_535]),
      ...(options !== 'none' && { options: options === 'sack' ? SACK : TIMESTAMP }),
    });
    if (!odd) {
      if (path === 'out') this.#client += size;
      else this.#server += size;
    }
    return { path, packet: this.#frame(path, segment, size) };
  }

  /** @param path left out: any */
  datagram(path: 'out' | 'back' = this.#random.pick(['out', 'back'] as const)): {
    path: Path;
    packet: Buffer;
  } {
    const random = this.#random;
    const header = { ...this.#header(path, {}), ...(random.chance(0.2) && { checksum: 0 }) };
    return { path, packet: this.#frame(path, udp(header), random.pick([0, 1, 11, 12, 400])) };
  }

  #header<T>(path: Path, fields: T): T & { sport: number; dport: number } {
    const { client, outside } = this.#ports;
    return path === 'out'
      ? { sport: client, dport: 80, ...fields }
      : { sport: 80, dport: outside, ...fields };
  }

  #frame(path: Path, layer: ReturnType<typeof tcp | typeof udp>, size = 0): Buffer {
    const make = FAMILIES[this.#family].frame;
    return path === 'out'
      ? make(CLIENT, SERVER, layer, bytes(size))
      : make(SERVER, this.#outside, layer, bytes(size));
  }
}

/**
 * Now and then a byte of the headers is another; not of addresses and ports, which would begin flows whose outside
 * ports are chosen at random.
 */
function spoil(random: Random, family: Family, packet: Buffer): Buffer {
  if (!random.chance(0.15)) return packet;
  const { addresses, l4 } = FAMILIES[family];
  const spoilt = Buffer.from(packet);
  const at = random.between(14, Math.min(packet.length, l4 + 32) - 1);
  if (at >= addresses && at < l4 + 4) return packet;
  spoilt[at] = random.pick([0, 1, 0x45, 0x46, 0x60, 0x7f, 0xff, random.below(256)]);
  return spoilt;
}

/** Everything that a datapath knows, but for the time. */
function known(datapath: Datapath): object {
  const flows = [...datapath.map(maps.flows4).entries(), ...datapath.map(maps.flows6).entries()]
    .filter(([, flow]) => flow.head.status)
    .map(([slot, flow]) => ({ slot, ...flow, head: { ...flow.head, created: 0, deadline: 0 } }));
  const timeouts = [...datapath.flows(4), ...datapath.flows(6)].map(({ timeout }) => timeout);
  return { flows, timeouts, metrics: datapath.metrics(), counters: datapath.counters() };
}

/** Puts a packet both ways; what is different, undefined: nothing. */
function difference(ways: Ways, path: Path, packet: Buffer): string | undefined {
  const [a, b] = [walk(ways.any, path, packet), walk(ways.long, path, packet)];
  if (a.verdict !== b.verdict) return `verdicts ${a.verdict} and ${b.verdict}`;
  if (a.tcIndex !== b.tcIndex) return `tags ${a.tcIndex} and ${b.tcIndex}`;
  return a.packet.equals(b.packet) ? undefined : `packets ${dump(a.packet)} and ${dump(b.packet)}`;
}

/** A kernel that refuses a test run with a frame has run no hook. */
function unlessRefused<T>(run: () => T): T | undefined {
  try {
    return run();
  } catch (error) {
    if ((error as { errnoName?: string }).errnoName === 'EINVAL') return undefined;
    throw error;
  }
}

function compare(
  t: Test,
  ways: Ways,
  setup: (typeof SETUPS)[number],
  proto: 'TCP' | 'UDP',
  family: Family,
): void {
  const random = new Random(SEED);
  let talk = new Talk(random, family, setup.outside, setup.port);
  for (let i = 0; i < PACKETS; i++) {
    const again = i % 250 === 0;
    if (again) {
      talk = new Talk(random, family, setup.outside, setup.port);
      for (const datapath of [ways.any, ways.long]) datapath.configure(setup.setup);
    }
    const tcp = proto === 'TCP';
    const first = (): ReturnType<Talk['begin']> => (tcp ? talk.begin() : [talk.datagram('out')]);
    const steps = again ? first() : [tcp ? talk.segment() : talk.datagram()];
    for (const { path, packet } of steps) {
      const given = again ? packet : spoil(random, family, packet);
      const wrong = unlessRefused(() => difference(ways, path, given));
      if (wrong) {
        t.fail(`packet ${i}, FAST_SEED=${SEED}: ${path} ${dump(given)}: ${wrong}: ${given.toString('hex')}`);
        return;
      }
    }
    if (i % 50 === 49)
      t.strictSame(known(ways.any), known(ways.long), `after ${i + 1} packets, FAST_SEED=${SEED}`);
    if (!t.passing()) return;
  }
}

/** The usual packets of a connection that stands go the short way: they need no other program. */
function goesTheShortWay(t: Test, datapath: Datapath, setup: (typeof SETUPS)[number], family: Family): void {
  const make = FAMILIES[family].frame;
  datapath.configure(setup.setup);
  const port = setup.port(40000);
  const ports = { out: { sport: 40000, dport: 80 }, back: { sport: 80, dport: port } };
  const out = (layer: Parameters<typeof frame>[2], size: number): Buffer =>
    make(CLIENT, SERVER, layer, bytes(size));
  const back = (layer: Parameters<typeof frame>[2], size: number): Buffer =>
    make(SERVER, setup.outside, layer, bytes(size));
  walk(datapath, 'out', out(tcp({ ...ports.out, flags: 'S', seq: 999 }), 0));
  walk(datapath, 'back', back(tcp({ ...ports.back, flags: 'SA', seq: 8999, ack: 1000 }), 0));
  walk(datapath, 'out', out(tcp({ ...ports.out, flags: 'A', seq: 1000, ack: 9000 }), 0));
  const usual: [Path, Buffer][] = [
    ['out', out(tcp({ ...ports.out, flags: 'A', seq: 1000, ack: 9000 }), 500)],
    ['out', out(tcp({ ...ports.out, flags: 'PA', seq: 1500, ack: 9000, options: TIMESTAMP }), 10)],
    ['back', back(tcp({ ...ports.back, flags: 'A', seq: 9000, ack: 1510, options: TIMESTAMP }), 0)],
    ['back', back(tcp({ ...ports.back, flags: 'PAE', seq: 9000, ack: 1510 }), 1400)],
  ];
  const flow = datapath.flows(family)[0];
  t.match({ ...flow }, { state: 'ESTABLISHED', status: ['SEEN_REPLY', 'ASSURED'] });
  const open = datapath.closeLongWay();
  for (const [path, packet] of usual) t.equal(walk(datapath, path, packet).verdict, 'pass', dump(packet));
  t.match({ ...datapath.flows(family)[0] }, { packets: [4, 3] });
  const unusual = out(tcp({ ...ports.out, flags: 'FA', seq: 1510, ack: 10_400 }), 0);
  t.equal(walk(datapath, 'out', unusual).verdict, 'drop', 'a FIN does not');
  open();
}

/** Nor do those with which a flow begins, where programs may be long (bpf/birth.h). */
function isBornTheShortWay(
  t: Test,
  datapath: Datapath,
  flavour: string,
  setup: (typeof SETUPS)[number],
  family: Family,
): void {
  const make = FAMILIES[family].frame;
  datapath.configure(setup.setup);
  const open = datapath.closeLongWay();
  const expected = isCompiledWith(flavour, 'CTNAT_FETCH') && !setup.setup.rules ? 'pass' : 'drop';
  for (const [sport, layer] of [
    udp({ sport: 40000, dport: 80 }),
    tcp({ sport: 40001, dport: 80, flags: 'S' }),
  ].entries())
    t.equal(walk(datapath, 'out', make(CLIENT, SERVER, layer)).verdict, expected, `packet ${sport}`);
  const ack = make(CLIENT, SERVER, tcp({ sport: 40002, dport: 80, flags: 'R' }));
  t.equal(walk(datapath, 'out', ack).verdict, 'drop', 'a RST begins nothing, and is not judged here');
  open();
  const status = setup.outside === CLIENT ? [] : ['SRC_NAT'];
  const flows =
    expected === 'pass'
      ? [
          { proto: 17, status },
          { proto: 6, status, state: 'SYN_SENT' },
        ]
      : [];
  t.match(
    datapath.flows(family).map((flow) => ({ ...flow })),
    flows,
  );
}

/** Packets whose checksum somebody else fills in, or has summed. */
function offload(t: Test, ways: Ways, setup: (typeof SETUPS)[number], family: Family): void {
  const make = FAMILIES[family].frame;
  for (const datapath of [ways.any, ways.long]) datapath.configure(setup.setup);
  const port = setup.port(40000);
  const complete = (path: 'out' | 'back', packet: Buffer): void => {
    const at: Pick<StepOptions, 'hook' | 'at' | 'from'> =
      path === 'out' ? { hook: 'egress', at: 'wan0', from: 'lan0' } : { hook: 'ingress', at: 'wan0' };
    // since 6.13 the kernel refuses the run with EBADMSG if skb->csum and the packet disagree afterwards
    const [a, b] = [ways.any, ways.long].map((way) => way.step({ ...at, packet, checksumComplete: true }));
    samePacket(t, a!.packet, b!.packet, `${path} with CHECKSUM_COMPLETE`);
  };
  for (let size = 0; size < 40; size++) {
    complete('out', make(CLIENT, SERVER, udp({ sport: 40000, dport: 80 }), bytes(size)));
    complete('back', make(SERVER, setup.outside, udp({ sport: 80, dport: port }), bytes(size)));
  }
  // without a checksum the ports' change shows, too, of which the long way's helpers do not know
  const silent = udp({ sport: 40000, dport: 80, checksum: 0 });
  const packet = make(CLIENT, SERVER, silent, bytes(8));
  const out = ways.any.step({ hook: 'egress', at: 'wan0', from: 'lan0', packet, checksumComplete: true });
  t.equal(out.verdict, 'pass', 'CHECKSUM_COMPLETE without a checksum');
}

t.setTimeout(0);
t.test('datapath', { timeout: 0 }, async (t) => {
  const network = await enterRouter(t);
  for (const flavour of flavours()) {
    await t.test(flavour, { timeout: 0 }, async (t) => {
      const ways = {
        any: await Datapath.load(t, flavour, network),
        long: await Datapath.load(t, flavour, network, 'long'),
      };
      for (const setup of SETUPS) {
        for (const family of [4, 6] as const) {
          const of = `of IPv${family}, ${setup.name}`;
          for (const proto of ['TCP', 'UDP'] as const)
            await t.test(`${proto} ${of}`, async (t) => compare(t, ways, setup, proto, family));
          await t.test(`CHECKSUM_COMPLETE ${of}`, async (t) => offload(t, ways, setup, family));
          await t.test(`the short way is taken ${of}`, async (t) =>
            goesTheShortWay(t, ways.any, setup, family),
          );
          await t.test(`a flow is born the short way ${of}`, async (t) =>
            isBornTheShortWay(t, ways.any, flavour, setup, family),
          );
        }
      }
    });
  }
});
