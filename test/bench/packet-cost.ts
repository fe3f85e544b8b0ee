// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What a packet costs in the datapath, by BPF_PROG_TEST_RUN. Each run is a packet of a flow picked at random,
// so that with many flows look-ups miss the caches as they do in the field.
import type { BpfObject, BpfProgram } from 'libbpf-ts';
import { TypedMap, u32 } from 'libbpf-ts';
import { CtStatus, maps } from '../../src/generated/layouts.gen.js';
import { loadDatapath, openBuilt } from '../helpers/datapath/load.js';
import { iface, settings } from '../helpers/datapath/settings.js';
import { skbContext } from '../helpers/datapath/skb-context.js';
import type { Network } from '../helpers/datapath/step.js';
import { bytes, CLIENT, frame, ip4Bytes, ROUTER_WAN, SERVER, tcp, udp } from '../helpers/packet.js';
import { type BenchRequest, readRequest, writeRequest } from './bench-request.js';
import { interleave, type Summary, type Variant } from './statistics.js';

const SLOTS = 1 << 20;
const REPEAT = 200_000;
const ROUNDS = 9;
const [TCP, UDP] = [6, 17];
const [SYN, ACK] = [0x02, 0x10];
const [CLIENT_SEQ, SERVER_SEQ] = [1000, 9000];
const PAYLOAD = 32;
const PACKETS = {
  [TCP]: frame(CLIENT, SERVER, tcp({ sport: 1, dport: 2 }), bytes(PAYLOAD)),
  [UDP]: frame(CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(PAYLOAD)),
} as Record<number, Buffer>;

export interface CostRow {
  name: string;
  /** ns a packet, what making the packet costs included, by the number of flows. */
  costs: Map<number, Summary>;
}

/** A datapath and the programs that drive it. */
class Bench {
  readonly #datapath: BpfObject;
  readonly #bench: BpfObject;
  readonly #network: Network;

  constructor(network: Network, flavour: string) {
    this.#network = network;
    this.#datapath = loadDatapath(flavour, SLOTS);
    this.#bench = openBuilt('test/bench.bpf.o');
    this.#bench.load();
    const hooks = new TypedMap(this.#bench.map('hooks').map, u32, u32);
    hooks.set(0, this.#datapath.program('ct_ingress').fd);
    hooks.set(1, this.#datapath.program('ct_egress').fd);
    const ifaces = new TypedMap(this.#datapath.map('ifaces').map, maps.ifaces.key, maps.ifaces.value);
    ifaces.set(network.lan0, iface('lan0', { ip4: '10.0.0.1' }));
    ifaces.set(network.wan0, iface('wan0', { ip4: ROUTER_WAN.ip4, masquerade: 4 }));
    const table = new TypedMap(this.#datapath.map('settings').map, maps.settings.key, maps.settings.value);
    table.set(0, settings({ slots: SLOTS }));
  }

  close(): void {
    this.#datapath.close();
    this.#bench.close();
  }

  /** Average ns of `repeat` runs. */
  run(program: string, request: Partial<BenchRequest>, repeat: number): number {
    writeRequest(this.#bench.map('request').map, {
      outside: ip4Bytes(ROUTER_WAN.ip4).readUInt32LE(0),
      ...request,
    });
    const { lan0, wan0 } = this.#network;
    const context = skbContext({ ifindex: wan0, ingressIfindex: request.hook === 1 ? lan0 : wan0 });
    const data = PACKETS[request.proto ?? UDP]!;
    const { retval, durationNs } = this.#program(program).testRun({ data, context, repeat });
    if (retval !== 0 && retval !== 0xffff_ffff && !isExpectedDrop(request)) {
      throw new Error(`${program} ended with ${retval}: its last packet did not pass`);
    }
    return durationNs;
  }

  hits(): number {
    return readRequest(this.#bench.map('request').map).hits;
  }

  /** Flows that are in use, by looking at every slot. */
  flows(): number {
    const { map } = this.#datapath.map('flows4');
    let count = 0;
    for (const batch of map.lookupBatch(4096)) {
      for (let i = 0; i < batch.count; i++)
        if (batch.values.readUInt16LE(i * map.valueSize + 14) & CtStatus.CONFIRMED) count++;
    }
    return count;
  }

  #program(name: string): BpfProgram {
    return this.#bench.program(name);
  }
}

/** A RST+ACK of no flow, which a masquerading interface does not let out. */
function isExpectedDrop(request: Partial<BenchRequest>): boolean {
  return request.tcpFlags === (SYN | ACK) && request.reply === 0;
}

const inTurn = (request: Partial<BenchRequest>): Partial<BenchRequest> => ({
  ...request,
  sequential: 1,
  cursor: 0,
});
const OUT = { hook: 1 };
const BACK = { hook: 0, reply: 1 };

/** Makes flows by their first packets, and for TCP by the handshake, in turn. Returns ns a new flow. */
function fill(bench: Bench, flows: number, proto: number): number {
  if (proto === UDP) {
    const cost = bench.run('bench_hook', inTurn({ ...OUT, proto: UDP }), flows);
    bench.run('bench_hook', inTurn({ ...BACK, proto: UDP }), flows);
    return cost;
  }
  const cost = bench.run('bench_hook', inTurn({ ...OUT, proto: TCP, tcpFlags: SYN, seq: CLIENT_SEQ }), flows);
  const synAck = { proto: TCP, tcpFlags: SYN | ACK, seq: SERVER_SEQ, ack: CLIENT_SEQ + 1 + PAYLOAD };
  bench.run('bench_hook', inTurn({ ...BACK, ...synAck }), flows);
  bench.run('bench_hook', inTurn({ ...OUT, ...established(PAYLOAD + 1) }), flows);
  return cost;
}

/** An acknowledgement in the middle of the connection that fill() makes. */
function established(sent: number): Partial<BenchRequest> {
  return { proto: TCP, tcpFlags: ACK, seq: CLIENT_SEQ + sent, ack: SERVER_SEQ + 1 + PAYLOAD };
}

function variants(bench: Bench, proto: number, flows: number): Variant[] {
  const random = { flows, proto };
  const hook = (request: Partial<BenchRequest>) => (): number =>
    bench.run('bench_hook', { ...random, ...request }, REPEAT);
  const common: Variant[] = [
    { name: 'empty program', read: () => bench.run('bench_empty', random, REPEAT) },
    { name: 'making the packet', read: () => bench.run('bench_packet', random, REPEAT) },
    { name: 'parsing alone', read: () => bench.run('bench_parse', random, REPEAT) },
    { name: 'parsing and one hash look-up', read: () => bench.run('bench_lookup', random, REPEAT) },
  ];
  if (proto === UDP) {
    return [
      ...common,
      { name: 'ctnat: UDP out (egress)', read: hook(OUT) },
      { name: 'ctnat: UDP back (ingress)', read: hook(BACK) },
    ];
  }
  return [
    { name: 'making the packet', read: () => bench.run('bench_packet', random, REPEAT) },
    { name: 'ctnat: established TCP out (egress)', read: hook({ ...OUT, ...established(PAYLOAD + 1) }) },
    {
      name: 'ctnat: miss, refused (egress)',
      read: hook({ ...OUT, proto: TCP, tcpFlags: SYN | ACK, flows: SLOTS, reply: 0 }),
    },
  ];
}

/** Cost of each variant at each number of flows, for one flavour. */
export function measurePackets(network: Network, flavour: string, sizes: readonly number[]): CostRow[] {
  const rows = new Map<string, CostRow>();
  const note = (name: string, flows: number, summary: Summary): void => {
    const row = rows.get(name) ?? { name, costs: new Map() };
    row.costs.set(flows, summary);
    rows.set(name, row);
  };
  for (const flows of sizes) {
    for (const proto of [UDP, TCP]) {
      const bench = new Bench(network, flavour);
      try {
        const created = fill(bench, flows, proto);
        if (bench.flows() !== flows)
          throw new Error(`There are ${bench.flows()} flows where ${flows} were begun`);
        note(`ctnat: new ${proto === UDP ? 'UDP' : 'TCP'} flow, port kept (egress)`, flows, {
          median: created,
          spread: 0,
          readings: 1,
        });
        if (proto === UDP) bench.run('bench_insert', inTurn({ proto }), flows);
        for (const [name, summary] of interleave(variants(bench, proto, flows), ROUNDS)) {
          if (proto === UDP || name.startsWith('ctnat')) note(name, flows, summary);
        }
      } finally {
        bench.close();
      }
    }
  }
  // what is compared with comes first
  return [...rows.values()].sort(
    (a, b) => Number(a.name.startsWith('ctnat')) - Number(b.name.startsWith('ctnat')),
  );
}
