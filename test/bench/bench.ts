// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A datapath in the kernel, attached to nothing, and the programs of bpf/test/bench.bpf.c that drive it.
import type { BpfObject } from 'libbpf-ts';
import { TypedMap, u32 } from 'libbpf-ts';
import { CtStatus, FLOW, maps, type Settings } from '../../src/generated/layouts.gen.js';
import { loadDatapath, OBJECTS, openBuilt } from '../helpers/datapath/load.js';
import { iface, settings } from '../helpers/datapath/settings.js';
import { skbContext } from '../helpers/datapath/skb-context.js';
import type { Network } from '../helpers/datapath/step.js';
import { bytes, CLIENT, frame, frame6, ip4Bytes, ROUTER_WAN, SERVER, tcp, udp } from '../helpers/packet.js';
import { type BenchRequest, readRequest, writeRequest } from './bench-request.js';

export const SLOTS = 1 << 20;
export const [TCP, UDP] = [6, 17] as const;
export const [SYN, ACK] = [0x02, 0x10] as const;
const [CLIENT_SEQ, SERVER_SEQ] = [1000, 9000];
const PAYLOAD = 32;
export type Family = 4 | 6;

function packet(family: Family, proto: number): Buffer {
  const make = family === 6 ? frame6 : frame;
  const ports = { sport: 1, dport: 2 };
  return make(CLIENT, SERVER, proto === TCP ? tcp(ports) : udp(ports), bytes(PAYLOAD));
}

export const OUT = { hook: 1 };
export const BACK = { hook: 0, reply: 1 };

/** Flows one after the other instead of at random. */
export const inTurn = (request: Partial<BenchRequest>, cursor = 0): Partial<BenchRequest> => ({
  ...request,
  sequential: 1,
  cursor,
});

/** An acknowledgement of the client's in the middle of the connection that fill() makes. */
export const CLIENT_ACK = {
  proto: TCP,
  tcpFlags: ACK,
  seq: CLIENT_SEQ + 1 + PAYLOAD,
  ack: SERVER_SEQ + 1 + PAYLOAD,
};

/** The same of the server's. */
export const SERVER_ACK = {
  proto: TCP,
  tcpFlags: ACK,
  seq: SERVER_SEQ + 1 + PAYLOAD,
  ack: CLIENT_SEQ + 1 + PAYLOAD * 2,
};

export interface BenchOptions {
  flavour: string;
  /** Whether wan0 masquerades. */
  translates: boolean;
  /** Of the packets; left out: 4. */
  family?: Family;
  /** Folder of the object files; left out: those of the last build. */
  objects?: string;
}

export class Bench {
  readonly #datapath: BpfObject;
  readonly #bench: BpfObject;
  readonly #network: Network;
  readonly #outside: number;
  readonly #family: Family;

  constructor(network: Network, { flavour, translates, family = 4, objects = OBJECTS }: BenchOptions) {
    this.#network = network;
    this.#family = family;
    this.#outside = translates ? ip4Bytes(ROUTER_WAN.ip4).readUInt32LE(0) : 0;
    const [slots, slots6] = family === 4 ? [SLOTS, 16] : [16, SLOTS];
    this.#datapath = loadDatapath(flavour, slots, { flows6: slots6, objects });
    this.#bench = openBuilt('test/bench.bpf.o');
    this.#bench.load();
    const hooks = new TypedMap(this.#bench.map('hooks').map, u32, u32);
    hooks.set(0, this.#datapath.program('ct_ingress').fd);
    hooks.set(1, this.#datapath.program('ct_egress').fd);
    hooks.set(2, this.#bench.program('bench_nothing').fd);
    const ifaces = new TypedMap(this.#datapath.map('ifaces').map, maps.ifaces.key, maps.ifaces.value);
    ifaces.set(network.lan0, iface('lan0', { ip4: '10.0.0.1' }));
    const { ip4, ip6 } = ROUTER_WAN;
    ifaces.set(network.wan0, iface('wan0', { ip4, ip6, ...(translates && { masquerade: 'all' }) }));
    this.#configure(settings({ slots, slots6, hintRows: this.#datapath.map('hints').maxEntries }));
  }

  /** What a build before this one does not know of stands at the end. */
  #configure(value: Settings): void {
    const { map } = this.#datapath.map('settings');
    const bytes = Buffer.alloc(maps.settings.value.size);
    maps.settings.value.write(new DataView(bytes.buffer, bytes.byteOffset, bytes.length), 0, value);
    map.set(Buffer.alloc(map.keySize), bytes.subarray(0, map.valueSize));
  }

  close(): void {
    this.#datapath.close();
    this.#bench.close();
  }

  /** Average ns of `repeat` runs of a program of bpf/test/bench.bpf.c. @throws if the last did not pass */
  run(program: string, request: Partial<BenchRequest>, repeat: number): number {
    writeRequest(this.#bench.map('request').map, { outside: this.#outside, ...request });
    const { lan0, wan0 } = this.#network;
    const context = skbContext({ ifindex: wan0, ingressIfindex: request.hook === 1 ? lan0 : wan0 });
    const data = packet(this.#family, request.proto ?? UDP);
    const { retval, durationNs } = this.#bench.program(program).testRun({ data, context, repeat });
    if (retval !== 0 && retval !== 0xffff_ffff && !isExpectedDrop(request)) {
      throw new Error(`${program} ended with ${retval}: its last packet did not pass`);
    }
    return durationNs;
  }

  /** Makes flows by their first packets, and for TCP by the handshake, in turn. */
  fill(flows: number, proto: number, ports?: number): void {
    const hook = (request: Partial<BenchRequest>): number =>
      this.run('bench_hook', inTurn({ ...request, proto, ...(ports && { ports }) }), flows);
    if (proto === UDP) {
      hook(OUT);
      hook(BACK);
    } else {
      hook({ ...OUT, tcpFlags: SYN, seq: CLIENT_SEQ });
      hook({ ...BACK, tcpFlags: SYN | ACK, seq: SERVER_SEQ, ack: CLIENT_SEQ + 1 });
      hook({ ...OUT, ...CLIENT_ACK });
      hook({ ...BACK, ...SERVER_ACK });
    }
    const made = this.flows();
    if (made !== flows) throw new Error(`There are ${made} flows where ${flows} were begun`);
  }

  /** Look-ups of bench_lookup that have found something since the last request. */
  hits(): number {
    return readRequest(this.#bench.map('request').map).hits;
  }

  /** Flows that are in use, by looking at every slot. */
  flows(): number {
    const { map } = this.#datapath.map(`flows${this.#family}`);
    let count = 0;
    for (const batch of map.lookupBatch(4096)) {
      for (let i = 0; i < batch.count; i++)
        if (batch.values.readUInt16LE(i * map.valueSize + FLOW.offset.status) & CtStatus.CONFIRMED) count++;
    }
    return count;
  }
}

/** A SYN+ACK of no flow, which a masquerading interface does not let out. */
function isExpectedDrop(request: Partial<BenchRequest>): boolean {
  return request.tcpFlags === (SYN | ACK) && request.reply === 0;
}
