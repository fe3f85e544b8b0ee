// SPDX-License-Identifier: (GPL-2.0-only OR BSD-2-Clause)
// First packets on two CPUs at the same moment: of one flow, which then is one, and both get through; and of flows
// that want the same outside port, of which each gets one of its own (invariant 4).

import { availableParallelism } from 'node:os';
import t, { type Test } from 'tap';
import type { Datapath } from '../../src/datapath.js';
import { isFlavourName } from '../../src/flavours.js';
import { FlowTable } from '../../src/flow-table.js';
import { Counter, SettingsFlags } from '../../src/generated/layouts.gen.js';
import { readMetrics } from '../../src/metrics-table.js';
import { NatTable } from '../../src/nat-table.js';
import { verifyTables } from '../../src/table-check.js';
import { flavours } from '../helpers/datapath/load.js';
import { type InterfaceSetup, iface, natRule, type RuleSetup } from '../helpers/datapath/settings.js';
import { ROUTER_WAN } from '../helpers/packet.js';
import { PacketSource } from '../helpers/tables/packet-source.js';
import { Tables } from '../helpers/tables/tables-fixture.js';
import { slowly } from '../helpers/wait.js';

const FLOWS = 8_400;
const LOOPBACK = 1;
/** Of the hooks in bench.bpf.c. */
const [INGRESS, EGRESS] = [0, 1];

interface Case {
  name: string;
  hook: number;
  setup: InterfaceSetup;
  rule?: RuleSetup;
}

const MASQUERADE = { masquerade: 4, ip4: ROUTER_WAN.ip4 } as const;
const CASES: Case[] = [
  { name: 'untranslated', hook: EGRESS, setup: { ip4: ROUTER_WAN.ip4 } },
  { name: 'masquerade', hook: EGRESS, setup: MASQUERADE },
  // a third or more of the ports: nearly every flow finds some taken, and both CPUs look for free ones
  { name: 'masquerade to few ports', hook: EGRESS, setup: { ...MASQUERADE, ports: [10_000, 35_999] } },
  { name: 'endpoint-independent mapping', hook: EGRESS, setup: { ...MASQUERADE, eim: 'adf' } },
  {
    name: 'endpoint-independent mapping to few ports',
    hook: EGRESS,
    setup: { ...MASQUERADE, eim: 'eif', ports: [10_000, 35_999] },
  },
  {
    name: 'a forward',
    hook: INGRESS,
    setup: { ip4: ROUTER_WAN.ip4 },
    rule: { kind: 'dnat', proto: 17, dport: [80, 80], to: ['10.9.9.9', '10.9.9.9'], ports: [53, 53] },
  },
];

t.setTimeout(slowly(360_000));
const built = flavours().filter(isFlavourName);
const skip = availableParallelism() < 2 ? 'one CPU can not race' : false;
for (const flavour of new Set([built[0]!, built.at(-1)!])) {
  t.test(flavour, { skip }, async (t) => {
    t.setTimeout(slowly(180_000));
    const tables = await Tables.load(t, 65_536, 16, flavour);
    const source = new PacketSource(tables.datapath);
    t.teardown(() => source.close());
    source.pin(tables.pinPath);
    let joined = 0;
    for (const rowsOf of indexes(tables.datapath)) {
      for (const each of CASES) {
        const rows = rowsOf(each);
        const name = `${FLOWS} flows begin on two CPUs at once: ${each.name}, ${rows} rows of the index`;
        await t.test(name, async (t) => {
          tables.clear();
          const { index_head } = tables.datapath.maps;
          index_head.set(0, { ...index_head.get(0)!, rows });
          await race(t, tables, source, each);
          joined += counter(tables.datapath, Counter.CLASH_JOINED);
        });
      }
    }
    t.ok(joined > 0, `${joined} times the loser of a race joined the winner`);
  });
}

/** Sizes of the index: as it is, and one where a fourth of the keys and more find no room; 0 where there is none. */
function indexes({ maps }: Datapath): ((each: Case) => number)[] {
  const { rows } = maps.index_head.get(0)!;
  // an endpoint has two keys, and its flow up to three
  return rows > 0 ? [() => rows, ({ setup }) => (FLOWS / 4) * (setup.eim ? 3 : 1)] : [() => 0];
}

async function race(
  t: Test,
  tables: Tables,
  source: PacketSource,
  { hook, setup, rule }: Case,
): Promise<void> {
  t.setTimeout(slowly(60_000));
  const { datapath } = tables;
  datapath.maps.ifaces.set(LOOPBACK, iface('lo', setup));
  if (rule) datapath.maps.nat_rules.set(0, natRule(1, rule));
  const flags = setup.eim ? SettingsFlags.EIM : 0;
  datapath.updateSettings({ ruleCount: rule ? 1 : 0, flags: SettingsFlags.TCP_LOOSE | flags });
  const before = new Map(counts(datapath));
  source.aim({ hook, flows: 0 });
  const racers = [0, 1].map((cpu) => tables.start(['taskset', '-c', String(cpu)], 'race', 2 * FLOWS));
  await Promise.all(racers.map((racer) => racer.printed(/begun/)));
  source.aim({ hook, sequential: 2, cursor: 0, flows: 1 });
  const ends = await Promise.all(racers.map(({ ended }) => ended));

  t.same(ends, [0, 0], racers.map(({ output }) => output).join(''));
  const sent = racers
    .map(({ output }) => (JSON.parse(output.split('\n').at(-2)!) as { sent: number }).sent)
    .reduce((a, b) => a + b);
  const seen = counts(datapath).map(([name, packets]) => [name, packets - (before.get(name) ?? 0)] as const);
  t.same(
    seen.filter(([, packets]) => packets > 0),
    [['forwarded', sent]],
    'every packet is let through as one of a flow, none is dropped',
  );
  const flows = [...new FlowTable(datapath).flows()];
  t.ok(flows.length >= FLOWS && flows.length <= source.cursor / 2 + 1, 'each flow is there');
  for (const side of ['original', 'reply'] as const) {
    const tuples = flows.map(({ [side]: { src, dst, sport, dport } }) => `${src} ${sport} ${dst} ${dport}`);
    t.equal(new Set(tuples).size, flows.length, `once, by its ${side} tuple`);
  }
  t.same(verifyTables(datapath), [], 'and no half of one that lost is left');
  t.equal(counter(datapath, Counter.CREATED), flows.length);
  const mappings = [...new NatTable(datapath).mappings()];
  if (!setup.eim) return;
  t.equal(mappings.length, flows.length, 'each has its mapping');
  t.ok(
    mappings.every(({ remote, flows }) => remote === null && flows === 1),
    'which counts it, and no one that lost a race',
  );
  t.equal(new Set(mappings.map(({ external }) => external.port)).size, mappings.length, 'no port is shared');
}

/** Packets by reason. */
function counts(datapath: Datapath): [name: string, packets: number][] {
  const sums = new Map<string, number>();
  for (const { reason, packets } of readMetrics(datapath))
    sums.set(reason, (sums.get(reason) ?? 0) + packets);
  return [...sums];
}

function counter({ maps }: Datapath, which: Counter): number {
  return Number(maps.counters.getPerCpu(which)!.reduce((sum, value) => sum + value, 0n));
}
