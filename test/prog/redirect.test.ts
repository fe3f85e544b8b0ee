// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// TC with redirect (bpf/redirect.h), packet by packet: what it sends on, with which bytes, and what it leaves to the
// stack, which then finds it as it came but for the translation of its destination.
import type { TypedMap } from 'libbpf-ts';
import t, { type Test } from 'tap';
import { type Flow, ForwardPortFlags, Layout, maps } from '../../src/generated/layouts.gen.js';
import { flavours, isCompiledWith } from '../helpers/datapath/load.js';
import { enterRouter } from '../helpers/datapath/network.js';
import { nowTicks, secondsToTicks } from '../helpers/datapath/settings.js';
import { samePacket, walk } from '../helpers/datapath/table.js';
import { Datapath, type StepOptions, type StepResult } from '../helpers/datapath-fixture.js';
import {
  bytes,
  CLIENT,
  type FrameOptions,
  frame6With,
  frameWith,
  HOP,
  type Host,
  host,
  PEER_MAC,
  ROUTER_MAC,
  ROUTER_WAN,
  SERVER,
  tcp,
  udp,
} from '../helpers/packet.js';
import { run } from '../helpers/process.js';

type Family = 4 | 6;
const FAMILIES = [4, 6] as const;
const HEADER = { 4: 20, 6: 40 } as const;
/** The link address of the outside neighbours of each family. */
const GATE_MAC = { 4: '02:00:00:00:00:f4', 6: '02:00:00:00:00:f6' } as const;
/** A host on the outside link itself. */
const NEAR = host('NEAR', '198.51.100.77', '2001:db8:1::77');
const REDIRECT = ForwardPortFlags.REDIRECT;
/** Ticks in which no packet has to be the stack's (NEIGHBOUR_TICKS), and a little more. */
const TICKS = { fresh: 10, stale: 600 };
const TEN_SECONDS = secondsToTicks(10);

interface Port {
  flags?: number;
  mtu?: number;
  mtu6?: number;
}

/** A frame of a family. */
function make(family: Family, ...[options, ...rest]: Parameters<typeof frameWith>): Buffer {
  return family === 4 ? frameWith(options, ...rest) : frame6With(options, ...rest);
}

/** The options of a frame that has so many hops left. */
const hops = (left: number): FrameOptions => ({ ip: { ttl: left }, ip6: { hopLimit: left } });

/** Two interfaces of TC with redirect, and neighbours that have been heard of just now. */
function configure(datapath: Datapath, port: Port = {}): void {
  datapath.configure();
  const fields = { mac: [2, 0, 0, 0, 0, 1], flags: REDIRECT, mtu: 1500, mtu6: 1500, ...port };
  const ports = datapath.map(maps.forward_ports);
  for (const name of ['lan0', 'wan0'] as const)
    ports.set(datapath.network[name], { ifindex: datapath.network[name], ...fields });
  heardOf(datapath, TICKS.fresh);
}

/** The last packet for every neighbour went by the stack so many ticks ago; no way is known any more (bpf/way.h). */
function heardOf(datapath: Datapath, ticks: number): void {
  for (const began = nowTicks(); nowTicks() - began < 2; );
  const map = datapath.map(maps.neighbour_ticks);
  for (const key of map.keys()) map.set(key, (nowTicks() - ticks) >>> 0);
}

/**
 * A UDP flow from a client that has been answered, from before there was any redirect. It is a stream already: the packet
 * by which a flow becomes one goes the long way, and on a slow machine that would be one of the test's.
 */
function talk(
  datapath: Datapath,
  family: Family,
  to: Host = SERVER,
  sport = 40000,
  from: Host = CLIENT,
): void {
  const ports = datapath.map(maps.forward_ports);
  const kept = (['lan0', 'wan0'] as const).map((name) => ports.get(datapath.network[name])!);
  for (const port of kept) ports.set(port.ifindex, { ...port, flags: 0 });
  const out = make(family, {}, from, to, udp({ sport, dport: 53 }));
  walk(datapath, 'out', out);
  walk(datapath, 'back', make(family, {}, to, ROUTER_WAN, udp({ sport: 53, dport: sport })));
  if (family === 4) age(datapath.map(maps.flows4));
  else age(datapath.map(maps.flows6));
  walk(datapath, 'out', out);
  for (const port of kept) ports.set(port.ifindex, port);
}

/** All flows began 10 s before they did. */
function age<V extends { head: Flow }>(flows: TypedMap<number, V>): void {
  for (const [slot, flow] of flows.entries()) {
    if (flow.head.status)
      flows.set(slot, { ...flow, head: { ...flow.head, created: (flow.head.created - TEN_SECONDS) >>> 0 } });
  }
}

/** A question of that flow: its options, data and checksum as given. */
function question(
  family: Family,
  { options = {}, to = SERVER, sport = 40000, size = 30, checksum }: Partial<Question> = {},
): Buffer {
  const header = { sport, dport: 53, ...(checksum !== undefined && { checksum }) };
  return make(family, options, CLIENT, to, udp(header), bytes(size));
}

interface Question {
  options: FrameOptions;
  to: Host;
  sport: number;
  size: number;
  checksum: 0;
}

const ingress = (datapath: Datapath, packet: Buffer, more: Partial<StepOptions> = {}): StepResult =>
  datapath.step({ hook: 'ingress', at: 'lan0', packet, ...more });

/** The frame between these link addresses. */
function between(from: string, to: string, packet: Buffer): Buffer {
  const link = Buffer.from(`${to}${from}`.replaceAll(':', ''), 'hex');
  return Buffer.concat([link, packet.subarray(12)]);
}

function sendsOn(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath);
  talk(datapath, family);
  const out = ingress(datapath, question(family));
  t.equal(out.verdict, 'redirect');
  const [left, wanted] = [hops(63), udp({ sport: 40000, dport: 53 })];
  const leaves = make(family, left, ROUTER_WAN, SERVER, wanted, bytes(30));
  samePacket(t, out.packet, between(ROUTER_MAC, GATE_MAC[family], leaves), 'out');

  const answer = udp({ sport: 53, dport: 40000 });
  const packet = make(family, {}, SERVER, ROUTER_WAN, answer, bytes(11));
  const back = datapath.step({ hook: 'ingress', at: 'wan0', packet });
  t.equal(back.verdict, 'redirect');
  const home = make(family, left, SERVER, CLIENT, answer, bytes(11));
  samePacket(t, back.packet, between(ROUTER_MAC, PEER_MAC, home), 'back');
  t.match({ ...datapath.flows(family)[0] }, { packets: [3, 2] });
}

/** The last hop is the stack's, which tells the sender (RFC 1812 section 5.3.1, RFC 4443 section 3.3). */
function hopsEnd(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath);
  talk(datapath, family);
  for (const left of [0, 1]) {
    const given = question(family, { options: hops(left) });
    const out = ingress(datapath, given);
    t.equal(out.verdict, 'pass', `${left} left`);
    samePacket(t, out.packet, given, `${left} left`);
  }
  const out = ingress(datapath, question(family, { options: hops(2) }));
  t.equal(out.verdict, 'redirect', '2 left');
  const wanted = make(family, hops(1), ROUTER_WAN, SERVER, udp({ sport: 40000, dport: 53 }), bytes(30));
  samePacket(t, out.packet, between(ROUTER_MAC, GATE_MAC[family], wanted), '2 left');
}

/** What is complete stays so, and a sum beside the packet stays the packet's: the kernel refuses the run if not (6.13). */
function sums(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath);
  talk(datapath, family);
  const why = datapath.whyNoChecksumComplete(question(family));
  const more: Partial<StepOptions> = why ? {} : { checksumComplete: true };
  if (why) t.comment(why);
  for (let size = 0; size < 40; size++)
    for (const each of [{}, { checksum: 0 } as const]) {
      const out = ingress(datapath, question(family, { size, ...each }), more);
      const layer = udp({ sport: 40000, dport: 53, ...each });
      const wanted = make(family, hops(63), ROUTER_WAN, SERVER, layer, bytes(size));
      const name = `${size} bytes${'checksum' in each ? ' without a checksum' : ''}`;
      t.equal(out.verdict, 'redirect', name);
      samePacket(t, out.packet, between(ROUTER_MAC, GATE_MAC[family], wanted), name);
    }
}

/** What is longer than the outgoing interface's MTU, and what is to be segmented into such, is the stack's. */
function mtus(t: Test, datapath: Datapath, family: Family): void {
  const knowsGso = isCompiledWith(datapath.flavour, 'CTNAT_GSO_SIZE');
  configure(datapath, family === 4 ? { mtu: 1300 } : { mtu6: 1300 });
  talk(datapath, family);
  const fits = 1300 - HEADER[family] - 8;
  t.equal(ingress(datapath, question(family, { size: fits })).verdict, 'redirect', '1300 bytes');
  t.equal(ingress(datapath, question(family, { size: fits + 1 })).verdict, 'pass', '1301 bytes');

  const ports = { sport: 40001, dport: 80 };
  const back = { sport: 80, dport: 40001 };
  walk(datapath, 'out', make(family, {}, CLIENT, SERVER, tcp({ ...ports, flags: 'S', seq: 999 })));
  const accept = tcp({ ...back, flags: 'SA', seq: 8999, ack: 1000 });
  walk(datapath, 'back', make(family, {}, SERVER, ROUTER_WAN, accept));
  const header = { ...ports, flags: 'A', seq: 1000, ack: 9000 };
  ingress(datapath, make(family, {}, CLIENT, SERVER, tcp(header)));
  const bulk = make(family, {}, CLIENT, SERVER, tcp(header), bytes(2400));
  const room = 1300 - HEADER[family] - 20;
  const whole = ingress(datapath, bulk, { gso: { size: room, segments: 2 } });
  t.equal(whole.verdict, knowsGso ? 'redirect' : 'pass', 'segments of 1300 bytes');
  const longer = ingress(datapath, bulk, { gso: { size: room + 1, segments: 2 } });
  t.equal(longer.verdict, 'pass', 'segments of 1301 bytes');
}

/** The stack takes off what follows a packet; what fills up the shortest frame goes along. */
function trailers(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath);
  talk(datapath, family);
  const whole = question(family, { size: 30 });
  const longer = ingress(datapath, Buffer.concat([whole, Buffer.alloc(1, 0xff)]));
  t.equal(longer.verdict, 'pass', 'a byte more');
  if (family === 6) return; // the shortest frame is shorter than IPv6 with UDP
  const short = question(family, { size: 2 });
  const filled = ingress(datapath, Buffer.concat([short, Buffer.alloc(60 - short.length)]));
  t.equal(filled.verdict, 'redirect', '60 bytes');
}

/** Now and then a packet to each neighbour is the stack's, which then asks for it. */
function neighbours(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath);
  talk(datapath, family);
  heardOf(datapath, TICKS.stale);
  const verdicts = (packet: Buffer): string[] => [1, 2].map(() => ingress(datapath, packet).verdict);
  t.strictSame(verdicts(question(family)), ['pass', 'redirect'], 'the gateway');
  configure(datapath);
  for (const to of [SERVER, NEAR]) talk(datapath, family, to);
  heardOf(datapath, TICKS.stale);
  for (const to of [SERVER, NEAR])
    t.strictSame(verdicts(question(family, { to })), ['pass', 'redirect'], `${to.name}, each for itself`);
}

/** What XDP leaves to the stack for the neighbour's sake does not stop at TC. */
function behindXdp(t: Test, datapath: Datapath, family: Family): void {
  for (const [flags, verdict] of [
    [REDIRECT, 'redirect'],
    [REDIRECT | ForwardPortFlags.XDP, 'pass'],
  ] as const) {
    configure(datapath, { flags });
    talk(datapath, family);
    // the first of two is left to the stack; on a busy machine more than a tick may pass before the second
    let first: string, second: string, began: number;
    do {
      heardOf(datapath, TICKS.stale);
      began = nowTicks();
      [first, second] = [1, 2].map(() => ingress(datapath, question(family)).verdict) as [string, string];
    } while (nowTicks() - began > 1);
    t.equal(first, 'pass', 'the stack hears of it');
    t.equal(second, verdict, 'as what XDP has left to it');
    heardOf(datapath, TICKS.fresh);
    t.equal(ingress(datapath, question(family)).verdict, 'redirect', 'those after it');
  }
}

/** Where the stack forwards none. */
function withoutIpv6(t: Test, datapath: Datapath, family: Family): void {
  configure(datapath, { flags: REDIRECT | ForwardPortFlags.NO_IPV6 });
  talk(datapath, family);
  t.equal(ingress(datapath, question(family)).verdict, family === 4 ? 'redirect' : 'pass');
}

/** Flows of the two families have slots of the same numbers, and packets that follow each other at once. */
function familiesInTurns(t: Test, datapath: Datapath): void {
  configure(datapath);
  for (const family of FAMILIES) talk(datapath, family);
  for (let round = 0; round < 10; round++)
    for (const family of FAMILIES) {
      const out = ingress(datapath, question(family));
      t.equal(out.verdict, 'redirect');
      t.equal(Buffer.from(out.packet).subarray(0, 6).toString('hex'), GATE_MAC[family].replaceAll(':', ''));
    }
}

/** Of two flows between the same hosts, one of which a rule of the host's routing knows by its port. */
async function portRules(t: Test, datapath: Datapath, family: Family): Promise<void> {
  configure(datapath);
  const [usual, refused] = [40000, 40001];
  for (const sport of [usual, refused]) talk(datapath, family, SERVER, sport);
  const shared = datapath.map(maps.ways_shared);
  const rule = `from all ipproto udp sport ${refused} prohibit`.split(' ');
  const ip = (verb: string) => run(['ip', `-${family}`, 'rule', verb, ...rule]);
  /** Whether it ever goes the way that the other one has just gone; they need not be in the same tick. */
  const follows = (): boolean => {
    heardOf(datapath, TICKS.fresh); // on a slow machine each look takes a good part of the time that this holds
    for (let i = 0; i < 200; i++) {
      t.equal(ingress(datapath, question(family)).verdict, 'redirect', `port ${usual}`, {
        diagnostic: false,
      });
      if (ingress(datapath, question(family, { sport: refused })).verdict === 'redirect') return true;
    }
    return false;
  };
  await ip('add');
  try {
    for (const [ticks, whether, text] of [
      [0, false, 'nobody has ever vouched'],
      [Layout.WAYS_SHARED_TICKS / 2, true, 'somebody vouches that no rule looks at ports'],
      [-TICKS.fresh, false, 'it is over'],
      [Layout.WAYS_SHARED_TICKS * 2, false, 'for longer than anybody may'],
    ] as const) {
      shared.set(0, ticks && (nowTicks() + ticks) >>> 0);
      t.equal(follows(), whether, text);
    }
  } finally {
    shared.set(0, 0);
    await ip('delete');
  }
  t.ok(follows(), 'without the rule');
}

/** Clients of one network that speak with one server do not take the way from each other. */
function clientsOfOneServer(t: Test, datapath: Datapath, family: Family): void {
  const [first, count] = [0x64, 40];
  configure(datapath);
  const shared = datapath.map(maps.ways_shared);
  for (let number = first; number < first + count; number++) {
    const client = host('one of many', `10.0.0.${number}`, `fd00:10::${number.toString(16)}`);
    talk(datapath, family, SERVER, 41000 + number, client);
    const packet = make(family, {}, client, SERVER, udp({ sport: 41000 + number, dport: 53 }));
    shared.set(0, (nowTicks() + Layout.WAYS_SHARED_TICKS / 2) >>> 0);
    t.equal(ingress(datapath, packet).verdict, 'redirect', client.ip4, { diagnostic: false });
  }
  shared.set(0, 0);
  const ways = datapath.map(maps.ways);
  const word = family === 4 ? 0 : 3;
  const found = new Set<number>();
  for (const place of ways.keys())
    for (const way of ways.getPerCpu(place)!)
      if (way.moment && way.about >> 16 === (family === 6 ? 1 : 0)) found.add(way.from[word]! & 0xff);
  const known = Array.from({ length: count }, (_, i) => first + i).filter((number) => found.has(number));
  t.ok(known.length >= 0.9 * count, `${known.length} of ${count} have a place of their own`);
}

const CASES = {
  'is sent on': sendsOn,
  'hops end': hopsEnd,
  'sums stay right': sums,
  MTU: mtus,
  'what follows a packet': trailers,
  'each neighbour is heard of': neighbours,
  'behind XDP': behindXdp,
  'no IPv6': withoutIpv6,
  'the other family in turns': familiesInTurns,
  'a rule by port': portRules,
  'clients of one server': clientsOfOneServer,
};

t.setTimeout(0);
t.test('datapath', { timeout: 0 }, async (t) => {
  const network = await enterRouter(t);
  if (network.far) {
    t.pass('skipped: this kernel has no test runs with an interface');
    return;
  }
  for (const [iface, address, mac] of [
    ['lan0', CLIENT, { 4: PEER_MAC, 6: PEER_MAC }],
    ['wan0', HOP, GATE_MAC],
    ['wan0', NEAR, GATE_MAC],
  ] as const)
    for (const [to, lladdr] of [
      [address.ip4, mac[4]],
      [address.ip6, mac[6]],
    ] as const)
      await run(['ip', 'neighbour', 'replace', to, 'lladdr', lladdr, 'dev', iface, 'nud', 'permanent']);
  for (const flavour of flavours()) {
    await t.test(flavour, { timeout: 0 }, async (t) => {
      const datapath = await Datapath.load(t, flavour, network, 'redirect');
      for (const family of FAMILIES)
        for (const [name, check] of Object.entries(CASES))
          await t.test(`IPv${family}: ${name}`, async (t) => check(t, datapath, family));
    });
  }
});
