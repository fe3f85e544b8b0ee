// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// What goes over a wire, as seen by an interface. A capture ends with a marker frame that it waits for, so
// everything sent before stop() is in it.

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inject } from './inject.js';
import type { Namespace } from './netns.js';
import type { Daemon } from './process.js';
import { until } from './wait.js';
import { frame } from './wire/craft.js';
import type { Frame, IpPacket } from './wire/packet.js';
import { readPcap } from './wire/pcap.js';

/** IEEE 802 local experimental EtherType: no protocol handles it, so nobody answers a marker. */
const MARKER = 0x88b5;

export class Capture {
  private constructor(
    readonly ns: Namespace,
    readonly iface: string,
    readonly daemon: Daemon,
    readonly file: string,
  ) {}

  /**
   * Starts capturing; resolves once packets are being seen. `filter` is a tcpdump expression; `bytes` is how
   * much of each frame is kept: little where only headers matter, or a fast transfer outruns the capture.
   */
  static async start(ns: Namespace, iface: string, filter = 'ip or ip6', bytes = 65_535): Promise<Capture> {
    const folder = await mkdtemp(join(tmpdir(), 'ctnat-capture-'));
    ns.teardown.defer(folder, () => rm(folder, { recursive: true, force: true }));
    const file = join(folder, 'packets.pcap');
    const daemon = ns.start([
      ...['tcpdump', '-i', iface, '-w', file, '-s', String(bytes)],
      ...['-U', '--immediate-mode', '-B', '32768', '-Z', 'root'],
      `(${filter}) or ether proto ${MARKER}`,
    ]);
    await daemon.printed(/listening on/);
    return new Capture(ns, iface, daemon, file);
  }

  /** Ends the capture and returns its frames; throws if the kernel had to drop one. */
  async stop(): Promise<Frame[]> {
    const mac = await this.ns.mac(this.iface);
    await inject(this.ns, this.iface, [frame(mac, mac, MARKER, Buffer.alloc(46))]);
    const frames = await until(`the marker in the capture of ${this.iface}`, async () => {
      const seen = readPcap(await readFile(this.file));
      const end = seen.findIndex((each) => each.etherType === MARKER);
      return end >= 0 && seen.slice(0, end);
    });
    await this.daemon.stop('SIGINT');
    const dropped = /(\d+) packets? dropped by kernel/.exec(this.daemon.output);
    if (dropped?.[1] !== '0')
      throw new Error(`the capture of ${this.iface} lost packets: ${this.daemon.output}`);
    return frames;
  }

  /** As stop(), but only the IP packets. */
  async stopIp(): Promise<IpPacket[]> {
    return (await this.stop()).flatMap((each) => each.ip ?? []);
  }
}
