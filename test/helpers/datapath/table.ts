// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Packet tables: packets in, packets out, and what is then known of flows, counters and reasons.
import t, { type Test } from 'tap';
import { Datapath, type Setup } from '../datapath-fixture.js';
import { dump, verify } from '../packet.js';
import { flavours } from './load.js';
import { enterRouter } from './network.js';
import type { Network } from './step.js';

/**
 * Where a packet goes:
 * - out: from the LAN through the router to the outside; back: the other way
 * - in: from the outside to the router itself; self: from the router itself to the outside
 * - lan: from the LAN to the router itself
 */
export type Path = 'out' | 'back' | 'in' | 'self' | 'lan';

export interface TableStep {
  path: Path;
  given: Uint8Array;
  /** The packet that leaves the last hook, 'same' as given, or 'drop'. */
  expect: Uint8Array | 'same' | 'drop';
}

export interface Table {
  name: string;
  setup?: Setup;
  steps: TableStep[];
  /** The flows at the end, in order of their original tuples; fields that are left out don't matter. */
  flows?: object[];
  /** The same of IPv6. */
  flows6?: object[];
  /** Event counters at the end, all that are not 0. */
  counters?: Record<string, number>;
  /** Packets by reason and hook at the end, all that are not 0. */
  reasons?: Record<string, number>;
}

export interface Walk {
  verdict: 'pass' | 'drop' | 'redirect';
  packet: Buffer;
  tcIndex: number;
}

/** Puts a packet through the hooks of its path, as the kernel would between them but for the TTL. */
export function walk(datapath: Datapath, path: Path, packet: Uint8Array): Walk {
  if (path === 'self') return datapath.step({ hook: 'egress', at: 'wan0', packet });
  const from = path === 'out' || path === 'lan' ? 'lan0' : 'wan0';
  const arrived = datapath.step({ hook: 'ingress', at: from, packet });
  if (arrived.verdict !== 'pass' || path === 'in' || path === 'lan') return arrived;
  const to = from === 'lan0' ? 'wan0' : 'lan0';
  return datapath.step({ hook: 'egress', at: to, from, packet: arrived.packet, tcIndex: arrived.tcIndex });
}

/** Compares two frames: by what they say first, then by their bytes. */
export function samePacket(t: Test, found: Uint8Array, wanted: Uint8Array, name: string): void {
  t.equal(dump(found), dump(wanted), name);
  t.equal(Buffer.from(found).toString('hex'), Buffer.from(wanted).toString('hex'), `${name}: bytes`);
}

/** Walks a packet and checks what came out. */
export function check(t: Test, datapath: Datapath, step: TableStep, name: string): Walk {
  const walked = walk(datapath, step.path, step.given);
  const what = `${name}: ${step.path} ${dump(step.given)}`;
  t.equal(walked.verdict, step.expect === 'drop' ? 'drop' : 'pass', what);
  if (walked.verdict !== 'drop') {
    if (step.path === 'out' || step.path === 'back')
      t.equal(walked.tcIndex, 0, `${name}: no tag leaves the host`);
    if (step.expect !== 'drop')
      samePacket(t, walked.packet, step.expect === 'same' ? step.given : step.expect, what);
    if (verify(step.given).length === 0)
      t.strictSame(verify(walked.packet), [], `${name}: checksums and lengths`);
  }
  return walked;
}

/** Plays one table. */
export function play(t: Test, datapath: Datapath, table: Table): void {
  datapath.configure(table.setup);
  table.steps.forEach((step, i) => {
    check(t, datapath, step, `step ${i + 1}`);
  });
  if (table.flows) matchFlows(t, datapath.flows(4), table.flows, 'flows');
  if (table.flows6) matchFlows(t, datapath.flows(6), table.flows6, 'IPv6 flows');
  if (table.counters) t.strictSame(datapath.counters(), table.counters, 'counters');
  if (table.reasons) t.strictSame(datapath.reasons(), table.reasons, 'reasons');
}

function matchFlows(t: Test, found: object[], wanted: object[], name: string): void {
  t.equal(found.length, wanted.length, `number of ${name}`);
  t.match(found, wanted, name);
}

/** Plays tables with every flavour that was built. */
export function playTables(tables: readonly Table[]): void {
  withDatapath(async (t, datapath) => {
    for (const table of tables) {
      await t.test(table.name, async (t) => {
        play(t, datapath, table);
      });
    }
  });
}

let network: Network | undefined;
let loaded: Datapath | undefined;
let title = 'datapath';

/** What the next tests are called, where one process runs several files (test/vm/packets.test.ts). */
export function entitle(name: string): void {
  title = name;
}

/** The router of this process; its end takes it away. */
async function router(): Promise<Network> {
  if (!network) {
    network = await enterRouter(t);
    t.teardown(() => loaded?.close());
  }
  return network;
}

/** One flavour at a time, and as long as it is asked for: loading takes an emulated machine most of a minute. */
function datapathOf(flavour: string, network: Network): Datapath {
  if (loaded?.flavour !== flavour) {
    loaded?.close();
    loaded = undefined;
    loaded = Datapath.open(flavour, network);
  }
  return loaded;
}

/** Runs tests with every flavour that was built; fails if none was. */
export function withDatapath(work: (t: Test, datapath: Datapath) => Promise<unknown>): void {
  t.setTimeout(0); // scripts/run-tests.mjs has a limit for the file; loading takes the verifier seconds
  t.test(title, { timeout: 0 }, async (t) => {
    const built = flavours();
    if (built.length === 0) throw new Error('Cannot test the datapath: it was not built (run "make build")');
    const network = await router();
    for (const flavour of built) {
      await t.test(flavour, { timeout: 0 }, async (t) => {
        await work(t, datapathOf(flavour, network));
      });
    }
  });
}
