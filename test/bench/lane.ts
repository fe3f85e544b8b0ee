// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A router of its own between a sender and a sink, each a network namespace, for the bench to load with live
// frames (bpf/test/load.bpf.c): the packets go over real devices, and nothing of the sender's or sink's
// stacks is in the way.
import { attachXdp, type BpfObject, listLinks, withNetns } from 'libbpf-ts';
import { Ctnat } from '../helpers/ctnat.js';
import { Namespace, veth } from '../helpers/netns.js';
import { ip4Bytes, macBytes } from '../helpers/packet.js';
import type { Teardown } from '../helpers/teardown.js';
import type { Topology } from '../helpers/topology.js';
import { busySeconds } from './machine.js';

const CLIENT = '10.0.0.2';
const ROUTER = '198.51.100.1';
const SERVER = '198.51.100.9';
/** Behind the server: of flow 0. */
const FIRST_SERVER = '198.18.0.1';
/** enum load_flags. */
const [BACK, MIXED, SCATTERED] = [1, 2, 4];

/** What of Ethernet, IPv4 and UDP is the same in every packet; the rest load_send writes. */
function template(bytes: number): Buffer {
  const frame = Buffer.alloc(bytes);
  frame.writeUInt16BE(0x0800, 12);
  frame.writeUInt8(0x45, 14);
  frame.writeUInt16BE(bytes - 14, 16);
  frame.writeUInt8(17, 23);
  frame.writeUInt16BE(bytes - 34, 38);
  return frame;
}

export interface Load {
  /** How many flows take turns. */
  flows: number;
  /** The first of them. */
  cursor?: number;
  packets: number;
  /** Of a frame without its checksum; 'mixed': 7 of 60 bytes, 4 of 590 and 1 of 1,514 in turns. */
  bytes?: number | 'mixed';
  /** Flows as if at random instead of in their order. */
  scattered?: boolean;
  /** From the sink to the sender. */
  back?: boolean;
}

export class Lane {
  readonly ctnat: Ctnat;

  private constructor(
    readonly router: Namespace,
    readonly sender: Namespace,
    readonly sink: Namespace,
    readonly load: BpfObject,
  ) {
    const topology = { router: { ns: router, lan: ['lan0'], wan: 'wan0' } } as unknown as Topology;
    this.ctnat = new Ctnat(topology);
  }

  /** `load`: bpf/test/load.bpf.o, loaded. */
  static async create(load: BpfObject, teardown: Teardown): Promise<Lane> {
    const [router, sender, sink] = [
      await Namespace.create('router', teardown),
      await Namespace.create('sender', teardown),
      await Namespace.create('sink', teardown),
    ];
    const lane = new Lane(router, sender, sink, load);
    await router.sysctl({ 'net.ipv4.ip_forward': 1 });
    for (const [ns, far, near, address] of [
      [sender, 'eth0', 'lan0', '10.0.0.1/8'],
      [sink, 'eth0', 'wan0', `${ROUTER}/24`],
    ] as const) {
      await veth(ns, far, router, near);
      await router.ip('address', 'add', address, 'dev', near);
      // without it, or a program, a veth does not take what is redirected to its peer
      await router.offload(near, { gro: true });
      withNetns(ns.path, () => {
        attachXdp({ ifindex: index('eth0'), program: load.program('load_sink'), mode: 'native' });
      });
    }
    await router.ip(
      'neighbour',
      'add',
      SERVER,
      'lladdr',
      await sink.mac('eth0'),
      'dev',
      'wan0',
      'nud',
      'permanent',
    );
    await router.ip(
      'neighbour',
      'add',
      CLIENT,
      'lladdr',
      await sender.mac('eth0'),
      'dev',
      'lan0',
      'nud',
      'permanent',
    );
    await router.ip('route', 'add', '198.18.0.0/15', 'via', SERVER);
    return lane;
  }

  /** Puts a program on the router's two interfaces. */
  attach(program: string): void {
    withNetns(this.router.path, () => {
      for (const name of ['lan0', 'wan0'])
        attachXdp({ ifindex: index(name), program: this.load.program(program), mode: 'native' });
    });
  }

  /** Sends, and counts what has come through. */
  async run(load: Load): Promise<Delivery> {
    const { flows, cursor = 0, packets, bytes = 60, back = false, scattered = false } = load;
    const [from, near] = back ? [this.sink, 'wan0'] : [this.sender, 'lan0'];
    const request = Buffer.alloc(40);
    request.writeUInt32LE(flows, 4);
    request.writeUInt32LE(cursor, 8);
    request.writeUInt32LE(
      (back ? BACK : 0) | (bytes === 'mixed' ? MIXED : 0) | (scattered ? SCATTERED : 0),
      12,
    );
    request.writeUInt32LE(ip4Bytes(back ? FIRST_SERVER : CLIENT).readUInt32BE(0), 16);
    request.writeUInt32LE(ip4Bytes(back ? ROUTER : FIRST_SERVER).readUInt32BE(0), 20);
    macBytes(await this.router.mac(near)).copy(request, 28);
    macBytes(await from.mac('eth0')).copy(request, 34);
    const before = this.#received();
    let cpuSeconds = 0;
    const seconds = withNetns(from.path, () => {
      request.writeUInt32LE(index('eth0'), 0);
      this.load.map('request').map.set(Buffer.alloc(4), request);
      const data = template(bytes === 'mixed' ? 1514 : bytes);
      const [start, busy] = [performance.now(), busySeconds()];
      this.load.program('load_send').testRun({ data, liveFrames: true, repeat: packets });
      cpuSeconds = busySeconds() - busy;
      return (performance.now() - start) / 1000;
    });
    return { packets, delivered: this.#received() - before, seconds, cpuSeconds };
  }

  #received(): number {
    const value = this.load.map('received').map.get(Buffer.alloc(4))!;
    let sum = 0;
    for (let at = 0; at < value.length; at += 8) sum += Number(Buffer.from(value).readBigUInt64LE(at));
    return sum;
  }
}

export interface Delivery {
  packets: number;
  delivered: number;
  seconds: number;
  /** That all CPUs together were busy, with whatever it was. */
  cpuSeconds: number;
}

function index(name: string): number {
  return listLinks().find((link) => link.name === name)!.ifindex;
}
