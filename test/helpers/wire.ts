// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Both ends of a scene as wires: frames that are made by hand go in at a host's interface, and what comes out
// at another host's is captured there.
import { Capture } from './capture.js';
import { inject } from './inject.js';
import { build, ethernet, ip6Bytes, ip6Text, ipv4, ipv6, type Layer, type Vlan } from './packet.js';
import type { Scene, SceneHost } from './scene.js';

interface Macs {
  clients: string[];
  server: string;
  lan: string;
  wan: string;
}

export interface FrameShape {
  tags?: readonly Vlan[];
  /** Of IP, where the layers do not say it. */
  protocol?: number;
}

export class Wire {
  private constructor(
    readonly scene: Scene,
    readonly family: 4 | 6,
    readonly macs: Macs,
  ) {}

  /** For a scene with a bridge inside and one server on the outside link. */
  static async of(scene: Scene, family: 4 | 6): Promise<Wire> {
    const { clients, server, router } = scene;
    return new Wire(scene, family, {
      clients: await Promise.all(clients.map(({ ns }) => ns.mac('eth0'))),
      server: await server.ns.mac('eth0'),
      lan: await router.ns.mac('lan0'),
      wan: await router.ns.mac(router.wan),
    });
  }

  /** The router's outside address. */
  get outside(): string {
    return this.#address(this.scene.router);
  }

  get server(): string {
    return this.#address(this.scene.server);
  }

  client(i: number): string {
    return this.#address(this.scene.clients[i]!);
  }

  /** A frame of a client's to the server. */
  fromClient(i: number, layers: readonly Layer[], shape: FrameShape = {}): Buffer {
    const link = ethernet({ src: this.macs.clients[i]!, dst: this.macs.lan });
    return build(
      link,
      ...(shape.tags ?? []),
      this.#ip(this.client(i), this.server, shape.protocol),
      ...layers,
    );
  }

  /** From the first client to the second, past the router's stack. */
  betweenClients(layers: readonly Layer[], shape: FrameShape = {}): Buffer {
    const [src, dst] = this.macs.clients as [string, string];
    const ip = this.#ip(this.client(0), this.client(1), shape.protocol);
    return build(ethernet({ src, dst }), ...(shape.tags ?? []), ip, ...layers);
  }

  /** A frame of the server's to the router's outside address. */
  fromServer(layers: readonly Layer[], shape: FrameShape = {}): Buffer {
    const link = ethernet({ src: this.macs.server, dst: this.macs.wan });
    return build(link, ...(shape.tags ?? []), this.#ip(this.server, this.outside, shape.protocol), ...layers);
  }

  /** Sends clients' frames; what of the filter has come to the server from the router. */
  async out(filter: string, frames: readonly Buffer[]): Promise<Buffer[]> {
    const capture = await Capture.start(this.scene.server.ns, 'eth0', filter);
    for (const frame of frames) {
      const mac = frame.subarray(6, 12).toString('hex').match(/../g)!.join(':');
      await inject(this.scene.clients[this.macs.clients.indexOf(mac)]!.ns, 'eth0', [frame]);
    }
    return sentBy(this.macs.wan, await capture.stop());
  }

  /** As out(), and what has come back to the first client. */
  async exchange(filter: string, frames: readonly Buffer[]): Promise<{ out: Buffer[]; back: Buffer[] }> {
    const inside = await Capture.start(this.scene.clients[0]!.ns, 'eth0', filter);
    const out = await this.out(filter, frames);
    return { out, back: sentBy(this.macs.lan, await inside.stop()) };
  }

  /** Sends the server's frames; what has come to each client from the router. */
  async back(filter: string, frames: readonly Buffer[]): Promise<Buffer[][]> {
    const { clients, server } = this.scene;
    const captures = await Promise.all(clients.map(({ ns }) => Capture.start(ns, 'eth0', filter)));
    await inject(server.ns, 'eth0', frames);
    return Promise.all(captures.map(async (capture) => sentBy(this.macs.lan, await capture.stop())));
  }

  /** Sends the first client's frames; what has come to the second. */
  async across(filter: string, frames: readonly Buffer[]): Promise<Buffer[]> {
    const [from, to] = this.scene.clients as [SceneHost, SceneHost];
    const capture = await Capture.start(to.ns, 'eth0', filter);
    await inject(from.ns, 'eth0', frames);
    return (await capture.stop()).map(({ data }) => data);
  }

  /** As listings write it. */
  #address({ ipv4, ipv6 }: { ipv4: string; ipv6: string }): string {
    return this.family === 4 ? ipv4 : ip6Text(ip6Bytes(ipv6));
  }

  #ip(src: string, dst: string, protocol: number | undefined): Layer {
    if (this.family === 4) return ipv4({ src, dst, ...(protocol !== undefined && { protocol }) });
    return ipv6({ src, dst, ...(protocol !== undefined && { next: protocol }) });
  }
}

function sentBy(mac: string, frames: readonly { data: Buffer }[]): Buffer[] {
  const from = Buffer.from(mac.replaceAll(':', ''), 'hex');
  return frames.map(({ data }) => data).filter((data) => data.subarray(6, 12).equals(from));
}
