// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A datapath with room for many flows, and packets by the ten thousand: each run of a test program makes the next
// packet in the kernel (bpf/test/bench.bpf.c, flood.bpf.c). Flow i of the bench is client 10.0.0.0 + i, port
// 1024 + i % 50000, to port 80 of 198.18.0.0 + i / 50000; it keeps its port behind the router's address. All is
// as if the loopback interface were the outside one: that is where test runs are on kernels before 5.9.
import { type BpfObject, type MapLayout, TypedMap, u32 } from 'libbpf-ts';
import { Counter, CtStatus, type Flow4, HookDir, maps, Reason } from '../../../src/generated/layouts.gen.js';
import { type BenchRequest, writeRequest } from '../../bench/bench-request.js';
import {
  bytes,
  CLIENT,
  frame,
  frameWith,
  ip4Bytes,
  macBytes,
  ROUTER_WAN,
  SERVER,
  tcp,
  udp,
} from '../packet.js';
import { loadDatapath, openBuilt } from './load.js';
import { iface, settings } from './settings.js';

export const [TCP, UDP] = [6, 17];
export const [SYN, ACK] = [0x02, 0x10];
const [CLIENT_SEQ, SERVER_SEQ] = [1000, 9000];

const LOOPBACK = 1;
const TO_LOOPBACK = { mac: '00:00:00:00:00:00' };
const PACKETS = {
  [TCP]: frameWith(TO_LOOPBACK, CLIENT, SERVER, tcp({ sport: 1, dport: 2 }), bytes(1)),
  [UDP]: frameWith(TO_LOOPBACK, CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(12)),
} as Record<number, Buffer>;

/** Of a TCP packet above: one byte of payload, which a SYN carries as well. */
const PAYLOAD = 1;

/** The packets of flow i's handshake, and one of the open connection. */
export const SEGMENTS = {
  syn: { hook: 1, proto: TCP, tcpFlags: SYN, seq: CLIENT_SEQ },
  synAck: {
    hook: 0,
    reply: 1,
    proto: TCP,
    tcpFlags: SYN | ACK,
    seq: SERVER_SEQ,
    ack: CLIENT_SEQ + 1 + PAYLOAD,
  },
  ack: { hook: 1, proto: TCP, tcpFlags: ACK, seq: CLIENT_SEQ + 1 + PAYLOAD, ack: SERVER_SEQ + 1 + PAYLOAD },
} as const satisfies Record<string, Partial<BenchRequest>>;

export interface FloodRequest {
  /** `ADDRESS/PREFIX`: the bits behind the prefix are scattered. */
  source: string;
  destination: string;
  /** 0: scattered. */
  port: number;
  /** Each SYN is followed by its SYN+ACK. */
  answered: boolean;
}

/** struct flood_request; the cursor goes on from `cursor`. `mac`: whom the frames are for. */
export function floodRequest(request: FloodRequest, mac: string, cursor = 0): Buffer {
  const bytes = Buffer.alloc(40);
  bytes.set(macBytes(mac), 32);
  for (const [i, text] of [request.source, request.destination].entries()) {
    const [address = '', prefix = '32'] = text.split('/');
    const mask = Number(prefix) === 32 ? 0 : 0xffff_ffff >>> Number(prefix);
    bytes.writeUInt32BE((ip4Bytes(address).readUInt32BE(0) & ~mask) >>> 0, i * 8);
    bytes.writeUInt32BE(mask, i * 8 + 4);
  }
  bytes.writeUInt32LE(request.port, 16);
  bytes.writeUInt32LE(Number(request.answered), 20);
  bytes.writeBigUInt64LE(BigInt(cursor), 24);
  return bytes;
}

/** What flood.bpf.c makes its packets in. */
export const FLOOD_PACKET = frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2, flags: 'S' }));

export interface CrowdSetup {
  flavour: string;
  slots: number;
  /** The outside interface translates nothing. */
  plain?: boolean;
  flags?: number;
}

export class Crowd {
  readonly #datapath: BpfObject;
  readonly #bench = openBuilt('test/bench.bpf.o');
  readonly #flood = openBuilt('test/flood.bpf.o');
  readonly #outside: number;
  #flooded = 0;

  constructor(setup: CrowdSetup) {
    this.#outside = setup.plain ? 0 : ip4Bytes(ROUTER_WAN.ip4).readUInt32LE(0);
    this.#datapath = loadDatapath(setup.flavour, setup.slots);
    this.#bench.load();
    const hooks = new TypedMap(this.#bench.map('hooks').map, u32, u32);
    hooks.set(HookDir.INGRESS, this.#datapath.program('ct_ingress').fd);
    hooks.set(HookDir.EGRESS, this.#datapath.program('ct_egress').fd);
    this.#flood.load();
    new TypedMap(this.#flood.map('hook').map, u32, u32).set(0, this.#datapath.program('ct_egress').fd);
    const translation = setup.plain ? {} : ({ masquerade: 4 } as const);
    this.map(maps.ifaces).set(LOOPBACK, iface('lo', { ip4: ROUTER_WAN.ip4, ...translation }));
    const { slots, flags = 0 } = setup;
    this.map(maps.settings).set(0, settings({ slots, flags, hintRows: this.map(maps.hints).map.maxEntries }));
  }

  close(): void {
    this.#datapath.close();
    this.#bench.close();
    this.#flood.close();
  }

  map<K, V>(layout: MapLayout<K, V>): TypedMap<K, V> {
    return new TypedMap(this.#datapath.map(layout.name).map, layout.key, layout.value);
  }

  /** Sends one packet of each of `count` flows from `first` on. Returns the last one, undefined if it was dropped. */
  send(request: Partial<BenchRequest>, first: number, count: number): Buffer | undefined {
    writeRequest(this.#bench.map('request').map, {
      outside: this.#outside,
      sequential: 1,
      cursor: first,
      ...request,
    });
    const { retval, data } = this.#bench
      .program('bench_hook')
      .testRun({ data: PACKETS[request.proto ?? UDP]!, repeat: count });
    return retval === 2 ? undefined : data;
  }

  /** Opens TCP connections. */
  open(first: number, count: number): void {
    for (const segment of [SEGMENTS.syn, SEGMENTS.synAck, SEGMENTS.ack]) this.send(segment, first, count);
  }

  /** Sends the server's packet to flow i. Returns whether it was let through to the client as the flow's. */
  answers(request: Partial<BenchRequest>, i: number): boolean {
    const before = this.reason('FORWARDED');
    const arrived = this.send(request, i, 1);
    return this.reason('FORWARDED') > before && arrived?.readUInt32BE(30) === 0x0a00_0000 + i;
  }

  /** Sends the next packets of a flood. */
  flood(request: FloodRequest, packets: number): void {
    this.#flood
      .map('request')
      .map.set(Buffer.alloc(4), floodRequest(request, TO_LOOPBACK.mac, this.#flooded));
    this.#flooded += packets;
    const data = FLOOD_PACKET;
    this.#flood.program('flood_hook').testRun({ data, repeat: packets });
  }

  /** The IPv4 flows in use, also those past their deadline. */
  *flows(): Generator<Flow4> {
    for (const [, flow] of this.map(maps.flows4).entries()) {
      if (flow.head.status & CtStatus.CONFIRMED) yield flow;
    }
  }

  counter(name: Exclude<keyof typeof Counter, 'COUNT'>): number {
    const cpus = this.map(maps.counters).getPerCpu(Counter[name])!;
    return Number(cpus.reduce((sum, value) => sum + value, 0n));
  }

  /** Packets that ended so, at both hooks. */
  reason(name: Exclude<keyof typeof Reason, 'COUNT' | 'DROP_FIRST'>): number {
    const metrics = this.map(maps.metrics);
    return [HookDir.INGRESS, HookDir.EGRESS]
      .flatMap((dir) => metrics.getPerCpu(Reason[name] * HookDir.DIR_COUNT + dir)!)
      .reduce((sum, { packets }) => sum + Number(packets), 0);
  }
}
