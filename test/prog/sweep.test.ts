// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// Invariant 7, no live victim: 20,000 flows get their next packet in the last moment of their timeout, again and
// again, while sweeps go on all the time. What is let go meanwhile is swept.

import t, { type Test } from 'tap';
import { type FlavourName, isFlavourName } from '../../src/flavours.js';
import { FlowTable } from '../../src/flow-table.js';
import { Counter } from '../../src/generated/layouts.gen.js';
import { Sweeper } from '../../src/sweeper.js';
import { verifyTables } from '../../src/table-check.js';
import { nowTicks, tickDifference } from '../../src/ticks.js';
import { flavours } from '../helpers/datapath/load.js';
import { iface } from '../helpers/datapath/settings.js';
import { ROUTER_WAN } from '../helpers/packet.js';
import { countKeys } from '../helpers/tables/keys.js';
import { PacketSource } from '../helpers/tables/packet-source.js';
import { Tables } from '../helpers/tables/tables-fixture.js';
import { elapse, SLOW, slowly } from '../helpers/wait.js';

const KEPT = 20_000;
const LET_GO = 2_000;
const SLOTS = 32_768;
/** Ticks (16.8 ms) of every timeout. */
const TIMEOUT = Math.ceil(24 * SLOW);
const SWEEPS = 50;
/** Times that every flow is prolonged in the last moment. */
const ROUNDS = 12;
/** A machine on which more rounds than this come too late is too busy to say anything. */
const LATE_AT_MOST = 60;

t.setTimeout(slowly(240_000));
const built = flavours().filter(isFlavourName);
for (const flavour of new Set([built[0]!, built.at(-1)!])) {
  t.test(`${flavour}: ${KEPT} flows just alive through ${SWEEPS} sweeps`, (t) => keepAlive(t, flavour));
}

async function keepAlive(t: Test, flavour: FlavourName): Promise<void> {
  t.setTimeout(slowly(120_000));
  const tables = await Tables.load(t, SLOTS, 16, flavour);
  const { datapath } = tables;
  datapath.updateSettings({ timeouts: datapath.settings.timeouts.map(() => TIMEOUT) });
  datapath.maps.ifaces.set(1, iface('lo', { masquerade: 4, ip4: ROUTER_WAN.ip4 }));
  const source = new PacketSource(datapath);
  t.teardown(() => source.close());
  const counter = (which: Counter): number =>
    Number(datapath.maps.counters.getPerCpu(which)!.reduce((sum, value) => sum + value, 0n));

  /** Sends a packet of each flow that is kept. Returns when the first and the last of them came. */
  const prolong = (): [first: number, last: number] => {
    source.aim({ hook: 1, cursor: 0 });
    const first = nowTicks();
    source.send(KEPT);
    return [first, nowTicks()];
  };
  source.aim({ hook: 1, cursor: KEPT });
  source.send(LET_GO);
  let [first, last] = prolong();
  t.equal(counter(Counter.CREATED), KEPT + LET_GO);
  const sweeps = await tables.traffic('sweep');

  let inTime = 0;
  let late = 0;
  let lost = 0;
  let margin = tickDifference(last, first) + 1;
  while (inTime < ROUNDS && late < LATE_AT_MOST) {
    while (tickDifference(first + TIMEOUT, nowTicks()) > margin) await elapse(1);
    const created = counter(Counter.CREATED);
    const deadline = (first + TIMEOUT) >>> 0;
    [first, last] = prolong();
    if (tickDifference(deadline, last) < 0) {
      // the last of them may have expired before their packet came: what is said of this round would be no news
      late++;
      margin = Math.min(TIMEOUT - 1, margin + 1);
    } else {
      inTime++;
      if (inTime % 2 === 0) margin = Math.max(2, margin - 1);
      lost += counter(Counter.CREATED) - created;
    }
  }
  await sweeps.stop();

  const did = JSON.parse(sweeps.output.split('\n').at(-2)!) as { sweeps: number; deleted: number };
  t.equal(inTime, ROUNDS, `${inTime} rounds with ${margin} ticks left, ${late} came too late`);
  t.ok(did.sweeps >= SWEEPS, `${did.sweeps} sweeps`);
  t.equal(lost, 0, 'not one flow had to begin again');
  t.ok(did.deleted >= LET_GO, `${did.deleted} that nobody kept alive are gone`);
  t.same(verifyTables(datapath), []);
  await elapse(((TIMEOUT + 70) * 2 ** 24) / 1e6);
  new Sweeper(datapath).sweep();
  t.equal(new FlowTable(datapath).count() + countKeys(datapath.maps, 4), 0, 'in the end they all go');
}
