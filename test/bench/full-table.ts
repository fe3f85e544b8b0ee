// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// A running ctnat of the bench's own, in a network namespace, under a pin path of its own, with as many flows
// as wanted: made by its own pinned programs, as packets would make them.
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { BpfProgram, TypedMap, u32 } from 'libbpf-ts';
import { openBuilt } from '../helpers/datapath/load.js';
import { skbContext } from '../helpers/datapath/skb-context.js';
import type { Network } from '../helpers/datapath/step.js';
import { bytes, CLIENT, frame, ip4Bytes, ROUTER_WAN, SERVER, udp } from '../helpers/packet.js';
import { run } from '../helpers/process.js';
import { writeRequest } from './bench-request.js';

const MAIN = fileURLToPath(new URL('../../src/cli/main.js', import.meta.url));

export class FullTable {
  readonly #pinPath = `/sys/fs/bpf/ctn${process.pid}-bench`;
  readonly #folder = mkdtempSync(join(tmpdir(), `ctn${process.pid}-bench-`));

  /** The command line of a ctnat command on this table. */
  argv(...args: string[]): string[] {
    return [process.execPath, MAIN, '--pin-path', this.#pinPath, ...args];
  }

  /** Attaches to the router that this process is in, with room for so many flows. */
  async attach(slots: number): Promise<void> {
    const file = join(this.#folder, 'ctnat.yaml');
    writeFileSync(
      file,
      `interfaces:\n  - { name: wan0, masquerade: 4, mode: tc }\ntables: { flows: ${slots} }\n`,
    );
    await run(this.argv('apply', file), { limitMs: 120_000 });
  }

  /** Begins UDP flows, from the first on. */
  fill(network: Network, flows: number): void {
    const bench = openBuilt('test/bench.bpf.o');
    const egress = BpfProgram.openPinned(join(this.#pinPath, 'programs', 'ct_egress'));
    try {
      bench.load();
      new TypedMap(bench.map('hooks').map, u32, u32).set(1, egress.fd);
      const outside = ip4Bytes(ROUTER_WAN.ip4).readUInt32LE(0);
      writeRequest(bench.map('request').map, { sequential: 1, hook: 1, outside });
      bench.program('bench_hook').testRun({
        data: frame(CLIENT, SERVER, udp({ sport: 1, dport: 2 }), bytes(32)),
        context: skbContext({ ifindex: network.wan0, ingressIfindex: network.lan0 }),
        repeat: flows,
      });
    } finally {
      egress.close();
      bench.close();
    }
  }

  async remove(): Promise<void> {
    await run(this.argv('detach', '--all', '--purge'), { mayFail: true });
    rmSync(this.#folder, { recursive: true, force: true });
  }
}
